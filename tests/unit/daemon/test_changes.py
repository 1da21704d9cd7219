"""What an owner wants otherwise of a job in the queue, and what becomes of its promise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.daemon.plan.changes import Changed, NotPossibleError
from ef_slurm.model import (
    ChangeOutcome,
    EventKind,
    Fault,
    IfInfeasible,
    JobChange,
    JobKind,
    JobState,
    ModelError,
    Outcome,
    PromiseOutcome,
    PromiseState,
    QueueJob,
)
from ef_slurm.slurm.types import HoldKind
from tests.unit.daemon.world import World

ITERATIONS = 40_000
"""444 s on 16 GPUs, 1250 s on 4."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def running(world: World, deadline: float | None = 3000.0) -> QueueJob:
    job = world.submit(ITERATIONS, deadline=deadline)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    return world.row(job)


def change(world: World, job: QueueJob, **wanted: object) -> Changed:
    if isinstance(wanted.get("deadline"), float):
        wanted["deadline"] = world.clock.now + wanted["deadline"]  # type: ignore[operator]
    answer = world.scheduler.change(job.id, JobChange(**wanted), "user1")  # type: ignore[arg-type]
    world.check()
    return answer


def outcomes(world: World, job: QueueJob) -> list[PromiseOutcome]:
    return [one.outcome for one in world.queue.promises.all() if one.job_id == job.id]


def story(world: World, job: QueueJob) -> list[str]:
    return [event.message for event in world.queue.events.all(job_id=job.id)]


def test_a_later_deadline_is_given_at_once_and_promised(world: World) -> None:
    job = running(world)
    before = world.training(job).generation
    answer = change(world, job, deadline=9000.0)
    assert answer.outcome is ChangeOutcome.DONE
    assert outcomes(world, job) == [PromiseOutcome.REPLACED, PromiseOutcome.OPEN]
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert promise.deadline == world.row(job).request.deadline == world.clock.now + 9000.0
    assert any("changed by user1: deadline from" in line for line in story(world, job))
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job)[-1] is PromiseOutcome.KEPT
    assert world.training(job).generation == before


@pytest.mark.parametrize("seconds", [1000.0, 1500.0])
def test_an_earlier_deadline_is_judged_like_a_new_one(world: World, seconds: float) -> None:
    job = running(world)
    answer = change(world, job, deadline=seconds)
    assert answer.outcome is ChangeOutcome.DONE
    assert answer.verdict is not None
    assert answer.verdict.outcome is Outcome.PROMISED
    assert outcomes(world, job) == [PromiseOutcome.REPLACED, PromiseOutcome.OPEN]
    assert world.row(job).promise is PromiseState.SAFE
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job)[-1] is PromiseOutcome.KEPT


def test_a_deadline_that_cannot_be_promised_changes_nothing_and_is_answered(world: World) -> None:
    job = running(world)
    before = world.row(job)
    answer = change(world, job, deadline=100.0)
    assert answer.outcome is ChangeOutcome.REFUSED
    assert answer.verdict is not None
    assert answer.verdict.earliest_deadline is not None
    assert answer.verdict.earliest_deadline > world.clock.now + 100.0
    assert world.row(job) == before
    assert outcomes(world, job) == [PromiseOutcome.OPEN]
    # The counter-offer is one.
    offered = JobChange(deadline=math.ceil(answer.verdict.earliest_deadline) + 5.0)
    taken = world.scheduler.change(job.id, offered, "user1")
    assert taken.outcome is ChangeOutcome.DONE
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job) == [PromiseOutcome.REPLACED, PromiseOutcome.KEPT]


def test_nobody_elses_promise_is_broken_for_it(world: World) -> None:
    other = running(world, deadline=520.0)  # it needs nearly all GPUs
    job = world.submit(20_000, deadline=3000.0)
    world.run_until(lambda: outcomes(world, job) == [PromiseOutcome.OPEN])
    answer = change(world, job, deadline=260.0)
    assert answer.outcome is ChangeOutcome.REFUSED
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, other) == outcomes(world, job) == [PromiseOutcome.KEPT]


@pytest.mark.parametrize("name", ["max_gpus", "iterations"])
def test_what_is_tighter_without_another_deadline_is_judged_too(world: World, name: str) -> None:
    job = running(world)
    values = {"max_gpus": (1, 8), "iterations": (10 * ITERATIONS, 2 * ITERATIONS)}
    too_much, possible = values[name]
    answer = change(world, job, **{name: too_much})
    assert answer.outcome is ChangeOutcome.REFUSED
    assert outcomes(world, job) == [PromiseOutcome.OPEN]
    answer = change(world, job, **{name: possible})
    assert answer.outcome is ChangeOutcome.DONE
    assert getattr(world.row(job).request, name) == possible
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job) == [PromiseOutcome.REPLACED, PromiseOutcome.KEPT]
    if name == "max_gpus":
        assert max(world.training(job).launches[1:], default=8) <= 8


@pytest.mark.parametrize("wanted", [30_000, 60_000])
def test_a_job_that_runs_learns_its_iterations_by_a_relaunch_in_place(
    world: World, wanted: int
) -> None:
    job = running(world)
    world.run(60)
    assert change(world, job, iterations=wanted).outcome is ChangeOutcome.DONE
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert world.training(job).iterations == wanted
    assert world.training(job).slurm.restarts == 0
    assert world.training(job).generation == 2
    assert outcomes(world, job) == [PromiseOutcome.REPLACED, PromiseOutcome.KEPT]


def test_a_job_that_waits_begins_with_the_iterations_that_are_wanted(world: World) -> None:
    world.cluster.occupy("user2", ("n1", "n2", "n3", "n4"), 4, 100.0, world.clock.now)
    job = world.submit(20_000, deadline=3000.0)
    world.run_until(lambda: world.state(job) is JobState.ADMITTED)
    change(world, job, iterations=10_000)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    training = world.training(job)
    assert (training.iterations, training.generation) == (10_000, 1)


def test_what_is_done_already_is_no_number_of_iterations(world: World) -> None:
    job = running(world)
    world.run(120)
    with pytest.raises(ModelError, match="more than the"):
        change(world, job, iterations=10)


def test_a_promise_is_given_up(world: World) -> None:
    job = running(world)
    assert change(world, job, best_effort=True).outcome is ChangeOutcome.DONE
    assert world.row(job).kind is JobKind.BEST_EFFORT
    (promise,) = world.queue.promises.all()
    assert (promise.outcome, promise.fault) == (PromiseOutcome.VOID, Fault.OWNER)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)


def test_a_best_effort_job_gets_a_deadline(world: World) -> None:
    job = running(world, deadline=None)
    assert change(world, job, deadline=60.0).outcome is ChangeOutcome.REFUSED
    assert world.row(job).kind is JobKind.BEST_EFFORT
    assert change(world, job, deadline=2000.0).outcome is ChangeOutcome.DONE
    assert world.row(job).kind is JobKind.DEADLINE
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job) == [PromiseOutcome.KEPT]


def test_a_job_that_runs_as_best_effort_wants_its_deadline_again(world: World) -> None:
    first = running(world, deadline=520.0)
    job = world.submit(20_000, deadline=300.0, if_infeasible=IfInfeasible.BEST_EFFORT)
    world.run_until(lambda: world.row(job).best_effort)
    assert change(world, job, best_effort=False).outcome is ChangeOutcome.REFUSED
    assert world.row(job).best_effort
    change(world, first, best_effort=True)
    assert change(world, job, best_effort=False).outcome is ChangeOutcome.DONE
    assert outcomes(world, job) == [PromiseOutcome.OPEN]


@pytest.mark.parametrize(("seconds", "state"), [(3000.0, JobState.ADMITTED), (560.0, None)])
def test_a_job_that_waits_is_judged_with_its_new_deadline(
    world: World, seconds: float, state: JobState | None
) -> None:
    world.submit(88 * 500, deadline=520.0, speed=1.0)
    world.run(5)
    job = world.submit(88 * 100, deadline=550.0, if_infeasible=IfInfeasible.WAIT)
    world.run_until(lambda: world.state(job) is JobState.WAITLISTED)
    answer = change(world, job, deadline=seconds)
    assert answer.outcome is ChangeOutcome.DONE
    assert world.state(job) is (state or JobState.WAITLISTED)
    assert outcomes(world, job) == ([PromiseOutcome.OPEN] if state else [])


def test_a_place_on_the_waiting_list_is_not_lost_to_a_hopeless_wish(world: World) -> None:
    world.submit(88 * 500, deadline=520.0)
    world.run(5)
    job = world.submit(88 * 100, deadline=550.0, if_infeasible=IfInfeasible.WAIT)
    world.run_until(lambda: world.state(job) is JobState.WAITLISTED)
    answer = change(world, job, deadline=20.0)
    assert answer.outcome is ChangeOutcome.REFUSED
    assert world.state(job) is JobState.WAITLISTED


@pytest.mark.parametrize("state", [JobState.NEW, JobState.HELD])
def test_what_is_not_judged_yet_is_judged_as_it_is_then(world: World, state: JobState) -> None:
    job = world.submit(20_000, deadline=3000.0)
    if state is JobState.HELD:
        world.run_until(lambda: world.state(job) is JobState.RUNNING)
        slurm = world.training(job).slurm
        world.cluster.requeue(slurm, world.clock.now)
        slurm.hold = HoldKind.USER
        world.run_until(lambda: world.state(job) is JobState.HELD)
    else:
        world.scheduler._observer.refresh()
    answer = change(world, job, deadline=4000.0)
    assert answer.outcome is ChangeOutcome.TO_BE_JUDGED
    if state is JobState.HELD:
        world.training(job).slurm.hold = HoldKind.NONE
    world.run_until(lambda: outcomes(world, job)[-1:] == [PromiseOutcome.OPEN])
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert promise.deadline == world.row(job).request.deadline


def held_by_an_operator(world: World) -> QueueJob:
    job = running(world, deadline=3000.0)
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold = HoldKind.ADMIN
    world.run_until(lambda: world.state(job) is JobState.HELD)
    return job


def let_go(world: World, job: QueueJob) -> None:
    world.training(job).slurm.hold = HoldKind.NONE
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)


def test_a_promise_is_given_up_while_an_operator_holds_its_job(world: World) -> None:
    job = held_by_an_operator(world)
    assert change(world, job, best_effort=True).outcome is ChangeOutcome.DONE
    assert outcomes(world, job) == [PromiseOutcome.VOID]
    assert world.state(job) is JobState.HELD
    let_go(world, job)
    assert outcomes(world, job) == [PromiseOutcome.VOID]


def test_a_later_deadline_is_promised_while_an_operator_holds_its_job(world: World) -> None:
    job = held_by_an_operator(world)
    assert change(world, job, deadline=9000.0).outcome is ChangeOutcome.DONE
    assert outcomes(world, job) == [PromiseOutcome.REPLACED, PromiseOutcome.OPEN]
    let_go(world, job)
    assert outcomes(world, job)[-1] is PromiseOutcome.KEPT


@pytest.mark.parametrize("less", [{"deadline": 500.0}, {"iterations": 90_000}, {"max_gpus": 1}])
def test_what_is_promised_stands_while_an_operator_holds_its_job(
    world: World, less: dict[str, object]
) -> None:
    job = held_by_an_operator(world)
    before = world.row(job)
    with pytest.raises(NotPossibleError, match="what it was promised stands"):
        change(world, job, **less)
    assert (outcomes(world, job), world.row(job)) == ([PromiseOutcome.OPEN], before)


def test_after_a_broken_promise_another_one_may_be_given(world: World) -> None:
    job = running(world, deadline=1000.0)
    world.training(job).pace(world.clock.now, 0.2)
    world.run_until(lambda: outcomes(world, job) == [PromiseOutcome.BROKEN])
    assert change(world, job, deadline=1.0).outcome is ChangeOutcome.REFUSED
    assert change(world, job, deadline=3000.0).outcome is ChangeOutcome.DONE
    assert outcomes(world, job) == [PromiseOutcome.BROKEN, PromiseOutcome.OPEN]
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job)[-1] is PromiseOutcome.KEPT


def test_slurms_time_limit_follows_a_later_deadline(world: World) -> None:
    job = running(world)
    slurm = world.training(job).slurm
    slurm.time_limit = 3600.0
    world.scheduler._observer.refresh()
    change(world, job, deadline=86_400.0)
    world.run(10)
    assert slurm.time_limit >= 86_400.0
    world.cluster.requeue(slurm, world.clock.now)
    world.run(60)
    assert not any("changed in Slurm" in line for line in story(world, job))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "deadline=, iterations="),
        ({"deadline": -5.0}, "a time that lies ahead"),
        ({"deadline": 5000.0, "best_effort": True}, "best_effort=yes"),
        ({"deadline": 1e12}, "deadline"),
        ({"max_gpus": 1 << 40}, "max GPUs"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    world: World, wanted: dict[str, object], words: str
) -> None:
    job = running(world)
    before = world.row(job)
    with pytest.raises(ModelError, match=words):
        change(world, job, **wanted)
    assert world.row(job) == before


def test_a_job_that_has_ended_is_continued_instead(world: World) -> None:
    job = world.submit(500, deadline=3000.0)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    with pytest.raises(NotPossibleError, match=f"--continue={job.request.slurm_job_id}"):
        change(world, job, deadline=5000.0)


def test_what_is_so_already_is_no_change(world: World) -> None:
    job = running(world)
    before = len(world.queue.events.all(job_id=job.id, kinds=[EventKind.USER]))
    answer = change(world, job, iterations=ITERATIONS)
    assert (answer.outcome, answer.verdict) == (ChangeOutcome.DONE, None)
    assert len(world.queue.events.all(job_id=job.id, kinds=[EventKind.USER])) == before
    assert outcomes(world, job) == [PromiseOutcome.OPEN]


def test_a_change_survives_the_daemon(world: World) -> None:
    job = running(world)
    change(world, job, iterations=50_000, deadline=5000.0)
    world.restart()
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert world.training(job).iterations == 50_000


@pytest.mark.parametrize(("batch", "most"), [(1, 1), (2, 2), (3, 2), (7, 4), (8, 8), (64, 16)])
def test_no_gpu_is_without_a_sample(world: World, batch: int, most: int) -> None:
    job = world.submit(2000, deadline=3000.0)
    world.queue._database.execute(
        "UPDATE jobs SET global_batch_size = ?, revision = revision + 1", (batch,)
    )
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert max(world.training(job).launches) == most
