"""What the daemon makes of jobs that train otherwise than they were said to."""

from __future__ import annotations

from pathlib import Path

import pytest

from ef_slurm.model import EventKind, JobState, PromiseOutcome, QueueJob
from tests.unit.daemon.world import World, pace


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "queue.sqlite")


def story(world: World, job: QueueJob, kind: EventKind) -> list[str]:
    return [event.message for event in world.queue.events.of(job.id) if event.kind is kind]


def outcome(world: World, job: QueueJob) -> PromiseOutcome:
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    return promise.outcome


def test_a_job_that_slows_down_is_saved_by_growth(world: World) -> None:
    """Told 32/s on 4 GPUs, it needs them until close to its deadline, and slows down."""
    other = world.submit(56 * 700, 800.0)  # holds two nodes
    job = world.submit(32 * 600, 700.0)
    world.run(100.0)
    assert world.row(job).share >= 4
    world.training(other).finished = False
    pace(world, job, 0.5)
    world.run_until(lambda: world.row(job).note.startswith("trains at 0.5"), 120.0)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcome(world, job) is PromiseOutcome.KEPT
    assert any(
        "trains at 0.5 of its rate since" in m for m in story(world, job, EventKind.MEASURED)
    )
