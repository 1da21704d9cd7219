"""What was submitted again and not heard of is used, or cancelled, and never doubled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.model import EventKind, IntentAction, JobState, QueueJob
from ef_slurm.slurm.errors import SlurmUnavailableError
from ef_slurm.slurm.types import HoldKind, JobBaseState, Observation, Submission, Submitted
from tests.fakes.memory_cluster import MemoryJob
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def dies(world: World, job: QueueJob) -> MemoryJob:
    """Its node dies, and Slurm does not take it back."""
    slurm = world.training(job).slurm
    slurm.state, slurm.ended = JobBaseState.NODE_FAIL, world.clock.now
    slurm.may_requeue = False
    return slurm


def submits_unheard(world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch) -> MemoryJob:
    """Slurm takes what is submitted, and does not answer, nor anything after that."""
    submit, before = world.slurm.submit, set(world.cluster.jobs)

    def unheard(submission: Submission) -> Submitted:
        submitted = submit(submission)
        world.cluster.jobs[submitted.job_id].name = job.request.name  # as its options have it
        world.cluster.reachable = False
        raise SlurmUnavailableError("timed out")

    with monkeypatch.context() as patched:
        patched.setattr(world.slurm, "submit", unheard)
        world.run_until(lambda: not world.cluster.reachable, 120)
    (made,) = (world.cluster.jobs[one] for one in set(world.cluster.jobs) - before)
    assert [one.action for one in world.queue.intents.unfinished()] == [IntentAction.SUBMIT]
    return made


def withdraw(world: World, job: QueueJob) -> None:
    now = world.clock.now
    world.queue.jobs.move(job.id, JobState.CANCELLED, at=now, actor="user1", why="cancelled")


def namesake(world: World, job: QueueJob) -> MemoryJob:
    """A job that the owner has submitted by hand."""
    return world.cluster.add_job("user1", job.request.name, now=world.clock.now, uid=0)


def told(world: World, job: QueueJob) -> str:
    events = world.queue.events.all(job_id=job.id, kinds=[EventKind.ERROR])
    return "\n".join(event.message for event in events)


@pytest.fixture
def job(world: World) -> QueueJob:
    """One that trains."""
    job = world.submit(20_000, deadline=3000.0)
    world.run(60)
    assert world.state(job) is JobState.RUNNING
    return job


def test_of_a_withdrawn_job_it_is_cancelled(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = namesake(world, job)
    dies(world, job)
    made = submits_unheard(world, job, monkeypatch)
    withdraw(world, job)
    world.restart()
    world.run(30)
    assert world.queue.intents.unfinished()  # Slurm still says nothing
    world.cluster.reachable = True
    world.run(30)
    assert made.state is JobBaseState.CANCELLED
    assert own.state is JobBaseState.PENDING
    assert not world.queue.intents.unfinished()
    assert f"{made.job_id}, which was, is cancelled" in told(world, job)


def test_of_several_none_is_taken_for_it(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies(world, job)
    made = submits_unheard(world, job, monkeypatch)
    own = namesake(world, job)
    withdraw(world, job)
    world.cluster.reachable = True
    world.run(30)
    assert {made.state, own.state} == {JobBaseState.PENDING}
    assert not world.queue.intents.unfinished()
    assert f"{made.job_id}, {own.job_id} may be left" in told(world, job)


def test_what_its_owner_has_released_is_the_owners(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies(world, job)
    made = submits_unheard(world, job, monkeypatch)
    made.hold = HoldKind.NONE
    made.begin = 1e12
    withdraw(world, job)
    world.cluster.reachable = True
    world.run(30)
    assert made.state is JobBaseState.PENDING
    assert f"{made.job_id} may be left" in told(world, job)


def test_of_a_job_that_goes_on_as_it_was_it_is_cancelled(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator has put it back into the queue after all."""
    slurm = dies(world, job)
    made = submits_unheard(world, job, monkeypatch)
    slurm.may_requeue = True
    world.cluster.requeue(slurm, world.clock.now)
    world.cluster.reachable = True
    world.run(60)
    assert made.state is JobBaseState.CANCELLED
    assert (world.state(job), slurm.state) == (JobState.RUNNING, JobBaseState.RUNNING)
    assert world.row(job).request.slurm_job_id == slurm.job_id


def test_of_a_job_that_is_to_go_on_it_is_used(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies(world, job)
    made = submits_unheard(world, job, monkeypatch)
    world.cluster.reachable = True
    world.step()
    assert world.row(job).request.slurm_job_id == made.job_id
    assert not world.queue.intents.unfinished()


def of_an_older_daemon(world: World, job: QueueJob) -> None:
    """It was killed while it submitted a lost job, of which it did not note what was there."""
    now = world.clock.now
    gone = world.cluster.jobs.pop(job.request.slurm_job_id)
    gone.state, gone.ended = JobBaseState.CANCELLED, now
    world.queue.jobs.move(job.id, JobState.LOST, at=now, actor="ef-slurm", why="lost")
    world.queue.intents.open(job.id, 0, IntentAction.SUBMIT, {}, at=now, why="submit it again")


def test_what_an_older_daemon_may_have_submitted_is_neither_used_nor_doubled(
    world: World, job: QueueJob
) -> None:
    of_an_older_daemon(world, job)
    doubtful = namesake(world, job)
    for _ in range(3):
        world.restart()
        world.run(30)
        assert world.state(job) is JobState.LOST
        assert list(world.cluster.jobs.values()) == [doubtful]
    assert f"Slurm jobs {doubtful.job_id}, and nobody can tell" in told(world, job)
    del world.cluster.jobs[doubtful.job_id]  # its owner has looked
    world.restart()
    world.step()
    assert world.state(job) in (JobState.ADMITTED, JobState.PAUSED, JobState.STARTING)


def test_what_an_older_daemon_may_have_submitted_is_not_cancelled(
    world: World, job: QueueJob
) -> None:
    of_an_older_daemon(world, job)
    doubtful = namesake(world, job)
    world.clock.now += 3601.0
    world.restart()
    world.run(30)
    assert doubtful.state is JobBaseState.PENDING
    assert not world.queue.intents.unfinished()
    assert f"{doubtful.job_id} may be left" in told(world, job)


def test_who_ends_while_slurm_is_asked_for_it_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was heard in the midst of a round is not acted upon before it was followed."""
    job, other = (world.submit(20_000, deadline=3000.0) for _ in range(2))
    world.run(60)
    assert world.state(job) is world.state(other) is JobState.RUNNING
    dies(world, job)
    submits_unheard(world, job, monkeypatch)
    withdraw(world, job)
    world.cluster.reachable = True
    training, observe, asked = world.training(other), world.slurm.observe, list[float]()

    def ends_before_the_second_look_in_a_tick() -> Observation:
        asked.append(world.clock.now)
        if asked.count(world.clock.now) == 2 and training.running:
            training.finished = True
            world.cluster.finish(training.slurm.job_id, world.clock.now)
        return observe()

    monkeypatch.setattr(world.slurm, "observe", ends_before_the_second_look_in_a_tick)
    world.run(30)
    assert training.finished
    assert not world.queue.intents.unfinished()
    assert training.slurm.restarts == 0
    assert world.state(other) is JobState.COMPLETED


def test_a_clock_that_is_set_back_makes_nobody_wait_for_it(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies(world, job)
    made = submits_unheard(world, job, monkeypatch)
    withdraw(world, job)
    world.cluster.reachable = True
    world.clock.now -= 3600.0
    world.run(30)
    assert made.state is JobBaseState.CANCELLED


@pytest.mark.parametrize("begin", [0.0, 1e12])
def test_what_its_owner_has_released_is_neither_used_nor_doubled(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch, begin: float
) -> None:
    """It may be what was submitted, or the owner's own; it waits, or runs by now."""
    dies(world, job)
    made = submits_unheard(world, job, monkeypatch)
    made.hold, made.begin = HoldKind.NONE, begin
    world.cluster.reachable = True
    world.run(30)
    assert world.row(job).request.slurm_job_id == job.request.slurm_job_id
    assert len(world.cluster.jobs) == 2
    assert made.state is (JobBaseState.PENDING if begin else JobBaseState.RUNNING)
    assert f"Slurm jobs {made.job_id}, and nobody can tell" in told(world, job)


def test_what_had_never_come_to_slurm_is_submitted(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies(world, job)
    made = submits_unheard(world, job, monkeypatch)
    del world.cluster.jobs[made.job_id]
    world.cluster.reachable = True
    world.run(30)
    assert world.row(job).request.slurm_job_id not in (job.request.slurm_job_id, made.job_id)
    assert world.state(job) is not JobState.FAILED


def test_of_several_none_is_used_for_it(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies(world, job)
    made = submits_unheard(world, job, monkeypatch)
    own = namesake(world, job)
    world.cluster.reachable = True
    world.run(30)
    assert world.row(job).request.slurm_job_id == job.request.slurm_job_id
    assert {made.state, own.state} == {JobBaseState.PENDING}
    assert len(world.cluster.jobs) == 3
    assert f"Slurm jobs {made.job_id}, {own.job_id}, and nobody can tell" in told(world, job)
