"""A job that trains on a part of the GPUs that it holds: launched again in place, no requeue."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from ef_slurm.daemon.act.reconcile_result import ReconcileResult
from ef_slurm.daemon.act.reconciler import Reconciler
from ef_slurm.daemon.plan.record import train_on
from ef_slurm.model import EventKind, JobState, QueueJob
from tests.unit.daemon.test_crashes import EXAMPLES, Killed, Killer, kills, mortal
from tests.unit.daemon.world import CURVE, World

SIZES = (1, 4, 2, None)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite", nodes=2)
    yield world
    world.queue.close()


def ask(world: World, job: QueueJob, active: int | None) -> None:
    train_on(world.queue, job.id, active, world.overhead, world.clock.now, "test")


def trains_on(world: World, job: QueueJob, gpus: int) -> bool:
    row, training = world.row(job), world.training(job)
    settled = row.state is JobState.RUNNING and not world.queue.intents.unfinished()
    return training.gpus == gpus and training.trains_from < world.clock.now and settled


def test_every_part_in_one_allocation(world: World) -> None:
    job = world.submit(100_000, deadline=None)
    world.run_until(lambda: trains_on(world, job, 8))
    slurm, done = world.training(job).slurm, 0.0
    other = world.submit(100, deadline=None)  # what lies idle is not anybody else's
    for active in SIZES:
        ask(world, job, active)
        gpus = active or 8
        world.run_until(partial(trains_on, world, job, gpus), limit=60.0)
        world.run(40.0)
        assert trains_on(world, job, gpus)
        assert world.training(job).rate == dict(CURVE.points)[gpus]
        assert world.row(job).iteration > done
        done = world.row(job).iteration
        assert world.row(job).share == 8
        assert not world.training(other).launches
    assert world.training(job).launches == [8, 1, 4, 2, 8]
    assert (slurm.restarts, slurm.gpus_per_node, len(slurm.nodes)) == (0, 4, 2)
    rates = {
        (event.data["gpus"], event.data["value"])
        for event in world.queue.events.all(job_id=job.id, kinds=[EventKind.MEASURED])
        if event.data["what"] == "rate"
    }
    assert {gpus for gpus, _ in rates} == {1, 2, 4, 8}
    for size, rate in rates:
        assert isinstance(size, int)
        assert rate == pytest.approx(dict(CURVE.points)[size], rel=0.05)


def test_a_part_on_which_the_training_fails_is_left_alone(world: World) -> None:
    """The script goes on with all GPUs, and the daemon lets it."""
    job = world.submit(100_000, deadline=None)
    world.run_until(lambda: trains_on(world, job, 8))
    world.training(job).too_small = frozenset({1})
    ask(world, job, 1)
    world.run(300.0)
    assert world.training(job).launches == [8, 1]
    assert world.training(job).gpus == 8
    assert world.state(job) is JobState.RUNNING


@pytest.mark.parametrize("unwritable", [False, True])
def test_a_job_may_begin_on_a_part(
    world: World, monkeypatch: pytest.MonkeyPatch, unwritable: bool
) -> None:
    """Told so between the plan and the release; if it cannot be told, it begins on all."""
    job = world.submit(100_000, deadline=None)
    with monkeypatch.context() as patch:
        patch.setattr(Reconciler, "reconcile", lambda *_: ReconcileResult())
        world.run_until(lambda: world.row(job).running is not None)
    ask(world, job, 1)
    world.bench.unwritable = unwritable
    world.run_until(lambda: trains_on(world, job, 8 if unwritable else 1))
    assert world.training(job).launches == [8 if unwritable else 1]
    if unwritable:
        return
    ask(world, job, None)
    world.run_until(lambda: trains_on(world, job, 8))
    assert world.training(job).launches == [1, 8]


def test_a_requeue_in_the_middle_ends_the_part(world: World) -> None:
    job = world.submit(100_000, deadline=None)
    world.run_until(lambda: trains_on(world, job, 8))
    ask(world, job, 1)
    world.run_until(lambda: trains_on(world, job, 1))
    world.cluster.requeue(world.training(job).slurm, world.clock.now)
    world.run_until(lambda: trains_on(world, job, 8))
    running = world.row(job).running
    assert running is not None
    assert running.active is None


@given(kills)
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_killed_at_any_moment_it_gets_there(
    tmp_path_factory: pytest.TempPathFactory, dead_at: set[tuple[int, bool]]
) -> None:
    world = World(tmp_path_factory.mktemp("world") / "queue.sqlite", nodes=2)
    job = world.submit(100_000, deadline=None)
    world.run_until(lambda: trains_on(world, job, 8))
    mortal(world, Killer(dead_at))
    for active in SIZES:
        ask(world, job, active)
        end = world.clock.now + 300.0
        while not trains_on(world, job, active or 8):
            assert world.clock.now < end
            try:
                world.step(end)
            except Killed:
                world.clock.now += 1.0
                world.bench.advance()
                world.restart()
    assert world.training(job).slurm.restarts == 0
    world.queue.close()
