"""Slurm's word outranks that of a launch that says it changes its size: GPUs come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from ef_slurm.contract import Progress
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.model import CompanionState, JobState, PromiseOutcome, QueueJob
from ef_slurm.slurm.types import HoldKind
from tests.unit.daemon.handover import HandoverTraining
from tests.unit.daemon.live import LiveTraining, submit_as
from tests.unit.daemon.test_live_changes import LONG, companions, messages
from tests.unit.daemon.world import World

Lie = Callable[[Progress, int], Progress]
"""Of what it would say, and how often it was asked."""


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


def lies(world: World, liar: QueueJob, training: LiveTraining, lie: Lie) -> None:
    """From now on it changes nothing, and reports what it likes."""
    plain, looks = world.bench.read, count(1)
    training.deaf = True

    def read(job: QueueJob) -> JobReports:
        reports = plain(job)
        if job.id != liar.id or reports.progress is None:
            return reports
        return replace(reports, progress=lie(reports.progress, next(looks)))

    world.bench.read = read  # type: ignore[method-assign]


LIES: dict[str, Lie] = {
    "another change at each look": lambda said, look: replace(said, change=100 + look),
    "has left, and may come back": lambda said, _: replace(
        said, change=100, nodes="n1,n2", ready="n3,n4", world_size=8
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_shrink_that_is_always_about_to_be_done_is_done_by_a_requeue(
    world: World, name: str
) -> None:
    liar, training = grown(world, LiveTraining)
    world.run(10.0)
    lies(world, liar, training, LIES[name])
    victim = world.submit(10_000, deadline=800.0)
    since, timeouts = world.clock.now, world.settings.timeouts
    world.run_until(lambda: world.training(victim).generation > 0, limit=700.0)
    assert world.clock.now - since < timeouts.resize + timeouts.leave + 15.0
    world.run_until(lambda: world.state(victim) is JobState.COMPLETED, limit=800.0)
    promise = world.queue.promises.of(victim.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


GROWTH_LIES: dict[str, Lie] = {
    **LIES,
    "trains there already": lambda said, _: replace(said, nodes="n1,n2"),
    "trains there already, by a change": lambda said, _: replace(
        said, nodes="n1,n2", change=100, world_size=8
    ),
}


@pytest.mark.parametrize("kind", [LiveTraining, HandoverTraining])
@pytest.mark.parametrize("name", GROWTH_LIES)
def test_nobody_is_brought_companion_after_companion(
    world: World, kind: type[LiveTraining], name: str
) -> None:
    """Nor kept GPUs that it does not take."""
    world.cluster.occupy("user9", ("n3", "n4"), 4, 9000.0, world.clock.now)
    world.cluster.occupy("user9", ("n2",), 4, 40.0, world.clock.now)
    liar, training = submit_as(kind, world, LONG, deadline=None)
    world.run_until(lambda: len(training.launches) == 1, 100.0)
    lies(world, liar, training, GROWTH_LIES[name])
    training.deaf = False
    world.run(500.0)
    assert len(companions(world, liar)) <= 2
    running, owner = world.row(liar).running, training.slurm.user
    assert running is not None
    mine = (one for one in world.cluster.jobs.values() if one.user == owner and one.holds_nodes)
    assert {*running.block.nodes} == {node for one in mine for node in one.nodes}


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


def test_who_has_waited_long_to_grow_is_asked_to_stop_before_it_shrinks(world: World) -> None:
    """The time for which it was to have more is not one in which it was to leave."""
    job, training = grown(world, HandoverTraining, size=2)
    training.gather = 250.0
    world.run_until(lambda: CompanionState.RUNNING in companions(world, job), 200.0)
    world.run(100.0)
    victim = world.submit(30_000, deadline=700.0)
    world.run_until(lambda: world.training(victim).generation > 0, limit=200.0)
    assert "order-stop" in messages(world, job)


def test_who_has_waited_long_to_grow_is_asked_to_stop_before_it_is_requeued(world: World) -> None:
    """Nobody has asked it to stop, and TERM leaves it KillWait to save."""
    job, training = grown(world, LiveTraining, size=2)
    training.gather, training.save = 1000.0, 50.0
    world.run_until(lambda: "were not there in 300 s" in messages(world, job), 600.0)
    done = training.count(training.done(world.clock.now))
    world.run_until(lambda: training.slurm.restarts == 1, 100.0)
    story = messages(world, job)
    assert 0 < story.index("order-stop") < story.index("requeue:")
    assert training.checkpoint >= done
    world.run_until(lambda: training.gpus == 16, 100.0)
