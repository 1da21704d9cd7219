"""What is made of Slurm's refusals: limits are found, and nothing is tried again at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from ef_slurm.daemon.act.reconciler import BACKOFF_SECONDS
from ef_slurm.model import (
    FINAL,
    EventKind,
    JobState,
    Outcome,
    Overhead,
    PromiseOutcome,
    PromiseState,
)
from ef_slurm.slurm.errors import RefusedError
from ef_slurm.slurm.types import JobUpdate, SlurmJob
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def refuse_updates(world: World, above: int, message: str) -> list[tuple[float, int]]:
    """Let Slurm refuse larger shapes; returns what was asked for, and when."""
    plain, asked = world.slurm.update, []

    def refusing(job_id: int, update: JobUpdate) -> SlurmJob:
        if update.shape is not None:
            asked.append((world.clock.now, update.shape.gpus))
            if update.shape.gpus > above:
                raise RefusedError(message)
        return plain(job_id, update)

    world.slurm.update = refusing  # type: ignore[method-assign]
    return asked


def test_what_was_refused_is_left_alone_for_a_while(world: World) -> None:
    assert BACKOFF_SECONDS == 15.0
    asked = refuse_updates(world, 0, "Unspecified error")
    world.submit(2000, deadline=3000.0)
    world.run(100)
    tried = [at for at, _ in asked]
    assert 5 <= len(tried) <= 7
    assert all(later - earlier >= 15.0 for earlier, later in pairwise(tried))


def test_a_limit_that_refuses_a_shape_halves_the_job_until_it_fits(world: World) -> None:
    asked = refuse_updates(world, 4, "Job violates accounting/QOS policy (QOSMaxGRESPerUser)")
    job = world.submit(2000, deadline=3000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING, 120)
    assert [gpus for _, gpus in asked] == [16, 8, 4]
    assert world.row(job).share == 4
    world.run_until(world.finished, 3000)
    assert max(gpus for _, gpus in asked[3:] or [(0.0, 0)]) <= 4


def test_a_limit_under_which_a_job_never_starts_halves_it_too(world: World) -> None:
    world.cluster.gpus_per_job = 4
    job = world.submit(2000, deadline=3000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING, 300)
    assert world.row(job).share == 4
    shares = [event.data["to"] for event in world.queue.events.all(kinds=[EventKind.SHARE])]
    assert [gpus for gpus, _ in pairwise([*shares, 0]) if gpus] == [16, 8, 4]


def test_a_daemon_that_starts_again_does_not_ask_for_what_was_refused(world: World) -> None:
    never_starts = world.submit(2000, deadline=3000.0)
    world.cluster.gpus_per_job = 4
    world.run_until(lambda: world.row(never_starts).share == 4, 300)
    asked = refuse_updates(world, 4, "Job violates accounting/QOS policy (QOSMaxGRESPerUser)")
    refused = world.submit(2000, deadline=3000.0)
    world.run_until(lambda: world.row(refused).share == 4, 120)
    before = len(asked)
    world.restart()
    world.run(60)
    assert [gpus for _, gpus in asked[before:] if gpus > 4] == []


def test_nothing_is_retried_unchanged_whatever_the_words(world: World) -> None:
    asked = refuse_updates(world, 0, "Unspecified error")
    job = world.submit(2000, deadline=3000.0)
    world.run(200)
    assert [gpus for _, gpus in asked][:3] == [16, 8, 8]  # the other half of the nodes, too
    assert "Unspecified error" in world.row(job).note
    assert world.row(job).promise is PromiseState.AT_RISK


def test_a_job_that_slurm_refuses_takes_nothing_from_another(world: World) -> None:
    """Whatever is refused, and however often: the GPUs are not booked for what cannot start."""
    refuse_updates(world, 0, "Requested node configuration is not available")
    world.submit(20_000, deadline=3000.0)
    world.run(60)
    del world.slurm.update
    other = world.submit(20_000, deadline=3000.0)
    world.run(10)
    verdict = world.queue.promises.verdict(other.id)
    assert verdict is not None
    assert verdict.outcome is Outcome.PROMISED
    world.run_until(lambda: world.state(other) in FINAL, 2900)
    promise = world.queue.promises.of(other.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


def test_what_slurm_starts_in_the_end_is_safe_again(world: World) -> None:
    refuse_updates(world, 4, "Requested node configuration is not available")
    job = world.submit(2000, deadline=3000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING, 120)
    world.run(5)
    assert world.row(job).promise is PromiseState.SAFE
    told = [event.message for event in world.queue.events.all(kinds=[EventKind.PROMISE])]
    assert any("Slurm does not start it" in message for message in told)


def test_of_what_is_not_shrunk_in_place_nothing_is_kept_when_it_has_ended(world: World) -> None:
    def refused(job_id: int, nodes: Sequence[str]) -> SlurmJob:
        raise RefusedError(f"job {job_id} cannot shrink to {nodes}")

    world.slurm.resize = refused  # type: ignore[method-assign]
    world.overhead = Overhead(start=8.0, grow=40.0, shrink=8.0, move=40.0, restart=40.0)
    jobs = [world.submit(30_000, deadline=40_000.0)]
    world.run_until(lambda: world.state(jobs[0]) is JobState.RUNNING)
    world.run(5)
    jobs.append(world.submit(10_000, deadline=260.0))
    world.run_until(lambda: world.training(jobs[0]).slurm.restarts == 1, 60)
    kept = world.scheduler._acting.reconciler._surroundings._requeue_only
    assert list(kept) == [jobs[0].id]
    world.run_until(world.finished, 10_000)
    assert not kept
