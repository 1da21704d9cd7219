"""Property 8: when capacity drops, as many promises as possible, in the stated order, by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ef_slurm.model import (
    Cluster,
    Decision,
    Job,
    Node,
    NodeGroup,
    Outage,
    Plan,
    PromiseState,
    RiskOrder,
    is_in_time,
)
from ef_slurm.planner.plan import plan
from tests.unit.planner.strategies import lives
from tests.unit.planner.world import World, last_moment


def without(cluster: Cluster, lost: set[str], now: float) -> Cluster:
    """The cluster after nodes have failed."""
    groups = []
    for group in cluster.groups:
        nodes = tuple(
            Node(node.name, (*node.outages, Outage(now))) if node.name in lost else node
            for node in group.nodes
        )
        groups.append(NodeGroup(group.gpu_type, group.gpus_per_node, nodes))
    return Cluster(tuple(groups))


@st.composite
def failures(draw: st.DrawFn) -> World:
    """A world in which nodes have just failed."""
    world = draw(lives(max_jobs=7, horizon=0.0))
    names = [node.name for node in world.cluster.groups[0].nodes]
    lost = draw(st.sets(st.sampled_from(names), min_size=1))
    world.cluster = without(world.cluster, lost, world.now)
    world.foreseen = False
    return world


def at_risk(answer: Plan) -> list[Decision]:
    return [d for d in answer.decisions if d.promise is PromiseState.AT_RISK]


@given(world=failures())
def test_every_broken_promise_is_named_with_its_new_finish(world: World) -> None:
    before = set(world.promised)
    answer = world.replan()
    event(f"{len(at_risk(answer))} at risk of {len(before)}")
    for decision in answer.decisions:
        job = world.jobs[decision.job_id]
        if decision.job_id not in before:
            continue
        if decision.promise is PromiseState.AT_RISK:
            assert decision.finish is None or decision.finish > last_moment(job)
        else:
            assert decision.finish is not None
            assert is_in_time(decision.finish, last_moment(job))


@given(world=failures())
def test_a_promise_at_risk_has_a_finish_while_any_gpu_is_left(world: World) -> None:
    answer = world.replan()
    for decision in at_risk(answer):
        if decision.finish is None:
            alone = World(world.cluster, world.policy, world.now)
            alone.foreseen = False
            alone.jobs[decision.job_id] = replace(
                world.jobs[decision.job_id], running=None, plan=()
            )
            assert alone.replan().decision(decision.job_id).finish is None


@given(world=failures())
def test_what_is_safe_after_the_failure_stays_safe(world: World) -> None:
    """The new capacity is what is foreseen from now on; promises named at risk are written off."""
    answer = world.replan()
    world.promised -= {decision.job_id for decision in at_risk(answer)}
    world.foreseen = True
    for _ in range(6):
        world.advance(min(world.next_change, world.now + 300.0))


def first_kept(jobs: list[Job], order: RiskOrder) -> list[Job]:
    """The jobs, those whose promises are to be kept first at the front."""
    if order is RiskOrder.EARLIEST_DEADLINE:
        return sorted(jobs, key=lambda job: (last_moment(job), job.submitted, job.id))
    return sorted(jobs, key=lambda job: (job.submitted, last_moment(job), job.id))


@pytest.mark.parametrize("order", [RiskOrder.EARLIEST_DEADLINE, RiskOrder.EARLIEST_SUBMITTED])
@given(world=failures())
def test_nobody_is_given_up_for_one_that_comes_later(world: World, order: RiskOrder) -> None:
    """The first promise that is given up cannot be kept beside those that come before it."""
    world.policy = replace(world.policy, risk_order=order)
    answer = world.look()
    lost = {decision.job_id for decision in at_risk(answer)} & world.promised
    ranked = first_kept([world.jobs[job_id] for job_id in world.promised], order)
    for position, job in enumerate(ranked):
        if job.id in lost:
            few = plan(world.now, tuple(ranked[: position + 1]), world.cluster, world.policy)
            assert at_risk(few), f"{job.id} could be kept beside {ranked[:position]}"
            return


@given(world=failures())
def test_most_promises_keeps_no_fewer_than_the_other_orders(world: World) -> None:
    kept = {}
    for order in RiskOrder:
        world.policy = replace(world.policy, risk_order=order)
        lost = {decision.job_id for decision in at_risk(world.look())} & world.promised
        kept[order] = len(world.promised) - len(lost)
    assert kept[RiskOrder.MOST_PROMISES] == max(kept.values())
