"""What is changed in Slurm behind the daemon's back, and what runs beside its books."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon.observe.ends import MAX_UNBEGUN_STARTS
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.model import (
    FINAL,
    EventKind,
    Fault,
    IfInfeasible,
    JobState,
    PromiseOutcome,
    PromiseState,
    QueueJob,
)
from ef_slurm.slurm.errors import RefusedError
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.unit.daemon.world import World

DEADLINE = 3000.0
Change = Callable[[World, QueueJob], None]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def waiting(world: World) -> QueueJob:
    """A job with a promise that waits for GPUs which somebody else has."""
    world.cluster.occupy("user2", ("n1", "n2", "n3", "n4"), 4, 100.0, world.clock.now)
    job = world.submit(20_000, deadline=DEADLINE)
    world.run(5)
    assert world.state(job) is JobState.ADMITTED
    return job


def story(world: World, job: QueueJob) -> list[str]:
    return [event.message for event in world.queue.events.all(job_id=job.id)]


def change(world: World, job: QueueJob, name: str, value: str) -> None:
    world.training(job).slurm.settings[name] = value


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("memory per node", "9999999", "memory per node from '100' to '9999999'"),
        ("dependency", "afterok:1", "dependency from none to 'afterok:1'"),
        ("working directory", "/home/other", "working directory from '/shared' to '/home/other'"),
    ],
)
def test_a_waiting_job_that_is_changed_is_judged_anew(
    world: World, name: str, value: str, words: str
) -> None:
    job = waiting(world)
    (first,) = [promise for promise in world.queue.promises.all() if promise.job_id == job.id]
    change(world, job, name, value)
    world.run(20)
    told = story(world, job)
    assert any(words in message for message in told)
    assert len(world.queue.events.all(job_id=job.id, kinds=[EventKind.VERDICT])) == 2
    before, after = world.queue.promises.all()
    assert (before.id, before.outcome, before.fault) == (
        first.id,
        PromiseOutcome.VOID,
        Fault.OWNER,
    )
    assert after.outcome is PromiseOutcome.OPEN
    world.run(2000)
    assert world.state(job) is JobState.COMPLETED


@pytest.mark.parametrize(("excluded", "used"), [("n[1-3]", {"n4"}), ("n[1-4]", set())])
def test_nodes_that_are_excluded_are_none_of_the_jobs(
    world: World, excluded: str, used: set[str]
) -> None:
    waiting(world)
    job = world.submit(2000, deadline=DEADLINE, if_infeasible=IfInfeasible.WAIT)
    other = world.submit(2000, deadline=DEADLINE)
    world.training(job).slurm.settings["excluded nodes"] = ""
    world.run(5)
    row = world.row(job)
    world.queue.jobs.save(
        replace(row, slurm_settings=tuple(world.training(job).slurm.settings.items()))
    )
    change(world, job, "excluded nodes", excluded)
    seen: set[str] = set()

    def ended() -> bool:
        seen.update(world.training(job).slurm.nodes)
        return world.state(other) is JobState.COMPLETED and (
            not used or world.state(job) is JobState.COMPLETED
        )

    world.run_until(ended, DEADLINE)
    assert seen == used
    if not used:
        assert world.row(job).promise is PromiseState.NONE
        assert world.state(job) is JobState.REJECTED


def test_the_account_that_it_is_moved_to_is_charged(world: World) -> None:
    job = waiting(world)
    world.training(job).slurm.account = "acct2"
    change(world, job, "account", "acct2")
    world.training(job).slurm.settings["account"] = "acct2"
    world.queue.jobs.save(
        replace(
            world.row(job),
            slurm_settings=(*world.row(job).slurm_settings, ("account", "acct1")),
        )
    )
    world.run(20)
    assert world.row(job).request.account == "acct2"


def test_what_is_changed_in_the_last_moment_is_not_released(world: World) -> None:
    """Between the last look at Slurm and the release: the job is read again before it goes."""
    job = waiting(world)
    slurm = world.training(job).slurm
    release = world.slurm.release
    released: list[str] = []

    def noting(job_id: int) -> None:
        released.append(slurm.settings["memory per node"])
        release(job_id)

    world.slurm.release = noting  # type: ignore[method-assign]
    job_of = world.slurm.job

    def changing(job_id: int) -> object:
        slurm.settings["memory per node"] = "777"
        return job_of(job_id)

    world.slurm.job = changing  # type: ignore[method-assign,assignment]
    world.run(200)
    assert released
    assert set(released) == {"777"}
    told = story(world, job)
    anew = next(place for place, message in enumerate(told) if "from '100' to '777'" in message)
    assert any(message.startswith("promised") for message in told[anew:])


def test_a_job_that_is_not_changed_keeps_its_promise_through_every_cycle(world: World) -> None:
    job = world.submit(40_000, deadline=DEADLINE)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.cluster.requeue(world.training(job).slurm, world.clock.now)
    world.run(300)
    assert not any("changed in Slurm" in message for message in story(world, job))
    (promise,) = world.queue.promises.all()
    assert promise.outcome is PromiseOutcome.OPEN


def test_another_release_of_slurm_changes_nothing(world: World) -> None:
    job = waiting(world)
    change(world, job, "Slurm", "27.05")
    change(world, job, "memory per node", "100M")
    world.run(10)
    assert not any("changed in Slurm" in message for message in story(world, job))
    assert dict(world.row(job).slurm_settings)["memory per node"] == "100M"
    change(world, job, "memory per node", "200M")
    world.run(10)
    assert any("from '100M' to '200M'" in message for message in story(world, job))


@pytest.mark.parametrize("kind", ["array", "heterogeneous"])
def test_several_jobs_under_one_submission_are_no_job_for_the_queue(
    world: World, kind: str
) -> None:
    job = world.submit(20_000, deadline=DEADLINE)
    setattr(world.training(job).slurm, kind, True)
    world.run(5)
    assert world.state(job) is JobState.FAILED
    assert "one job at a time" in world.row(job).note
    assert world.training(job).slurm.hold is not HoldKind.NONE


def test_a_job_that_leaves_the_partition_leaves_the_queue(world: World) -> None:
    job = waiting(world)
    world.queue._database.execute("UPDATE jobs SET partition = 'ef', revision = revision + 1")
    world.training(job).slurm.partition = "batch"
    change(world, job, "partition", "batch")
    world.queue.jobs.save(
        replace(
            world.row(job),
            slurm_settings=(*world.row(job).slurm_settings, ("partition", "ef")),
        )
    )
    world.run(20)
    assert world.state(job) is JobState.FAILED
    assert "schedules ef only" in story(world, job)[-1]


def completed(world: World) -> QueueJob:
    job = world.submit(500, deadline=DEADLINE)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    return job


def test_an_ended_job_that_its_owner_puts_back_is_stopped(world: World) -> None:
    job = completed(world)
    victim = world.submit(40_000, deadline=1000.0)
    world.run_until(lambda: world.state(victim) is JobState.RUNNING)
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)  # scontrol requeue: not held
    slurm.hold, slurm.begin, slurm.killed_at = HoldKind.NONE, 0.0, None
    world.run(30)
    assert slurm.state is JobBaseState.CANCELLED
    assert world.state(job) is JobState.COMPLETED
    assert any("put back or released after it had ended" in line for line in story(world, job))
    world.run_until(lambda: world.state(victim) is JobState.COMPLETED)
    assert [p.outcome for p in world.queue.promises.all()] == [PromiseOutcome.KEPT] * 2


def test_what_slurm_does_not_cancel_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = completed(world)
    slurm, asked = world.training(job).slurm, list[float]()
    real = world.slurm.cancel

    def cancel(job_id: int) -> None:
        asked.append(world.clock.now)
        if len(asked) < 4:
            raise RefusedError("Requested operation is presently disabled")
        real(job_id)

    monkeypatch.setattr(world.slurm, "cancel", cancel)
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold, slurm.begin, slurm.killed_at = HoldKind.NONE, 0.0, None
    world.run(30)
    assert 1 <= len(asked) <= 2
    world.run(90)
    assert slurm.state is JobBaseState.CANCELLED
    assert len(asked) == 4
    told = [line for line in story(world, job) if "put back or released after" in line]
    assert len(told) == 2  # that it was refused, and that it is done


def test_a_cancel_that_slurm_has_forgotten_is_asked_for_again(world: World) -> None:
    """A slurmctld that was killed comes back with a state from before."""
    job = completed(world)
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold, slurm.begin, slurm.killed_at = HoldKind.NONE, 0.0, None
    for _ in range(2):
        world.run(30)
        assert slurm.state is JobBaseState.CANCELLED
        world.cluster.restart()
        slurm.state, slurm.ended = JobBaseState.RUNNING, None
    world.run(30)
    assert slurm.state is JobBaseState.CANCELLED


def test_one_that_is_put_back_held_is_stopped_too(world: World) -> None:
    job = completed(world)
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold = HoldKind.ADMIN
    world.run(30)
    assert slurm.state is JobBaseState.CANCELLED
    assert world.state(job) is JobState.COMPLETED


def test_it_is_seen_although_the_queue_is_empty(world: World) -> None:
    job = completed(world)
    world.run(100)
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold, slurm.begin, slurm.killed_at = HoldKind.NONE, 0.0, None
    world.run(20)
    assert slurm.state is JobBaseState.CANCELLED


def test_a_job_whose_nodes_never_boot_does_not_start_for_ever(world: World) -> None:
    job = world.submit(20_000, deadline=DEADLINE)
    world.run(0.1)
    slurm, starts = world.training(job).slurm, 0

    def silent(job: QueueJob) -> JobReports:  # noqa: ARG001
        return JobReports()

    world.bench.read = silent  # type: ignore[method-assign]

    def started() -> bool:
        return slurm.state is JobBaseState.RUNNING or world.state(job) in FINAL

    while world.state(job) not in FINAL:
        world.run_until(started, 100.0)
        if slurm.state is JobBaseState.RUNNING:
            slurm.state, slurm.ended = JobBaseState.BOOT_FAIL, world.clock.now
            starts += 1
            world.run(2.0)
            if starts == MAX_UNBEGUN_STARTS // 2:
                world.restart()
    assert (world.state(job), starts) == (JobState.FAILED, MAX_UNBEGUN_STARTS)
    assert "its script never began" in world.row(job).note
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert (promise.outcome, promise.fault) == (PromiseOutcome.BROKEN, Fault.CLUSTER)


def test_somebody_elses_job_is_counted_and_told_once(world: World) -> None:
    other = world.cluster.occupy("user2", ("n1", "n2", "n3"), 4, 1000.0, world.clock.now)
    job = world.submit(20_000, deadline=DEADLINE)
    world.run(60)
    assert other.state is JobBaseState.RUNNING
    running = world.row(job).running
    assert running is not None
    assert running.block.nodes == ("n4",)
    told = [
        event.message
        for event in world.queue.events.all(kinds=[EventKind.USER])
        if "was not submitted with ef-sbatch" in event.message
    ]
    assert len(told) == 1
    assert "of user2" in told[0]


def test_a_released_job_that_nobody_planned_is_held_again(world: World) -> None:
    """A coordinator of its account, or an operator, releases a job that is to wait."""
    job = waiting(world)
    slurm = world.training(job).slurm
    slurm.hold = HoldKind.NONE
    world.run(20)
    assert slurm.hold is HoldKind.ADMIN
    world.run(2000)
    assert world.state(job) is JobState.COMPLETED
