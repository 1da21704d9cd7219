"""Slurm's word outranks that of a launch that says it changes its size: GPUs come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from ef_slurm.model import CompanionState, JobState, QueueJob
from ef_slurm.slurm.types import HoldKind
from tests.unit.daemon.handover import HandoverTraining
from tests.unit.daemon.live import LiveTraining, submit_as
from tests.unit.daemon.test_live_changes import LONG, companions
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "queue.sqlite", nodes=4, gpus_per_node=4)


def grown(world: World, kind: type[LiveTraining], size: int = 4) -> tuple[QueueJob, LiveTraining]:
    """One that has grown from one node to so many; others may be somebody else's for a while."""
    for nodes, seconds in ((("n2",), 40.0), (("n3", "n4"), 40.0 if size == 4 else 110.0)):
        world.cluster.occupy("user9", nodes, 4, seconds, world.clock.now)
    job, training = submit_as(kind, world, LONG, deadline=40_000.0)
    world.run_until(lambda: len(training.train) == size, 300.0)
    return job, training


@pytest.mark.parametrize("kind", [LiveTraining, HandoverTraining])
def test_companions_of_a_job_that_is_held_in_slurm_are_cancelled(
    world: World, kind: type[LiveTraining]
) -> None:
    job, training = grown(world, kind)
    world.run(10.0)
    training.companions.clear()  # what runs in them is their owner's, and ends by nobody's word
    world.cluster.requeue(training.slurm, world.clock.now)
    training.slurm.hold = HoldKind.USER
    world.run(60.0)
    assert world.state(job) is JobState.HELD
    assert companions(world, job) == [CompanionState.ENDED] * 2
    assert not any(one.holds_nodes for one in world.cluster.jobs.values())
