"""A promise that is called broken by a clock that is ahead is none that was broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.daemon.observe.settlements import called_too_early
from ef_slurm.model import (
    EventKind,
    Fault,
    JobAction,
    JobChange,
    JobState,
    Overhead,
    Promise,
    PromiseOutcome,
    PromiseState,
    QueueJob,
)
from tests.unit.daemon.make import NOW
from tests.unit.daemon.world import World

AHEAD = 3600.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def outcome(world: World, job: QueueJob) -> PromiseOutcome | None:
    promise = world.queue.promises.of(job.id)
    return None if promise is None else promise.outcome


def tick_of_a_clock_that_is_ahead(world: World, seconds: float = AHEAD) -> None:
    """One look of a daemon whose clock was set forward: Slurm's was not, nor were the nodes'."""
    now = world.clock.now
    observe = world.slurm.observe
    world.scheduler._clock = lambda: now + seconds
    world.scheduler._follower._clock = world.scheduler._clock

    def ahead() -> object:
        seen = observe()
        return type(seen)(now + seconds, seen.jobs, seen.nodes, seen.reservations)

    world.slurm.observe = ahead  # type: ignore[method-assign,assignment]
    try:
        world.scheduler.refresh_soon()
        world.scheduler.tick()
    finally:
        world.slurm.observe = observe  # type: ignore[method-assign]
        world.scheduler._clock = world.scheduler._follower._clock = world.clock


def running(world: World, deadline: float = 1000.0) -> QueueJob:
    job = world.submit(20_000, deadline=deadline)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.run(20.0)
    return job


@pytest.mark.parametrize("daemon_dies", [False, True])
def test_the_clock_comes_back_and_so_does_the_promise(world: World, daemon_dies: bool) -> None:
    job = running(world)
    tick_of_a_clock_that_is_ahead(world)
    assert outcome(world, job) is PromiseOutcome.BROKEN
    if daemon_dies:
        world.restart()
    world.run(2.0)
    assert outcome(world, job) is PromiseOutcome.OPEN
    assert world.row(job).promise is PromiseState.SAFE
    told = [event.message for event in world.queue.events.all(job_id=job.id)]
    assert any("open again: it was called broken by a clock" in words for words in told)
    world.run_until(world.finished, 2000)
    assert outcome(world, job) is PromiseOutcome.KEPT


def test_whose_owner_has_held_it_meanwhile_has_given_its_promise_up(world: World) -> None:
    """As if the clock had been right then; and once it is released it is judged anew."""
    job = running(world)
    tick_of_a_clock_that_is_ahead(world)
    owner = job.request.owner
    world.scheduler.act(job.id, JobAction.HOLD, owner, by_owner=True)
    world.run(60.0)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert (promise.outcome, promise.fault) == (PromiseOutcome.VOID, Fault.OWNER)
    world.scheduler.act(job.id, JobAction.RELEASE, owner, by_owner=True)
    world.run(20.0)
    again = world.queue.promises.of(job.id)
    assert again is not None
    assert again.id > promise.id
    assert again.outcome is PromiseOutcome.OPEN
    assert not world.queue.events.all(job_id=job.id, kinds=[EventKind.ERROR])


def test_what_ends_in_time_by_slurms_clock_is_kept(world: World) -> None:
    """The clock is still ahead when the job ends."""
    job = running(world)
    tick_of_a_clock_that_is_ahead(world)
    assert outcome(world, job) is PromiseOutcome.BROKEN
    training = world.training(job)
    while world.state(job) is JobState.RUNNING:
        world.clock.now += 5.0
        world.bench.advance()
        tick_of_a_clock_that_is_ahead(world)
        if training.finished:
            break
    assert world.state(job) is JobState.COMPLETED
    assert outcome(world, job) is PromiseOutcome.KEPT


def test_a_deadline_that_is_over_stays_over(world: World) -> None:
    job = running(world, deadline=700.0)
    world.training(job).pace(world.clock.now, 0.01)
    world.run(800.0)
    assert outcome(world, job) is PromiseOutcome.BROKEN
    world.clock.now -= 5.0  # set back, and the deadline is over all the same
    world.run(20.0)
    assert outcome(world, job) is PromiseOutcome.BROKEN


def test_a_later_deadline_mends_no_promise_that_was_broken(world: World) -> None:
    """Of a held job such a one counts when it is released: it has the same promise until then."""
    job = running(world, deadline=700.0)
    world.scheduler.act(job.id, JobAction.HOLD, "root", by_owner=False)
    world.run(800.0)
    assert outcome(world, job) is PromiseOutcome.BROKEN
    later = JobChange(deadline=world.clock.now + 2000.0)
    world.scheduler.change(job.id, later, job.request.owner)
    world.scheduler.act(job.id, JobAction.RELEASE, "root", by_owner=False)
    world.run_until(world.finished, 2000)
    assert world.state(job) is JobState.COMPLETED
    first, *_ = world.queue.promises.all()
    assert first.outcome is PromiseOutcome.BROKEN


DEADLINE = NOW + 100.0


@pytest.mark.parametrize(
    ("result", "settled", "now", "early"),
    [
        (PromiseOutcome.BROKEN, DEADLINE + 500.0, NOW, True),
        (PromiseOutcome.BROKEN, DEADLINE + 500.0, DEADLINE + 30.0, True),  # in its grace
        (PromiseOutcome.BROKEN, DEADLINE + 500.0, DEADLINE + 62.0, False),
        (PromiseOutcome.BROKEN, NOW - 10.0, NOW, False),  # for something else than its deadline
        (PromiseOutcome.VOID, DEADLINE + 500.0, NOW, False),
        (PromiseOutcome.KEPT, DEADLINE + 500.0, NOW, False),
        (PromiseOutcome.OPEN, None, NOW, False),
    ],
)
def test_which_are_early(
    result: PromiseOutcome, settled: float | None, now: float, early: bool
) -> None:
    fault = Fault.EF_SLURM if result is PromiseOutcome.BROKEN else None
    promise = Promise(
        id=1,
        job_id=1,
        given_at=NOW - 500.0,
        deadline=DEADLINE,
        grace=60.0,
        finish=DEADLINE - 50.0,
        share=4,
        curves=(),
        overhead=Overhead(),
        outcome=result,
        fault=fault,
        settled_at=settled,
    )
    assert called_too_early(promise, now) is early
