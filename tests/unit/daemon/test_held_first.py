"""Its owner puts a job back, held, between the daemon's last look and the daemon's own requeue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.model import (
    EventKind,
    Fault,
    JobAction,
    JobState,
    PromiseOutcome,
    QueueJob,
)
from ef_slurm.slurm.errors import SlurmTimeoutError
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.unit.daemon.world import World

Requeue = Callable[..., None]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


@pytest.fixture
def job(world: World) -> QueueJob:
    job = world.submit(40_000, deadline=3000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING, 100.0)
    return job


def requeues_first(world: World, job: QueueJob, hold: HoldKind) -> None:
    """Somebody else's `scontrol requeue` or `requeuehold`."""
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold = hold


def race(
    world: World, monkeypatch: pytest.MonkeyPatch, before: Callable[[Requeue, int], None]
) -> list[Collection[HoldKind]]:
    """`before` happens just before the daemon's first requeue; what it calls foreign each time."""
    real, asked = world.slurm.requeue, list[Collection[HoldKind]]()

    def requeue(job_id: int, **options: Any) -> None:
        asked.append(options["foreign"])
        if len(asked) == 1:
            before(real, job_id)
        real(job_id, **options)

    monkeypatch.setattr(world.slurm, "requeue", requeue)
    return asked


def pauses(world: World, job: QueueJob) -> None:
    """The daemon is to put the job back."""
    world.scheduler.act(job.id, JobAction.REQUEUE, job.request.owner, by_owner=True)


def test_an_owners_hold_that_was_there_before_our_requeue_is_theirs_to_end(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = race(world, monkeypatch, lambda *_: requeues_first(world, job, HoldKind.USER))
    pauses(world, job)
    world.run_until(lambda: bool(asked), 200.0)
    world.run(600.0)
    slurm = world.training(job).slurm
    assert world.state(job) is JobState.HELD
    assert (slurm.hold, slurm.restarts, len(asked)) == (HoldKind.USER, 1, 1)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert (promise.outcome, promise.fault) == (PromiseOutcome.VOID, Fault.OWNER)
    assert not world.queue.intents.unfinished()
    # It is no error that an administrator has to read of.
    assert not world.queue.events.all(job_id=job.id, kinds=[EventKind.ERROR])
    slurm.hold = HoldKind.NONE
    world.run_until(lambda: world.state(job) is JobState.COMPLETED, 8000.0)


def test_what_others_put_back_without_a_hold_goes_on(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = race(world, monkeypatch, lambda *_: requeues_first(world, job, HoldKind.NONE))
    pauses(world, job)
    world.run_until(lambda: bool(asked), 200.0)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED, 8000.0)
    assert world.training(job).slurm.restarts == 1


def test_a_hold_between_a_try_of_ours_and_the_next_is_its_owners(
    world: World, job: QueueJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever became of the first: it leaves no owner's hold."""

    def half(_real: Requeue, _job_id: int) -> None:
        requeues_first(world, job, HoldKind.USER)
        raise SlurmTimeoutError("scontrol gave no answer within 10 s")

    asked = race(world, monkeypatch, half)
    pauses(world, job)
    world.run_until(lambda: bool(asked), 200.0)
    world.run(600.0)
    assert world.state(job) is JobState.HELD
    assert world.training(job).slurm.hold is HoldKind.USER


@pytest.mark.parametrize("owner_holds", [True, False])
def test_an_owners_hold_that_was_there_before_our_own_is_theirs_to_end(
    world: World, monkeypatch: pytest.MonkeyPatch, owner_holds: bool
) -> None:
    """The daemon holds again what Slurm does not start."""
    job = world.submit(20_000, deadline=3000.0)
    slurm, real, asked = world.training(job).slurm, world.slurm.hold, list[Collection[HoldKind]]()

    def release(job_id: int) -> None:
        let_go(job_id)
        slurm.begin = world.clock.now + 600.0

    def hold(job_id: int, **options: Any) -> None:
        if slurm.hold is HoldKind.NONE and owner_holds:
            slurm.hold = HoldKind.USER
        asked.append(options.get("foreign", ()))
        real(job_id, **options)

    let_go = world.slurm.release
    monkeypatch.setattr(world.slurm, "release", release)
    monkeypatch.setattr(world.slurm, "hold", hold)
    world.run_until(lambda: {HoldKind.USER} in map(set, asked), 300.0)
    world.run(3.0)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert (world.state(job) is JobState.HELD) is owner_holds
    assert (promise.fault is Fault.OWNER) is owner_holds
    monkeypatch.undo()
    if owner_holds:
        world.run(300.0)
        assert (world.state(job), slurm.hold) == (JobState.HELD, HoldKind.USER)
        slurm.hold, slurm.begin = HoldKind.NONE, 0.0
    world.run_until(lambda: world.state(job) is JobState.COMPLETED, 8000.0)


@pytest.mark.parametrize("deadline", [3000.0, None])
def test_who_was_held_and_released_and_has_ended_between_two_looks_goes_on(
    world: World, deadline: float | None
) -> None:
    """As where its node refuses the run: nobody sees it running, and nobody holds it any more."""
    job = world.submit(20_000, deadline=deadline)
    world.run_until(lambda: world.state(job) is JobState.RUNNING, 100.0)
    requeues_first(world, job, HoldKind.USER)
    world.run_until(lambda: world.state(job) is JobState.HELD, 30.0)
    slurm = world.training(job).slurm
    slurm.hold, slurm.reason = HoldKind.NONE, ""
    slurm.state, slurm.started = JobBaseState.FAILED, world.clock.now
    slurm.ended, slurm.exit_code = world.clock.now, 1
    world.run_until(lambda: world.state(job) is JobState.RUNNING, 200.0)
    assert "released in Slurm, where it has ended since" in "\n".join(
        event.message for event in world.queue.events.all(job_id=job.id)
    )
    world.run_until(lambda: world.state(job) is JobState.COMPLETED, 8000.0)
