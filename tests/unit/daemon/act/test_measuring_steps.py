"""When a launch is told to measure itself, and how long that is waited for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ef_slurm.contract import Action, LaunchState, Order, Phase
from ef_slurm.daemon.act.conditions import Conditions, Timeouts
from ef_slurm.daemon.act.next_step import next_step
from ef_slurm.daemon.act.steps import Do, Done, Next, OrderRelaunch, OrderResize, OrderStop, Wait
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.model import Block
from tests.unit.daemon.make import FOUR_NODES, NOW, TWO_NODES, launch, progress, running

SIZES = Conditions(to_measure=(8, 4, 1))
ASKS = OrderResize(1, 1, ("n1", "n2"), 8, sizes=(8, 4, 1))
ORDER = Order(1, Action.RESIZE, NOW - 5.0, change=1, nodes="n1,n2", gpus=8, sizes="8,4,1")


def trains(order: Order | None = None, generation: int = 1, **more: Any) -> JobStatus:
    values = {"live": True, "nodes": "n1,n2", "generation": generation, **more}
    there = launch(generation=generation, nodes="n1,n2")
    return running(TWO_NODES, progress=progress(**values), launch=there, order=order)


def step(
    status: JobStatus, conditions: Conditions = SIZES, target: Block | None = TWO_NODES
) -> Next:
    return next_step(status, target, conditions, Timeouts(), NOW)


def test_it_is_told_once_it_trains_on_all() -> None:
    assert step(trains()) == Do(ASKS)
    assert step(trains(change=6, refused_change=8)) == Do(replace(ASKS, change=9))
    assert step(trains(first_iteration_at=None)) == Done()
    assert step(trains(live=False)) == Done()
    assert step(trains(), Conditions()) == Done()


@pytest.mark.parametrize("target", [TWO_NODES, FOUR_NODES, Block("gpu", ("n1",), 4)])
@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.EVALUATING])
def test_whatever_it_trains_on_meanwhile_it_is_waited_for(target: Block, phase: Phase) -> None:
    for world, nodes in ((8, "n1,n2"), (1, "n1")):
        status = trains(ORDER, world_size=world, nodes=nodes, change_iteration=3, phase=phase)
        waits = step(status, target=target)
        assert isinstance(waits, Wait)
        assert waits.until == NOW - 5.0 + 60.0 + 3 * 30.0


def test_but_not_where_its_gpus_are_wanted() -> None:
    assert step(trains(ORDER), target=None) == Do(OrderStop(1))


def test_one_that_takes_too_long_is_called_back() -> None:
    late = replace(ORDER, issued_at=NOW - 200.0)
    stuck = trains(late, world_size=1, nodes="n1", change_iteration=3)
    assert step(stuck) == Do(OrderResize(1, 1, ("n1", "n2"), 8))
    assert step(trains(late)) == Done()


def test_what_was_done_or_refused_is_not_told_again() -> None:
    assert step(trains(ORDER, change=1)) == Done()
    assert step(trains(ORDER, refused_change=1)) == Done()


def test_a_launch_that_ended_in_it_is_not_told_again() -> None:
    assert step(trains(ORDER, generation=2)) == Done()
    one = Conditions(active=1)
    # What it may have failed at is tried by a launch, which may fail without harm.
    assert step(trains(ORDER, generation=2), one) == Do(OrderRelaunch(2, 1, None))
    told = replace(ORDER, sizes="", gpus=1)
    assert step(trains(told, generation=2), one) == Do(OrderRelaunch(2, 1, None))
    assert step(trains(told, generation=2), Conditions(active=2)) == Do(
        OrderResize(2, 1, ("n1",), 2)
    )


def test_nor_is_a_live_launch_that_has_declined_a_size() -> None:
    relaunch = Order(1, Action.RELAUNCH, NOW, gpus=1)
    assert step(trains(relaunch, generation=2), Conditions(active=1)) == Done()


def test_a_launch_that_is_about_to_end_is_left_alone() -> None:
    status = trains(ORDER)
    ended = launch(LaunchState.RETRYING, nodes="n1,n2")
    status = replace(status, reports=replace(status.reports, launch=ended))
    assert step(status) == Done()
