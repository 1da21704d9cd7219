"""What ended jobs leave in Slurm is cancelled, and nobody else's job ever."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon.act.orphans import ORPHAN_WINDOW_SECONDS
from ef_slurm.model import Fault, JobState, PromiseOutcome, QueueJob
from ef_slurm.slurm.errors import RefusedError
from ef_slurm.slurm.types import JobBaseState
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def in_slurm(world: World, job: QueueJob) -> JobBaseState:
    return world.training(job).slurm.state


def test_what_a_rejected_job_leaves_is_cancelled_after_ten_seconds(world: World) -> None:
    job = world.submit(10_000_000, deadline=100.0)
    world.run(9)
    assert world.state(job) is JobState.REJECTED
    # ef-sbatch does that itself, where it lives.
    assert in_slurm(world, job) is JobBaseState.PENDING
    world.run(3)
    assert in_slurm(world, job) is JobBaseState.CANCELLED


def test_a_clock_that_is_set_back_leaves_nothing_lying(world: World) -> None:
    job = world.submit(10_000_000, deadline=100.0)
    world.step()
    assert world.state(job) is JobState.REJECTED
    world.clock.now -= 3600.0
    world.run(12)
    assert in_slurm(world, job) is JobBaseState.CANCELLED


def test_an_id_that_slurm_has_given_to_somebody_else_is_left_alone(world: World) -> None:
    job = world.submit(10_000_000, deadline=100.0)
    world.step()
    assert world.state(job) is JobState.REJECTED
    slurm = world.training(job).slurm
    slurm.uid = 4711
    world.run(60)
    assert slurm.state is JobBaseState.PENDING


def test_what_ended_long_ago_is_not_looked_at(world: World) -> None:
    job = world.submit(10_000_000, deadline=100.0)
    world.step()
    world.clock.now += ORPHAN_WINDOW_SECONDS + 1.0
    world.restart()
    world.run(60)
    assert world.training(job).slurm.state is JobBaseState.PENDING


def test_what_ended_before_a_daemon_was_away_for_hours_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_job_id: int) -> None:
        raise RefusedError("disabled")

    job = world.submit(10_000_000, deadline=100.0)
    world.step()
    world.clock.now += 7200.0
    world.restart()
    with monkeypatch.context() as patched:
        patched.setattr(world.slurm, "cancel", refuse)
        world.run(60)
        assert in_slurm(world, job) is JobBaseState.PENDING
    world.run(60)
    assert in_slurm(world, job) is JobBaseState.CANCELLED


def test_a_job_that_its_owner_withdrew_has_no_promise_any_more(world: World) -> None:
    job = world.submit(20_000, deadline=3000.0)
    world.run(60)
    world.queue.jobs.move(
        job.id, JobState.CANCELLED, at=world.clock.now, actor="user1", why="cancelled"
    )
    world.run(15)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert (promise.outcome, promise.fault) == (PromiseOutcome.VOID, Fault.OWNER)
    assert world.training(job).slurm.state is JobBaseState.CANCELLED


def test_advice_cancels_nothing(world: World) -> None:
    world.settings = replace(world.settings, advisory=True)
    world.restart()
    job = world.submit(20_000, deadline=3000.0)
    world.queue.jobs.move(
        job.id, JobState.CANCELLED, at=world.clock.now, actor="user1", why="cancelled"
    )
    world.run(60)
    assert world.training(job).slurm.state is JobBaseState.PENDING


def test_what_slurm_refused_to_cancel_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its row ended long before: the daemon could not write, or Slurm was silent."""
    job = world.submit(10_000_000, deadline=100.0)
    world.run(3)
    assert world.state(job) is JobState.REJECTED
    asked, cancel = list[float](), world.slurm.cancel

    def refused(job_id: int) -> None:
        asked.append(world.clock.now)
        raise RefusedError(f"job {job_id} cannot be cancelled")

    monkeypatch.setattr(world.slurm, "cancel", refused)
    world.clock.now += 120.0
    world.run(130)
    assert 2 <= len(asked) <= 8
    assert in_slurm(world, job) is JobBaseState.PENDING
    monkeypatch.setattr(world.slurm, "cancel", cancel)
    world.run(40)
    assert in_slurm(world, job) is JobBaseState.CANCELLED
