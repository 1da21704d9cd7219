"""Companions are jobs: Slurm counts them where it limits how many of these run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.model import JobState, Outcome, PromiseOutcome, QueueJob, ThroughputCurve
from ef_slurm.slurm.accounting_types import Accounting, LimitSet, SlurmQos
from tests.unit.daemon.live import LiveTraining, submit_live
from tests.unit.daemon.world import World

FEW = {"QOS": "few"}
TWO_NODES = ThroughputCurve.of({1: 10.0, 2: 18.0, 4: 32.0, 8: 56.0})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite", nodes=8, gpus_per_node=4)
    yield world
    world.queue.close()


def grows(world: World, limits: LimitSet) -> tuple[QueueJob, LiveTraining]:
    """A live job that has come from one node to two, as large as it gets, in a QOS with limits."""
    world.cluster.accounting = Accounting((SlurmQos("few", limits),))
    others = tuple(f"n{number}" for number in range(2, 9))
    world.cluster.occupy("user9", others, 4, 40.0, world.clock.now)
    job, training = submit_live(world, 400_000, deadline=40_000.0, asked=FEW, curve=TWO_NODES)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.run_until(lambda: len(training.train) == 2, 100.0)
    world.run(10.0)
    return job, training


@pytest.mark.parametrize("limits", [LimitSet(jobs_per_user=2), LimitSet(group_jobs=3)])
def test_no_companion_takes_a_place_that_a_job_may_need(world: World, limits: LimitSet) -> None:
    job, training = grows(world, limits)
    assert (list(training.companions), training.slurm.restarts) == ([], 1)
    story = "\n".join(event.message for event in world.queue.events.all(job_id=job.id))
    assert "its companion would be one job too many (" in story
    other = world.submit(3200, deadline=180.0, asked=FEW)
    world.run_until(lambda: world.state(other) is JobState.COMPLETED, 300.0)
    promise = world.queue.promises.of(other.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


@pytest.mark.parametrize("limits", [LimitSet(jobs_per_user=4), LimitSet(group_jobs=4)])
def test_nobody_is_promised_the_place_of_a_companion(world: World, limits: LimitSet) -> None:
    """Of four places a job and its companion have two, the next two jobs the others."""
    _, training = grows(world, limits)
    assert (len(training.companions), training.slurm.restarts) == (1, 0)
    others = [world.submit(3200, deadline=110.0, asked=FEW, curve=TWO_NODES) for _ in range(3)]
    world.step()
    verdicts = [world.queue.promises.verdict(one.id) for one in others]
    outcomes = [None if one is None else one.outcome for one in verdicts]
    assert outcomes == [Outcome.PROMISED, Outcome.PROMISED, Outcome.REJECTED]
    world.run(200.0)
    promises = [world.queue.promises.of(one.id) for one in others[:2]]
    assert [one and one.outcome for one in promises] == [PromiseOutcome.KEPT] * 2
    assert training.train == training.slurm.nodes + tuple(
        node for one in training.companions.values() for node in one.nodes
    )
