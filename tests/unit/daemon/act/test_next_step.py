"""The next step, for every situation that a job can be in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.contract import Action, Launch, LaunchState, Order, Phase
from ef_slurm.daemon.act.conditions import Conditions, Timeouts
from ef_slurm.daemon.act.next_step import next_step
from ef_slurm.daemon.act.steps import (
    Do,
    Done,
    Failed,
    Hold,
    Next,
    OrderRelaunch,
    OrderStop,
    Release,
    Requeue,
    Resize,
    Update,
    Wait,
)
from ef_slurm.daemon.observe.job_status import JobReports, JobStatus
from ef_slurm.model import Block
from ef_slurm.slurm.pending import Holder
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.unit.daemon.make import (
    ELSEWHERE,
    FOUR_NODES,
    NOW,
    TWO_NODES,
    launch,
    pending,
    progress,
    running,
    slurm_job,
    stop,
)

TIMEOUTS = Timeouts()
PLAIN = Conditions()


def step(status: JobStatus, target: Block | None, conditions: Conditions = PLAIN) -> Next:
    return next_step(status, target, conditions, TIMEOUTS, NOW)


class TestStart:
    def test_a_job_that_is_not_held_is_held_before_it_is_changed(self) -> None:
        assert step(pending(hold=HoldKind.NONE), TWO_NODES) == Do(Hold())

    def test_gpus_that_are_not_free_are_waited_for(self) -> None:
        assert isinstance(step(pending(), TWO_NODES, Conditions(free=False)), Wait)

    def test_the_shape_is_told_even_if_slurm_seems_to_have_it(self) -> None:
        """The begin time that Slurm puts on a requeued job is lifted by the update only."""
        assert step(pending(TWO_NODES), TWO_NODES) == Do(Update(TWO_NODES))

    def test_what_was_read_back_is_released(self) -> None:
        assert step(pending(TWO_NODES), TWO_NODES, Conditions(updated=True)) == Do(
            Release(TWO_NODES)
        )

    def test_what_was_changed_meanwhile_is_told_again(self) -> None:
        assert step(pending(ELSEWHERE), TWO_NODES, Conditions(updated=True)) == Do(
            Update(TWO_NODES)
        )

    @pytest.mark.parametrize("since", [0.0, 0.3, 0.9, 1.0, 1.2])
    def test_a_job_that_ran_waits_for_a_second(self, since: float) -> None:
        """Whatever the second of slurmctld's clock is, in which its last run was killed."""
        killed_by = NOW - since
        status = replace(pending(TWO_NODES, restarts=1), seen_pending=NOW, killed_by=killed_by)
        later = step(status, TWO_NODES, Conditions(updated=True))
        if since >= 1.0:
            assert later == Do(Release(TWO_NODES))
        else:
            assert isinstance(later, Wait)
            assert later.until == killed_by + 1.0

    def test_the_nodes_first_end_a_run_that_slurm_has_forgotten(self) -> None:
        seen = NOW - 5.0
        status = replace(pending(TWO_NODES), reports=JobReports(launch()), seen_pending=seen)
        waiting = step(status, TWO_NODES, Conditions(updated=True))
        assert isinstance(waiting, Wait)
        assert waiting.until == seen + TIMEOUTS.forgotten
        later = replace(status, seen_pending=NOW - TIMEOUTS.forgotten)
        assert step(later, TWO_NODES, Conditions(updated=True)) == Do(Release(TWO_NODES))

    def test_a_run_is_waited_for_that_nobody_has_told_of(self) -> None:
        """Slurm has forgotten the release; its nodes may have begun, and not reported yet."""
        found = NOW - 5.0
        status = replace(pending(TWO_NODES), forgotten_at=found, seen_pending=NOW - 500.0)
        waiting = step(status, TWO_NODES, Conditions(updated=True))
        assert isinstance(waiting, Wait)
        assert waiting.until == found + TIMEOUTS.forgotten

    def test_a_released_job_is_waited_for_and_given_up(self) -> None:
        status = pending(TWO_NODES, hold=HoldKind.NONE, reason="Resources")
        assert isinstance(step(status, TWO_NODES, Conditions(released=NOW - 10)), Wait)
        failed = step(status, TWO_NODES, Conditions(released=NOW - TIMEOUTS.start))
        assert isinstance(failed, Failed)
        assert "Resources" in failed.why

    def test_a_shape_that_slurm_holds_by_itself_is_given_up(self) -> None:
        status = pending(TWO_NODES, hold=HoldKind.SLURM, reason="BadConstraints")
        conditions = Conditions(updated=True, released=NOW, holder=Holder.SLURM)
        failed = step(status, TWO_NODES, conditions)
        assert failed == Failed("Slurm does not start it on n1,n2: BadConstraints")
        # Another shape may do.
        assert step(status, ELSEWHERE, conditions) == Do(Update(ELSEWHERE))

    @pytest.mark.parametrize("who", [Holder.OWNER, Holder.OPERATOR])
    @pytest.mark.parametrize("target", [TWO_NODES, None])
    def test_somebody_elses_hold_is_not_touched(self, who: Holder, target: Block | None) -> None:
        status = pending(TWO_NODES, hold=HoldKind.USER)
        assert isinstance(step(status, target, Conditions(updated=True, holder=who)), Wait)

    def test_a_part_to_begin_on_is_ordered_before_it_starts(self) -> None:
        ready = Conditions(updated=True, active=2)
        status = pending(TWO_NODES)
        assert step(status, TWO_NODES, ready) == Do(OrderRelaunch(0, 2))
        ran = JobReports(launch(generation=3, restart_count=9), order=relaunch(2, 2))
        assert step(replace(status, reports=ran), TWO_NODES, ready) == Do(OrderRelaunch(3, 2))
        told = replace(status, reports=JobReports(order=relaunch(2, 0)))
        assert step(told, TWO_NODES, ready) == Do(Release(TWO_NODES))
        # What was ordered of a run that never came is no order of this one.
        assert step(told, TWO_NODES, Conditions(updated=True)) == Do(OrderRelaunch(0))


class TestVacate:
    def test_it_is_asked_to_stop_first(self) -> None:
        assert step(running(TWO_NODES), None) == Do(OrderStop(1))
        assert step(running(TWO_NODES), ELSEWHERE) == Do(OrderStop(1))

    def test_the_acknowledgement_is_waited_for_but_not_for_ever(self) -> None:
        assert isinstance(step(running(TWO_NODES, order=stop()), None), Wait)
        late = stop(at=NOW - TIMEOUTS.acknowledge)
        assert step(running(TWO_NODES, order=late), None) == Do(Requeue())

    def test_a_checkpoint_gets_more_time(self) -> None:
        saving = progress(Phase.STOPPING)
        order = stop(at=NOW - TIMEOUTS.acknowledge)
        assert isinstance(step(running(TWO_NODES, order=order, progress=saving), None), Wait)
        order = stop(at=NOW - TIMEOUTS.save)
        assert step(running(TWO_NODES, order=order, progress=saving), None) == Do(Requeue())

    def test_a_script_that_waits_is_requeued(self) -> None:
        waiting = running(TWO_NODES, launch=launch(LaunchState.WAITING), order=stop())
        assert step(waiting, None) == Do(Requeue())

    def test_an_order_of_an_older_launch_does_not_count(self) -> None:
        status = running(
            TWO_NODES, launch=launch(generation=2), progress=progress(generation=2), order=stop(1)
        )
        assert step(status, None) == Do(OrderStop(2))

    def test_a_command_that_never_reports_is_requeued(self) -> None:
        old = launch(started_at=NOW - TIMEOUTS.check_in)
        assert step(running(TWO_NODES, launch=old, progress=None), None) == Do(Requeue())

    def test_a_job_that_finishes_is_left_alone(self) -> None:
        done = running(TWO_NODES, launch=launch(LaunchState.FINISHED))
        assert isinstance(step(done, None), Wait)

    def test_it_ends_held_by_an_operator(self) -> None:
        assert step(pending(hold=HoldKind.USER), None) == Do(Hold())
        assert step(pending(hold=HoldKind.ADMIN), None) == Done()
        own = Conditions(hold=HoldKind.USER)
        assert step(pending(hold=HoldKind.USER), None, own) == Done()


class TestShrink:
    def test_whole_nodes_are_given_up_in_place(self) -> None:
        assert step(running(FOUR_NODES), TWO_NODES) == Do(OrderStop(1))
        waiting = running(FOUR_NODES, launch=launch(LaunchState.WAITING), order=stop())
        assert step(waiting, TWO_NODES) == Do(Resize(TWO_NODES))

    def test_the_batch_host_must_stay(self) -> None:
        waiting = running(FOUR_NODES, launch=launch(LaunchState.WAITING), order=stop())
        assert step(waiting, ELSEWHERE) == Do(Requeue())

    def test_where_it_was_refused_it_is_requeued(self) -> None:
        waiting = running(FOUR_NODES, launch=launch(LaunchState.WAITING), order=stop())
        assert step(waiting, TWO_NODES, Conditions(in_place=False)) == Do(Requeue())

    def test_after_the_resize_it_is_relaunched(self) -> None:
        waiting = running(TWO_NODES, launch=launch(LaunchState.WAITING), order=stop())
        assert step(waiting, TWO_NODES) == Do(OrderRelaunch(1))
        told = running(
            TWO_NODES,
            launch=launch(LaunchState.WAITING),
            order=Order(1, Action.RELAUNCH, NOW),
        )
        assert isinstance(step(told, TWO_NODES), Wait)

    def test_a_job_that_was_told_to_stop_in_vain_goes_on_where_it_is(self) -> None:
        stopping = running(TWO_NODES, order=stop(), progress=progress(Phase.STOPPING))
        assert isinstance(step(stopping, TWO_NODES), Wait)


def part_of_eight(gpus: int, generation: int = 1) -> Launch:
    """The report of a launch on a part of two nodes with 4 GPUs each."""
    return launch(generation=generation, nodes="n1", gpus_per_node=gpus)


def relaunch(gpus: int | None, generation: int = 1, at: float = NOW) -> Order:
    return Order(generation, Action.RELAUNCH, at, gpus=gpus)


class TestKeepPart:
    @pytest.mark.parametrize("active", [1, 2, 4])
    def test_another_part_is_ordered_of_the_launch_that_runs(self, active: int) -> None:
        wanted = Conditions(active=active)
        assert step(running(TWO_NODES), TWO_NODES, wanted) == Do(OrderRelaunch(1, active))
        there = running(TWO_NODES, launch=part_of_eight(active))
        assert step(there, TWO_NODES, wanted) == Done()
        assert step(there, TWO_NODES) == Do(OrderRelaunch(1))

    def test_it_is_waited_for_and_never_forced(self) -> None:
        wanted = Conditions(active=1)
        told = running(TWO_NODES, order=relaunch(1))
        assert isinstance(step(told, TWO_NODES, wanted), Wait)
        late = relaunch(1, at=NOW - TIMEOUTS.acknowledge)
        assert step(running(TWO_NODES, order=late), TWO_NODES, wanted) == Done()
        saving = running(TWO_NODES, order=late, progress=progress(Phase.STOPPING))
        assert isinstance(step(saving, TWO_NODES, wanted), Wait)

    def test_the_newest_wish_counts(self) -> None:
        told = running(TWO_NODES, order=relaunch(1))
        assert step(told, TWO_NODES, Conditions(active=2)) == Do(OrderRelaunch(1, 2))
        assert step(told, TWO_NODES) == Do(OrderRelaunch(1))

    def test_a_launch_that_is_to_leave_is_told_so(self) -> None:
        """Or its script would launch it again instead of waiting."""
        assert step(running(TWO_NODES, order=relaunch(1)), None) == Do(OrderStop(1))

    def test_a_part_on_which_it_failed_is_not_ordered_again(self) -> None:
        again = running(
            TWO_NODES,
            launch=launch(generation=3),
            progress=progress(generation=3),
            order=relaunch(1),
        )
        assert step(again, TWO_NODES, Conditions(active=1)) == Done()
        assert step(again, TWO_NODES, Conditions(active=2)) == Do(OrderRelaunch(3, 2))

    def test_what_an_earlier_run_declined_is_ordered_of_this_one(self) -> None:
        before = relaunch(1, at=NOW - 200.0)
        again = running(TWO_NODES, launch=launch(generation=3), order=before)
        assert step(again, TWO_NODES, Conditions(active=1)) == Do(OrderRelaunch(3, 1))

    @pytest.mark.parametrize(
        "state", [LaunchState.RETRYING, LaunchState.FINISHED, LaunchState.INTERRUPTED]
    )
    def test_a_launch_that_ends_by_itself_is_let_end(self, state: LaunchState) -> None:
        ending = running(TWO_NODES, launch=launch(state))
        assert step(ending, TWO_NODES, Conditions(active=1)) == Done()

    def test_a_job_that_waits_goes_on_with_its_part(self) -> None:
        waiting = running(TWO_NODES, launch=launch(LaunchState.WAITING), order=stop())
        assert step(waiting, TWO_NODES, Conditions(active=4)) == Do(OrderRelaunch(1, 4))

    def test_a_launch_that_finds_no_orders_is_left_alone(self) -> None:
        deaf = running(TWO_NODES, launch=launch(finds_orders=False))
        assert step(deaf, TWO_NODES, Conditions(active=1)) == Done()

    def test_of_a_job_without_gpus_there_is_no_part(self) -> None:
        on_cpus = running(TWO_NODES, launch=launch(gpus_per_node=0))
        assert step(on_cpus, TWO_NODES, Conditions(active=1)) == Done()


blocks = st.sampled_from([TWO_NODES, FOUR_NODES, ELSEWHERE, Block("gpu", ("n1",), 2)])
situations = st.builds(
    Conditions,
    free=st.booleans(),
    updated=st.booleans(),
    released=st.none() | st.floats(NOW - 100, NOW),
    in_place=st.booleans(),
    active=st.none() | st.sampled_from([1, 2, 4]),
    hold=st.sampled_from([HoldKind.ADMIN, HoldKind.USER]),
    holder=st.sampled_from(Holder),
)
launches = st.none() | st.builds(
    launch, st.sampled_from(LaunchState), st.integers(1, 3), restart_count=st.integers(0, 1)
)
reports = st.none() | st.builds(progress, st.sampled_from(Phase), st.integers(1, 3))
orders = st.none() | st.builds(
    Order,
    st.integers(1, 3),
    st.sampled_from(Action),
    st.floats(NOW - 400, NOW),
    gpus=st.none() | st.sampled_from([1, 2, 4]),
)


@st.composite
def any_facts(draw: st.DrawFn) -> JobStatus:
    state = draw(st.sampled_from(JobBaseState))
    on = draw(blocks) if state is JobBaseState.RUNNING else None
    job = slurm_job(
        state,
        on=on,
        asks=draw(st.none() | blocks),
        hold=draw(st.sampled_from(HoldKind)) if state is JobBaseState.PENDING else HoldKind.NONE,
        flags=frozenset(draw(st.sets(st.sampled_from(["COMPLETING", "REQUEUED"])))),
        restarts=draw(st.integers(0, 1)),
    )
    status = running(TWO_NODES, launch=draw(launches), progress=draw(reports), order=draw(orders))
    return JobStatus(job, status.reports, draw(st.none() | st.floats(NOW - 100, NOW)))


@given(any_facts(), st.none() | blocks, situations)
def test_no_step_is_ever_unsafe(
    status: JobStatus, target: Block | None, conditions: Conditions
) -> None:
    following = next_step(status, target, conditions, TIMEOUTS, NOW)
    if not isinstance(following, Do):
        return
    job = status.slurm
    match following.step:
        case Release(block):
            assert block == target
            assert conditions.free
            assert conditions.updated
            assert status.requests(block)
        case Update(block):
            assert block == target
            assert status.held
            assert conditions.free
        case Requeue() | OrderStop():
            assert target is None or not status.holds(target)
            assert not job.is_pending
        case Resize(block):
            assert status.waiting
            assert job.batch_host in block.nodes
            assert set(block.nodes) < set(job.nodes)
        case OrderRelaunch(_, gpus):
            assert target is not None
            assert status.holds(target) or status.requests(target)
            assert gpus == conditions.active
        case Hold():
            assert job.is_pending
    assert not job.is_final


@pytest.mark.parametrize("state", [s for s in JobBaseState if s.value in ("COMPLETED", "FAILED")])
def test_what_has_ended_is_left_alone(state: JobBaseState) -> None:
    assert step(JobStatus(slurm_job(state)), TWO_NODES) == Done()
