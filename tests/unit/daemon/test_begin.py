"""Jobs that may not begin before some moment: nothing starts them earlier, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.daemon.plan.changes import Changed
from ef_slurm.model import (
    ChangeOutcome,
    JobAction,
    JobChange,
    JobState,
    ModelError,
    Outcome,
    PromiseOutcome,
    QueueJob,
    ReasonCode,
)
from tests.unit.daemon.world import START, World

ITERATIONS = 40_000
"""444 s on 16 GPUs, 1250 s on 4."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def waiting(world: World, **fields: object) -> QueueJob:
    wanted = {"deadline": 3000.0, "begin": 1000.0, **fields}
    job = world.submit(ITERATIONS, **wanted)  # type: ignore[arg-type]
    world.run(10.0)
    assert world.training(job).generation == 0
    return world.row(job)


def change(world: World, job: QueueJob, begin: float) -> Changed:
    at = world.clock.now + begin if begin else 0.0
    return world.scheduler.change(job.id, JobChange(begin=at), "user1")


def began(world: World, job: QueueJob) -> float:
    """Seconds after the world's beginning at which it first held GPUs."""
    world.run_until(lambda: world.row(job).first_started_at is not None)
    started = world.row(job).first_started_at
    assert started is not None
    return started - START


def test_it_is_promised_at_once_and_starts_when_it_may(world: World) -> None:
    job = waiting(world)
    verdict = world.queue.promises.verdict(job.id)
    assert verdict is not None
    assert verdict.outcome is Outcome.PROMISED
    assert job.reason is not None
    assert (job.reason.code, job.reason.until) == (ReasonCode.BEGIN, START + 1000.0)
    assert 1000.0 <= began(world, job) < 1020.0
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


@pytest.mark.parametrize("seconds", [0.0, 500.0, 999.0, 1000.0, 1003.0, 1010.0])
def test_a_restart_at_any_time_starts_it_no_earlier(world: World, seconds: float) -> None:
    job = waiting(world)
    world.run(max(0.0, seconds - 10.0))
    world.restart()
    assert 1000.0 <= began(world, job) < 1025.0


def test_best_effort_waits_for_its_moment_too(world: World) -> None:
    job = waiting(world, deadline=None)
    assert 1000.0 <= began(world, job) < 1020.0


def test_it_is_measured_from_then_on(world: World) -> None:
    job = waiting(world, deadline=9000.0, known=False)
    assert world.row(job).measuring is not None
    assert 1000.0 <= began(world, job) < 1020.0
    world.run_until(lambda: world.queue.promises.verdict(job.id) is not None)


def test_held_until_after_its_moment_it_starts_when_it_is_released(world: World) -> None:
    job = waiting(world, deadline=9000.0)
    world.scheduler.act(job.id, JobAction.HOLD, "user1", by_owner=True)
    world.run(1500.0)
    assert world.row(job).first_started_at is None
    world.scheduler.act(job.id, JobAction.RELEASE, "user1", by_owner=True)
    assert 1500.0 <= began(world, job) < 1540.0


def test_held_and_released_before_its_moment_it_still_waits(world: World) -> None:
    job = waiting(world)
    world.scheduler.act(job.id, JobAction.HOLD, "user1", by_owner=True)
    world.run(100.0)
    world.scheduler.act(job.id, JobAction.RELEASE, "user1", by_owner=True)
    assert 1000.0 <= began(world, job) < 1020.0


def test_its_owner_may_want_it_sooner_or_later(world: World) -> None:
    job = waiting(world)
    assert change(world, job, 500.0).outcome is ChangeOutcome.DONE
    outcomes = [one.outcome for one in world.queue.promises.all()]
    assert outcomes == [PromiseOutcome.REPLACED, PromiseOutcome.OPEN]
    later = change(world, job, 1500.0)  # 10 s have passed: judged like a new job
    assert later.outcome is ChangeOutcome.DONE
    assert later.verdict is not None
    refused = change(world, job, 2900.0)
    assert refused.outcome is ChangeOutcome.REFUSED
    assert refused.verdict is not None
    assert refused.verdict.reason.code is ReasonCode.BEGIN
    with pytest.raises(ModelError, match="begin: .* before the deadline"):
        change(world, job, 4000.0)
    assert 1510.0 <= began(world, job) < 1530.0
    with pytest.raises(ModelError, match="it has begun"):
        change(world, job, 100.0)


def test_at_once_after_all(world: World) -> None:
    job = waiting(world)
    assert change(world, job, 0.0).outcome is ChangeOutcome.DONE
    assert began(world, job) < 30.0
