"""Jobs that give nodes back while they train, and live changes in whose midst the daemon dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from ef_slurm.model import CompanionState, JobState, QueueJob
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.daemon.live import LiveTraining, submit_live
from tests.unit.daemon.test_crashes import Killer, mortal, survive
from tests.unit.daemon.test_live_changes import LONG, companions, grown, untouched
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "queue.sqlite", nodes=4, gpus_per_node=4)


def test_a_job_shrinks_for_a_promise_while_it_trains(world: World) -> None:
    job, training = grown(world)
    # 8 GPUs for 200 s: it must have half of the cluster at once.
    other = world.submit(10_000, deadline=230.0)
    world.run_until(lambda: world.state(other) is JobState.RUNNING, 60.0)
    assert ",".join(training.train) == "n1,n2"
    world.run(20.0)
    untouched(world, training)
    assert companions(world, job) == [CompanionState.JOINED, CompanionState.ENDED]
    assert training.slurm.nodes == ("n1",)
    world.run_until(lambda: world.state(other) is JobState.COMPLETED, 300.0)
    # And grows back.
    world.run_until(lambda: len(training.train) == 4, 200.0)
    untouched(world, training)
    promise = world.queue.promises.of(other.id)
    assert promise is not None
    assert promise.outcome.value == "kept"


def test_nodes_of_the_first_slurm_job_are_given_back(world: World) -> None:
    job, training = submit_live(world, LONG, deadline=40_000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.run(5.0)
    assert len(training.train) == 4
    other = world.submit(10_000, deadline=230.0)
    world.run_until(lambda: world.state(other) is JobState.RUNNING, 60.0)
    world.run(20.0)
    assert ",".join(training.slurm.nodes) == ",".join(training.train) == "n1,n2"
    untouched(world, training)
    assert companions(world, job) == []


def test_a_shrink_that_the_launch_refuses_is_done_by_a_stop(world: World) -> None:
    _job, training = grown(world)
    training.refuses = frozenset({8})
    other = world.submit(10_000, deadline=230.0)
    world.run_until(lambda: world.state(other) is JobState.COMPLETED, 300.0)
    assert training.generation > 1
    promise = world.queue.promises.of(other.id)
    assert promise is not None
    assert promise.outcome.value == "kept"


def life(world: World) -> tuple[QueueJob, LiveTraining, QueueJob]:
    """One node, four, two for a promise, and four again."""
    world.cluster.occupy("user9", ("n2", "n3", "n4"), 4, 40.0, world.clock.now)
    job, training = submit_live(world, 30_000, deadline=40_000.0)
    others: list[QueueJob] = []
    world.at(world.clock.now + 90.0, lambda: others.append(world.submit(10_000, deadline=260.0)))
    survive(world, 4000.0)
    return job, training, others[0]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("first", [1, 7])
def test_the_daemon_may_die_at_any_call(world: World, first: int, after: bool) -> None:
    """Before or after the effect of every twelfth call: nothing is left behind, or done twice."""
    killer = Killer({(number, after) for number in range(first, 600, 12)})
    mortal(world, killer)
    job, training, other = life(world)
    assert killer.killed > 5
    world.restart(MemorySlurm(world.cluster, world.clock))
    world.run(60.0)
    for row in (world.row(job), world.row(other)):
        assert row.state is JobState.COMPLETED, row.note
    promise = world.queue.promises.of(other.id)
    assert promise is not None
    assert promise.outcome.value == "kept"
    assert training.slurm.restarts <= 1
    assert not world.queue.companions.present()
    assert not any(one.holds_nodes for one in world.cluster.jobs.values())
