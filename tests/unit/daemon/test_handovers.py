"""Jobs whose ranks cannot stay: a larger launch takes over from the one that trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from ef_slurm.model import CompanionState, JobState, QueueJob
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.daemon.handover import HandoverTraining
from tests.unit.daemon.live import submit_as
from tests.unit.daemon.test_crashes import Killer, mortal, survive
from tests.unit.daemon.test_live_changes import LONG, companions
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "queue.sqlite", nodes=4, gpus_per_node=4)


def alone(world: World) -> tuple[QueueJob, HandoverTraining]:
    """A job that has one node, since somebody has the others for a while."""
    world.cluster.occupy("user9", ("n2", "n3", "n4"), 4, 40.0, world.clock.now)
    job, training = submit_as(HandoverTraining, world, LONG, deadline=40_000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    return job, training


def grown(world: World) -> tuple[QueueJob, HandoverTraining]:
    job, training = alone(world)
    world.run_until(lambda: len(training.train) == 4, 200.0)
    world.run(10.0)
    return job, training


def test_it_grows_without_a_requeue(world: World) -> None:
    job, training = grown(world)
    assert (training.generation, training.slurm.restarts) == (1, 0)
    assert training.changes == [("n1", "n2"), ("n1", "n2", "n3", "n4")]
    assert companions(world, job) == [CompanionState.JOINED, CompanionState.JOINED]
    assert not world.queue.intents.unfinished()
    world.run(60.0)
    assert (training.generation, len(training.changes)) == (1, 2)


def test_it_makes_room_for_a_promise(world: World) -> None:
    job, training = grown(world)
    other = world.submit(10_000, deadline=230.0)
    world.run_until(lambda: world.state(other) is JobState.COMPLETED, 300.0)
    promise = world.queue.promises.of(other.id)
    assert promise is not None
    assert promise.outcome.value == "kept"
    # And grows back.
    world.run_until(lambda: len(training.train) == 4, 300.0)
    assert world.state(job) is JobState.RUNNING


def test_what_is_refused_is_done_by_a_requeue(world: World) -> None:
    job, training = alone(world)
    training.refuses = frozenset({8, 16})
    world.run(300.0)
    assert training.refused[0] == 0  # by the next launch: it has grown by a requeue
    assert (training.generation, training.slurm.restarts) == (2, 1)
    assert len(training.train) == 4
    assert world.state(job) is JobState.RUNNING
    assert len(world.queue.companions.of(job.id)) <= 2


def test_a_larger_launch_that_dies_is_not_tried_again_at_once(world: World) -> None:
    job, training = alone(world)
    training.dies_at = frozenset({8, 16})
    world.run(300.0)
    assert training.generation <= 4, training.launches
    assert world.state(job) is JobState.RUNNING


def test_without_a_companion_it_goes_on_with_its_own_nodes(world: World) -> None:
    job, training = grown(world)
    first = world.queue.companions.of(job.id)[0].slurm_job_id
    assert first is not None
    done = training.done(world.clock.now)
    world.cluster.cancel(world.cluster.jobs[first], world.clock.now)
    world.run(2.0)
    assert training.train == ("n1",)
    world.run(20.0)
    assert (training.generation, training.slurm.restarts) == (2, 0)
    assert training.done(world.clock.now) >= done - 1
    assert world.state(job) is JobState.RUNNING


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("first", [1, 7])
def test_the_daemon_may_die_at_any_call(world: World, first: int, after: bool) -> None:
    """Before or after the effect of every twelfth call: nothing is left behind, or done twice."""
    killer = Killer({(number, after) for number in range(first, 600, 12)})
    mortal(world, killer)
    world.cluster.occupy("user9", ("n2", "n3", "n4"), 4, 40.0, world.clock.now)
    job, _training = submit_as(HandoverTraining, world, 30_000, deadline=40_000.0)
    others: list[QueueJob] = []
    world.at(world.clock.now + 90.0, lambda: others.append(world.submit(10_000, deadline=260.0)))
    survive(world, 4000.0)
    assert killer.killed > 5
    world.restart(MemorySlurm(world.cluster, world.clock))
    world.run(60.0)
    for row in (world.row(job), world.row(others[0])):
        assert row.state is JobState.COMPLETED, row.note
    promise = world.queue.promises.of(others[0].id)
    assert promise is not None
    assert promise.outcome.value == "kept"
    assert not world.queue.companions.present()
    assert not any(one.holds_nodes for one in world.cluster.jobs.values())
