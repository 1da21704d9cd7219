"""What a live change waits for comes, or is given up: whatever the clock does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ef_slurm.contract import Action, LaunchState, Order, Phase
from ef_slurm.daemon.act.conditions import Conditions, Timeouts
from ef_slurm.daemon.act.live_steps import dismissal, live_change
from ef_slurm.daemon.act.next_step import next_step
from ef_slurm.daemon.act.steps import (
    Do,
    Done,
    GiveBack,
    GivenUp,
    Next,
    OrderRelaunch,
    OrderStop,
    Requeue,
    Wait,
)
from ef_slurm.daemon.observe.job_status import JobStatus, Member
from ef_slurm.model import Block, Companion, CompanionState
from ef_slurm.slurm.types import JobBaseState
from tests.unit.daemon.make import NOW, TWO_NODES, launch, progress, running, slurm_job

ONE, OTHER = Block("gpu", ("n1",), 4), Block("gpu", ("n2",), 4)
LATELY, LONG_AGO, TO_COME = NOW - 1.0, NOW - 3000.0, NOW + 3000.0


def growing(state: CompanionState, at: float) -> JobStatus:
    """A live job on one node, with a companion on another that is in this state since then."""
    companion = Companion(1, 1, 1, 1, state, OTHER, at, at, 18)
    runs = slurm_job(JobBaseState.RUNNING, on=OTHER, job_id=18)
    status = running(
        ONE,
        launch=launch(nodes="n1"),
        progress=progress(live=True, nodes="n1", world_size=4),
        order=Order(1, Action.PREPARE, at, change=1),
    )
    return replace(status, members=(Member(companion, runs),))


def following(status: JobStatus) -> Next | None:
    conditions = Conditions(part_free=True, live_open=True)
    return live_change(status, TWO_NODES, conditions, Timeouts(), NOW)


@pytest.mark.parametrize("state", [CompanionState.WANTED, CompanionState.RUNNING])
def test_a_companion_is_waited_for_and_given_up(state: CompanionState) -> None:
    assert isinstance(following(growing(state, LATELY)), Wait)
    assert isinstance(following(growing(state, LONG_AGO)), GivenUp)
    assert isinstance(following(growing(state, TO_COME)), GivenUp)


def test_one_whose_ranks_do_not_leave_is_cancelled() -> None:
    def step(at: float) -> Do | None:
        return dismissal(growing(CompanionState.LEAVING, at), ONE, Timeouts(), NOW)

    assert step(LATELY) is None
    assert isinstance(step(LONG_AGO), Do)
    assert isinstance(step(TO_COME), Do)


@pytest.mark.parametrize("live", [True, False])
def test_a_launch_that_hangs_since_a_companion_is_gone_is_requeued(live: bool) -> None:
    """Its node died without a word: the ranks that are left wait for it, and obey nobody."""

    def step(at: float, nodes: str = "n1,n2") -> Next:
        says = progress(live=True, hands_over=not live, nodes=nodes, change=1, world_size=8)
        order = Order(1, Action.RELAUNCH, at)
        status = running(ONE, launch=launch(nodes=nodes), progress=says, order=order)
        return next_step(status, ONE, Conditions(), Timeouts(), NOW)

    assert isinstance(step(LATELY), Wait)
    assert step(LONG_AGO) == Do(Requeue(), "its launch does not end without n2")
    assert step(LONG_AGO, "n1") == Done()


def test_nodes_that_a_launch_has_left_are_given_back() -> None:
    def step(since: float | None) -> Next | None:
        status = running(
            TWO_NODES,
            launch=launch(nodes="n1,n2"),
            progress=progress(live=True, nodes="n1", world_size=4, change=1),
            order=Order(1, Action.RESIZE, LONG_AGO, change=1, nodes="n1", gpus=4, leave=True),
        )
        return live_change(status, ONE, Conditions(changed_since=since), Timeouts(), NOW)

    assert isinstance(step(None), Wait)
    assert isinstance(step(LATELY), Wait)
    assert step(LONG_AGO) == Do(GiveBack(ONE, live=True))
    assert step(TO_COME) == Do(GiveBack(ONE, live=True))


def handing_over(phase: Phase, at: float, launch_state: LaunchState = LaunchState.RUNNING) -> Next:
    """What follows for a job on one node whose launch was ordered so long ago to hand over."""
    status = growing(CompanionState.READY, at)
    reports = replace(
        status.reports,
        launch=launch(launch_state, nodes="n1"),
        progress=progress(phase, live=True, hands_over=True, nodes="n1", world_size=4),
        order=Order(1, Action.RESIZE, at, change=1, nodes="n1,n2", gpus=8),
    )
    conditions = Conditions(part_free=True, live_open=True, was_live=True)
    return next_step(replace(status, reports=reports), TWO_NODES, conditions, Timeouts(), NOW)


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.STOPPING, Phase.STOPPED])
def test_a_launch_that_hands_over_is_left_alone_but_not_for_ever(phase: Phase) -> None:
    """By the daemon's own clock: what the job says of it may be anything."""
    assert isinstance(handing_over(phase, LATELY), Wait)
    for at in (LONG_AGO, TO_COME):
        assert not isinstance(handing_over(phase, at), Wait)


def begun(started: float) -> Next:
    """A larger launch has begun then; its report is that of the smaller one, which stopped."""
    status = growing(CompanionState.READY, LONG_AGO)
    reports = replace(
        status.reports,
        launch=launch(nodes="n1,n2", change=1, started_at=started),
        progress=progress(Phase.STOPPED, live=True, hands_over=True, nodes="n1", world_size=4),
        order=Order(1, Action.RESIZE, LONG_AGO, change=1, nodes="n1,n2", gpus=8),
    )
    conditions = Conditions(part_free=True, live_open=True, was_live=True)
    return next_step(replace(status, reports=reports), TWO_NODES, conditions, Timeouts(), NOW)


def test_a_larger_launch_that_has_begun_has_as_long_as_any_for_its_first_report() -> None:
    assert isinstance(begun(LATELY), Wait)
    for started in (LONG_AGO, TO_COME):
        assert not isinstance(begun(started), Wait)


def test_that_the_smaller_launch_stopped_acknowledges_nothing() -> None:
    status = growing(CompanionState.JOINED, LATELY)
    stopped = progress(Phase.STOPPED, live=True, hands_over=True, nodes="n1")
    for change, acknowledged in ((0, True), (1, False)):
        reports = replace(status.reports, launch=launch(change=change), progress=stopped)
        assert replace(status, reports=reports).acknowledged is acknowledged


def test_an_evaluation_is_waited_for_before_it_grows() -> None:
    assert isinstance(handing_over(Phase.EVALUATING, LATELY), Wait)
    status = growing(CompanionState.JOINED, LATELY)
    evaluates = progress(Phase.EVALUATING, live=True, hands_over=True, nodes="n1,n2", change=1)
    reports = replace(status.reports, progress=evaluates, order=None)
    conditions = Conditions(was_live=True)
    shrinks = next_step(replace(status, reports=reports), ONE, conditions, Timeouts(), NOW)
    assert shrinks == Do(OrderStop(1))


def test_no_gpus_are_kept_for_ever_for_a_launch_that_is_about_to_take_them() -> None:
    """It writes its times anew at every look; how long they wait is by the daemon's clock."""

    def step(phase: Phase, since: float) -> Next | None:
        status = growing(CompanionState.READY, LATELY)
        says = progress(phase, live=True, hands_over=True, nodes="n1", updated_at=NOW)
        order = Order(1, Action.RESIZE, LATELY, change=1, nodes="n1,n2", gpus=8)
        reports = replace(status.reports, progress=says, order=order)
        conditions = Conditions(was_live=True, leaving_since=since)
        return live_change(replace(status, reports=reports), TWO_NODES, conditions, Timeouts(), NOW)

    for phase in (Phase.EVALUATING, Phase.FAILED, Phase.STOPPED):
        assert isinstance(step(phase, LATELY), Wait)
        assert isinstance(step(phase, LONG_AGO), GivenUp)


def test_a_shrink_while_it_trains_has_its_time_and_no_more() -> None:
    def step(since: float | None) -> Next | None:
        says = progress(live=True, nodes="n1,n2", world_size=8, change=7)
        status = running(TWO_NODES, launch=launch(nodes="n1,n2"), progress=says)
        return live_change(status, ONE, Conditions(leaving_since=since), Timeouts(), NOW)

    assert isinstance(step(None), Do)
    assert isinstance(step(LATELY), Do)
    assert step(LONG_AGO) is None


def test_names_that_only_a_report_has_are_told_in_short() -> None:
    many = ",".join(f"node{number}" for number in range(5000))
    says = progress(live=True, nodes=many, change=1, world_size=8)
    status = running(ONE, launch=launch(nodes="n1"), progress=says)
    assert 0 < len(status.nodes_gone) < 300


def test_an_order_to_shrink_is_no_handover() -> None:
    """Whatever the job says: its nodes are wanted."""
    status = growing(CompanionState.JOINED, LATELY)
    says = progress(Phase.STOPPING, live=True, hands_over=True, nodes="n1,n2", change=1)
    order = Order(1, Action.RESIZE, LATELY, change=2, nodes="n1", gpus=4, leave=True)
    reports = replace(status.reports, progress=says, order=order)
    following = next_step(replace(status, reports=reports), ONE, Conditions(), Timeouts(), NOW)
    assert following == Do(OrderStop(1))


def test_one_that_waits_for_orders_has_not_handed_over() -> None:
    following = handing_over(Phase.STOPPED, LATELY, LaunchState.WAITING)
    assert not (isinstance(following, Wait) and "larger" in following.why)


@pytest.mark.parametrize("target", [ONE, OTHER, None])
def test_who_is_to_give_up_its_gpus_hands_nothing_over(target: Block | None) -> None:
    status = growing(CompanionState.JOINED, LATELY)
    reports = replace(
        status.reports,
        progress=progress(
            Phase.STOPPED, live=True, hands_over=True, nodes="n1,n2", change=1, world_size=8
        ),
        order=Order(1, Action.RESIZE, LATELY, change=2, nodes="n1,n2,n3,n4", gpus=16),
    )
    status = replace(status, reports=reports)
    assert next_step(status, target, Conditions(), Timeouts(), NOW) == Do(OrderStop(1))


def test_without_its_companions_it_is_relaunched_where_it_is() -> None:
    status = growing(CompanionState.JOINED, LATELY)
    running_there = progress(live=True, hands_over=True, nodes="n1,n2", change=1, world_size=8)
    ordered = Order(1, Action.STOP, LATELY)
    said = replace(status.reports, progress=running_there, order=None)
    assert next_step(replace(status, reports=said), ONE, Conditions(), Timeouts(), NOW) == Do(
        OrderStop(1)
    )
    stopped = replace(said, order=ordered, launch=launch(LaunchState.WAITING, nodes="n1,n2"))
    for members in (status.members, ()):  # its ranks have ended, its companion may take a moment
        left = replace(status, reports=stopped, members=members)
        following = next_step(left, ONE, Conditions(), Timeouts(), NOW)
        assert following == Do(OrderRelaunch(1, None, None))
