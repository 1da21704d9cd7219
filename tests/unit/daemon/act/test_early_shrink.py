"""A job that is to give up nodes goes on without them as soon as its next launch is ready."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from ef_slurm.contract import Action, LaunchState, Order, Phase
from ef_slurm.daemon.act.conditions import Conditions, Timeouts
from ef_slurm.daemon.act.early_shrink import spare_seconds
from ef_slurm.daemon.act.next_step import next_step
from ef_slurm.daemon.act.steps import (
    Do,
    Done,
    GiveBack,
    Next,
    OrderRelaunch,
    OrderStop,
    Requeue,
    Resize,
    Wait,
)
from ef_slurm.daemon.observe.job_status import JobStatus, Member
from ef_slurm.model import Block, Companion, CompanionState, JobKind, PromiseState, Running
from tests.unit.daemon.make import (
    ELSEWHERE,
    FOUR_NODES,
    NOW,
    TWO_NODES,
    launch,
    progress,
    row,
    running,
    stop,
)

TIMEOUTS = Timeouts(ready=25.0)
PLAIN = Conditions()
EARLY = Do(OrderRelaunch(1, 8))
COLD = Do(OrderStop(1))


def step(
    status: JobStatus,
    conditions: Conditions = PLAIN,
    *,
    target: Block = TWO_NODES,
    timeouts: Timeouts = TIMEOUTS,
) -> Next:
    return next_step(status, target, conditions, timeouts, NOW)


def relaunch(gpus: int | None = 8, at: float = NOW, generation: int = 1) -> Order:
    return Order(generation, Action.RELAUNCH, at, gpus=gpus)


def followed(state: LaunchState = LaunchState.RUNNING, nodes: str = "n1,n2") -> JobStatus:
    """The second launch is there, on the nodes that stay; the job still holds all."""
    there = launch(state, generation=2, nodes=nodes)
    return running(FOUR_NODES, launch=there, progress=None, order=relaunch())


class TestOrder:
    def test_the_next_launch_is_ordered_on_the_nodes_that_stay(self) -> None:
        assert step(running(FOUR_NODES)) == EARLY

    def test_it_learns_what_a_launch_is_to_know(self) -> None:
        wanted = Conditions(active=4, iterations=77)
        assert step(running(FOUR_NODES), wanted) == Do(OrderRelaunch(1, 4, 77))

    def test_an_evaluation_is_no_obstacle(self) -> None:
        evaluates = running(FOUR_NODES, progress=progress(Phase.EVALUATING))
        assert step(evaluates) == EARLY

    def test_it_is_waited_for_while_the_job_trains(self) -> None:
        waiting = step(running(FOUR_NODES, order=relaunch(at=NOW - 1.0)))
        assert isinstance(waiting, Wait)
        assert waiting.reports
        assert waiting.until == NOW - 1.0 + TIMEOUTS.ready

    def test_a_checkpoint_gets_more_time(self) -> None:
        order = relaunch(at=NOW - TIMEOUTS.ready)
        stopping = running(FOUR_NODES, order=order, progress=progress(Phase.STOPPING))
        assert isinstance(step(stopping, Conditions(leaving_since=NOW - 30.0)), Wait)


class TestGiveBack:
    def test_nodes_on_which_nothing_runs_any_more_are_given_back(self) -> None:
        assert step(followed()) == Do(GiveBack(TWO_NODES))

    def test_a_launch_on_a_part_of_what_stays_is_no_obstacle(self) -> None:
        assert step(followed(nodes="n1")) == Do(GiveBack(TWO_NODES))

    def test_then_it_is_where_it_is_to_be(self) -> None:
        there = launch(generation=2)
        trains = progress(generation=2, world_size=8)
        assert step(running(TWO_NODES, launch=there, progress=trains, order=relaunch())) == Done()

    def test_a_launch_that_failed_there_stops_first(self) -> None:
        """Its script launches the next one on all that the job holds."""
        again = running(
            FOUR_NODES,
            launch=launch(generation=3, nodes="n1,n2,n3,n4"),
            progress=progress(generation=3),
            order=relaunch(),
        )
        assert step(again) == Do(OrderStop(3))

    @pytest.mark.parametrize("state", [LaunchState.RETRYING, LaunchState.FAILED])
    def test_between_launches_nobody_knows_where_the_next_one_runs(
        self, state: LaunchState
    ) -> None:
        assert not isinstance(step(followed(state)), Do) or step(followed(state)) == Do(
            OrderStop(2)
        )

    def test_where_slurm_refuses_it_goes_by_the_queue(self) -> None:
        assert step(followed(), Conditions(in_place=False)) == Do(OrderStop(2))


class TestStopsFirst:
    @pytest.mark.parametrize(
        ("why", "status"),
        [
            ("does not train yet", running(FOUR_NODES, progress=progress(Phase.STARTING))),
            ("can change", running(FOUR_NODES, progress=progress(live=True, nodes="n1"))),
            ("ordered to stop", running(FOUR_NODES, order=stop(), progress=progress())),
            ("otherwise", running(FOUR_NODES, order=relaunch(4))),
            ("did not take over", running(FOUR_NODES, order=relaunch(at=NOW - TIMEOUTS.ready))),
        ],
    )
    def test_what_cannot_be_prepared(self, why: str, status: JobStatus) -> None:
        following = step(status)
        if "stop" in why:
            assert isinstance(following, Wait)
        else:
            assert following == COLD
            assert isinstance(following, Do)
            assert following.why.startswith("stopped first: ")
            assert why in following.why

    def test_a_script_that_finds_no_orders(self) -> None:
        deaf = launch(nodes="n1,n2,n3,n4", finds_orders=False)
        assert step(running(FOUR_NODES, launch=deaf)) == Do(Requeue())

    def test_a_part_is_the_first_nodes_of_the_allocation(self) -> None:
        odd = Block("gpu", ("n1", "n3"), 4)
        assert step(running(FOUR_NODES), target=odd) == COLD

    def test_nodes_of_companions(self) -> None:
        joined = Member(
            Companion(1, 1, 1, 1, CompanionState.JOINED, ELSEWHERE, NOW, NOW, slurm_job_id=8)
        )
        assert step(replace(running(FOUR_NODES), members=(joined,))) == COLD

    def test_a_promise_that_needs_the_gpus_at_once(self) -> None:
        hurry = Conditions(spare_seconds=TIMEOUTS.ready - 1.0)
        assert step(running(FOUR_NODES), hurry) == COLD
        # Decided once: what was ordered is not taken back for a second.
        assert isinstance(step(running(FOUR_NODES, order=relaunch()), hurry), Wait)

    def test_a_site_that_does_not_want_it(self) -> None:
        assert step(running(FOUR_NODES), timeouts=Timeouts(ready=0.0)) == COLD

    def test_a_job_that_is_launched_again_all_the_time(self) -> None:
        since = Conditions(leaving_since=NOW - TIMEOUTS.ready)
        assert step(running(FOUR_NODES), since) == COLD
        assert step(running(FOUR_NODES, order=relaunch()), since) == COLD

    def test_a_clock_that_was_set_back(self) -> None:
        ahead = running(FOUR_NODES, order=relaunch(at=NOW + 5000.0))
        waiting = step(ahead, Conditions(leaving_since=NOW - 1.0))
        assert isinstance(waiting, Wait)
        assert waiting.until == NOW - 1.0 + TIMEOUTS.ready

    def test_one_that_stands_already_is_resized(self) -> None:
        waiting = running(FOUR_NODES, launch=launch(LaunchState.WAITING), order=stop())
        assert step(waiting) == Do(Resize(TWO_NODES))


class TestSpareSeconds:
    JOB = row(running=Running(TWO_NODES, NOW, NOW))

    def spare(self, block: Block = ELSEWHERE, **other: object) -> float:
        values: dict[str, Any] = {
            "promise": PromiseState.SAFE,
            "finish": NOW + 4960.0,
            "running": Running(block, NOW, NOW + 30.0),
        }
        newcomer = row(**{"id": 2, **values, **other})
        return spare_seconds(self.JOB, FOUR_NODES.nodes, TWO_NODES, [self.JOB, newcomer])

    def test_who_gets_the_nodes_says_how_long_it_can_wait(self) -> None:
        assert self.spare() == 40.0  # its deadline is at NOW + 5000

    def test_a_promise_at_risk_cannot(self) -> None:
        assert self.spare(finish=NOW + 5010.0, promise=PromiseState.AT_RISK) == -10.0
        assert self.spare(finish=None) == -math.inf

    def test_others_do_not_count(self) -> None:
        assert self.spare(block=Block("gpu", ("n5",), 4)) == math.inf
        assert self.spare(running=None) == math.inf
        assert self.spare(promise=PromiseState.NONE) == math.inf
        assert self.spare(best_effort=True) == math.inf

    def test_the_grace_of_a_soft_deadline_counts(self) -> None:
        soft = replace(row().request, kind=JobKind.SOFT_DEADLINE, grace=60.0)
        assert self.spare(request=soft) == 100.0

    def test_one_that_keeps_its_nodes_gives_up_nothing(self) -> None:
        assert spare_seconds(self.JOB, TWO_NODES.nodes, TWO_NODES, [row(id=2)]) == math.inf
