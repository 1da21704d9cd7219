"""Jobs that go on with fewer nodes while the others are still theirs, in a whole small world."""

from __future__ import annotations

from pathlib import Path

import pytest

from ef_slurm.contract import Action, Order
from ef_slurm.daemon.act.conditions import Timeouts
from ef_slurm.daemon.observe.capacity import ResourceScope
from ef_slurm.daemon.settings import Settings
from ef_slurm.model import EventKind, IntentAction, JobState, Overhead, PromiseOutcome, QueueJob
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.daemon.test_crashes import Killer, mortal, survive
from tests.unit.daemon.world import Training, World

LONG = 200_000
HALF = 10_000
"""Iterations of a newcomer that needs half of the cluster for 179 s."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """To go elsewhere costs more than to stay on half of the nodes."""
    overhead = Overhead(start=8.0, grow=40.0, shrink=8.0, move=40.0, restart=40.0)
    scope = ResourceScope(frozenset({"ef"}))
    settings = Settings(scope, timeouts=Timeouts(ready=25.0), idle_interval=5.0, uid=0)
    return World(tmp_path / "queue.sqlite", overhead=overhead, settings=settings)


def grown(world: World, ready: float = 6.0) -> tuple[QueueJob, Training, list[Order]]:
    """A job on all nodes that cannot change while it runs; its orders as they come."""
    job = world.submit(LONG, deadline=40_000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.run(5.0)
    training = world.training(job)
    training.prepares = ready
    assert len(training.slurm.nodes) == 4
    orders: list[Order] = []
    plain = world.bench.order

    def order(other: QueueJob, order: Order) -> None:
        plain(other, order)
        if other.id == job.id:
            orders.append(order)

    world.bench.order = order  # type: ignore[method-assign, assignment]
    return job, training, orders


def kept(world: World, job: QueueJob) -> bool:
    world.run_until(lambda: world.state(job) is JobState.COMPLETED, 400.0)
    promise = world.queue.promises.of(job.id)
    return promise is not None and promise.outcome is PromiseOutcome.KEPT


def test_it_trains_until_its_next_launch_is_ready(world: World) -> None:
    job, training, orders = grown(world)
    other = world.submit(HALF, deadline=240.0)
    world.run_until(lambda: len(training.slurm.nodes) == 2, 20.0)
    ready = orders[0].issued_at + 6.0
    assert training.launched == pytest.approx(ready + training.save, abs=0.1)
    assert [(order.action, order.gpus) for order in orders] == [(Action.RELAUNCH, 8)]
    assert training.launches == [16, 8]
    assert training.slurm.restarts == 0
    intents = world.queue.events.all(job_id=job.id, kinds=[EventKind.INTENT])
    assert [event.data["action"] for event in intents if event.at >= orders[0].issued_at] == [
        IntentAction.ORDER_RELAUNCH.value,
        IntentAction.SHRINK.value,
    ]
    assert kept(world, other)


def test_a_promise_does_not_wait_for_it(world: World) -> None:
    """As much later as a launch may take to be ready, it would be broken."""
    _, training, orders = grown(world)
    other = world.submit(HALF, deadline=200.0)
    world.run_until(lambda: bool(orders), 60.0)
    assert orders[0].action is Action.STOP
    assert kept(world, other)
    assert training.slurm.restarts == 0


def test_one_that_is_never_ready_is_stopped(world: World) -> None:
    _, training, orders = grown(world, ready=10_000.0)
    other = world.submit(HALF, deadline=260.0)
    assert kept(world, other)
    assert [order.action for order in orders[:3]] == [Action.RELAUNCH, Action.STOP, Action.RELAUNCH]
    assert orders[1].issued_at - orders[0].issued_at == pytest.approx(
        world.settings.timeouts.ready, abs=1.5
    )
    assert training.slurm.restarts == 0


def test_one_that_does_not_run_on_fewer_is_stopped_and_given_what_is_left(world: World) -> None:
    _, training, orders = grown(world)
    training.too_small = frozenset({8})
    other = world.submit(HALF, deadline=260.0)
    world.run_until(lambda: world.state(other) is JobState.RUNNING, 100.0)
    assert [order.action for order in orders[:2]] == [Action.RELAUNCH, Action.STOP]
    assert kept(world, other)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("first", [1, 4])
@pytest.mark.parametrize("ready", [6.0, 10_000.0])
def test_the_daemon_may_die_at_any_call(
    world: World, ready: float, first: int, after: bool
) -> None:
    killer = Killer({(number, after) for number in range(first, 600, 8)})
    mortal(world, killer)
    job = world.submit(30_000, deadline=40_000.0)
    others: list[QueueJob] = []
    world.training(job).prepares = ready
    world.at(world.clock.now + 60.0, lambda: others.append(world.submit(HALF, deadline=280.0)))
    survive(world, 4000.0)
    assert killer.killed > 5
    world.restart(MemorySlurm(world.cluster, world.clock))
    world.run(60.0)
    for row in (world.row(job), world.row(others[0])):
        assert row.state is JobState.COMPLETED, row.note
    promise = world.queue.promises.of(others[0].id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT
    assert not world.queue.intents.unfinished()
