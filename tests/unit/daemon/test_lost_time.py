"""Who made a job fall behind its plan: what took its GPUs, its own pace, or its owner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ef_slurm.model import (
    EventKind,
    Fault,
    JobAction,
    JobState,
    PromiseOutcome,
    PromiseState,
    QueueJob,
)
from tests.unit.daemon.world import World

WENT_AWAY = "GPUs that its promise counted on went away, or it was put back or kept waiting"
SLOW = "it trains more slowly than its throughput curve says, or was started anew"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def node_dies(world: World, job: QueueJob) -> None:
    """And comes back a little later."""
    (name, *_) = world.training(job).slurm.nodes
    world.cluster.kill_node(name, world.clock.now)
    world.run(10.0)
    world.cluster.restore(name)


def put_back(world: World, job: QueueJob) -> None:
    """By preemption or `scontrol requeue`, of which Slurm tells the same."""
    world.cluster.requeue(world.training(job).slurm, world.clock.now)


def operator_requeues(world: World, job: QueueJob) -> None:
    world.scheduler.act(job.id, JobAction.REQUEUE, "root", by_owner=False)


def owner_requeues(world: World, job: QueueJob) -> None:
    world.scheduler.act(job.id, JobAction.REQUEUE, job.request.owner, by_owner=True)


def slurm_keeps_it_waiting(world: World, job: QueueJob) -> None:
    """In the midst of a move that is its own."""
    owner_requeues(world, job)
    slurm_is_silent(world, job)


def slurm_is_silent(world: World, job: QueueJob) -> None:  # noqa: ARG001
    """For a minute, as it is for all."""
    world.run(1.0)
    world.cluster.reachable = False
    world.run(60.0)
    world.cluster.reachable = True


def slows_down_and_slurm_is_silent(world: World, job: QueueJob) -> None:
    """It trains all that time: nobody kept it waiting."""
    world.training(job).pace(world.clock.now, 0.5)
    world.run(100.0)
    slurm_is_silent(world, job)


def slows_down_and_is_put_back(world: World, job: QueueJob) -> None:
    world.training(job).pace(world.clock.now, 0.5)
    world.run(100.0)
    put_back(world, job)


def slows_down_and_node_dies(world: World, job: QueueJob) -> None:
    world.training(job).pace(world.clock.now, 0.5)
    world.run(100.0)
    node_dies(world, job)


def script_ends(world: World, job: QueueJob) -> None:
    """Without a word on why, as whoever kills their own batch script can have it at will."""
    training = world.training(job)
    training.checkpoint = training.count(training.done(world.clock.now))
    world.cluster.finish(training.slurm.job_id, world.clock.now, exit_code=1)


@pytest.mark.parametrize(
    ("befalls", "words", "fault"),
    [
        (node_dies, WENT_AWAY, Fault.CLUSTER),
        (put_back, WENT_AWAY, Fault.CLUSTER),
        (operator_requeues, WENT_AWAY, Fault.CLUSTER),
        (slurm_keeps_it_waiting, WENT_AWAY, Fault.CLUSTER),
        (owner_requeues, SLOW, Fault.JOB),
        (slows_down_and_slurm_is_silent, SLOW, Fault.JOB),
        (script_ends, SLOW, Fault.JOB),
        (slows_down_and_is_put_back, SLOW, Fault.JOB),
        (slows_down_and_node_dies, SLOW, Fault.JOB),
    ],
)
def test_a_promise_is_broken_by_what_took_the_time(
    world: World, befalls: Callable[[World, QueueJob], None], words: str, fault: Fault
) -> None:
    """It needs the whole cluster up to its deadline, and nothing is left to make up for a start."""
    job = world.submit(45_000, deadline=520.0)
    world.run(200.0)
    assert world.row(job).promise is PromiseState.SAFE
    for _ in range(2):
        befalls(world, job)
        world.run(60.0)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED, 4000.0)
    told = [
        event.message
        for event in world.queue.events.all(job_id=job.id, kinds=[EventKind.PROMISE])
        if "at risk" in event.message
    ]
    assert words in told[0]
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert (promise.outcome, promise.fault) == (PromiseOutcome.BROKEN, fault)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_job_that_stood_still_before_its_deadline_was_late_by_its_own_doing(
    world: World, *, goes_on: bool
) -> None:
    """No plan has seen it by then: those are a minute apart."""
    job = world.submit(9_000, deadline=150.0)
    world.run(1.0)
    finish = world.row(job).finish
    deadline = job.request.deadline
    assert finish is not None
    assert deadline is not None
    world.run(finish - 5.0 - world.clock.now)
    training = world.training(job)
    training.hang(world.clock.now)
    world.run(deadline - 0.5 - world.clock.now)
    assert world.row(job).promise is PromiseState.SAFE
    if not goes_on:
        training.base = training.iterations
        world.run(0.4)
    world.run(30.0)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert (promise.outcome, promise.fault) == (PromiseOutcome.BROKEN, Fault.JOB)
