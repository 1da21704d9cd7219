"""Nodes that are powered down: capacity that starts late."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.model import (
    Cluster,
    Job,
    ModelError,
    Node,
    NodeGroup,
    Outcome,
    Overhead,
    Policy,
    ReasonCode,
    Running,
    Standing,
    ThroughputCurve,
)
from ef_slurm.planner.plan import plan

CURVE = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0})
WAKE = 600.0


def cluster(*asleep: str, nodes: int = 2, wake: float = WAKE) -> Cluster:
    members = tuple(
        Node(name, wake_seconds=wake if name in asleep else 0.0)
        for name in (f"n{number}" for number in range(1, nodes + 1))
    )
    return Cluster((NodeGroup("gpu", 4, members),))


def job(name: str, iterations: float, deadline: float | None, **other: object) -> Job:
    values: dict[str, object] = {"overhead": Overhead.constant(10.0), "max_gpus": 4}
    made = Job(name, 0.0, iterations, (("gpu", CURVE),), deadline=deadline)
    return replace(made, **{**values, **other})  # type: ignore[arg-type]


def test_a_node_that_is_up_comes_first() -> None:
    answer = plan(0.0, [job("a", 400.0, 2000.0)], cluster("n1"), Policy())
    block = answer.decision("a").block
    assert block is not None
    assert block.nodes == ("n2",)


def test_a_start_pays_for_the_wake() -> None:
    answer = plan(0.0, [job("a", 400.0, 2000.0)], cluster("n1", "n2"), Policy())
    decision = answer.decision("a")
    assert decision.block is not None  # at once: Slurm wakes a node for a job that is released
    assert decision.finish == pytest.approx(WAKE + 10.0 + 400.0 / decision.gpus)


def test_what_the_wake_makes_late_is_not_promised() -> None:
    (verdict,) = plan(0.0, [job("a", 400.0, 600.0)], cluster("n1", "n2"), Policy()).verdicts
    assert verdict.outcome is Outcome.REJECTED
    assert verdict.reason.code is ReasonCode.UNAVAILABLE
    assert verdict.earliest_deadline == pytest.approx(WAKE + 110.0, abs=60.0)
    (verdict,) = plan(0.0, [job("a", 400.0, 600.0)], cluster("n1"), Policy()).verdicts
    assert verdict.outcome is Outcome.PROMISED


def test_a_second_job_wakes_the_other_node() -> None:
    jobs = [job("a", 4000.0, 1100.0), job("b", 4000.0, 1700.0)]
    answer = plan(0.0, jobs, cluster("n2"), Policy())
    blocks = {one.job_id: one.block for one in answer.decisions}
    assert [v.outcome for v in answer.verdicts] == [Outcome.PROMISED] * 2
    assert blocks["a"] is not None
    assert blocks["b"] is not None
    assert (blocks["a"].nodes, blocks["b"].nodes) == (("n1",), ("n2",))
    assert answer.decision("b").finish == pytest.approx(WAKE + 10.0 + 1000.0)


def test_a_job_that_waits_for_its_node_stays_there() -> None:
    """Its node is still on its way up, another one is free by now."""
    first = plan(0.0, [job("a", 4000.0, 2000.0)], cluster("n1", "n2"), Policy()).decision("a")
    assert first.block is not None
    running = Running(first.block, 0.0, WAKE + 10.0)
    admitted = job(
        "a", 4000.0, 2000.0, standing=Standing.ADMITTED, running=running, plan=first.schedule
    )
    (other,) = {"n1", "n2"} - set(first.block.nodes)
    awake = cluster(*({"n1", "n2"} - {other}))
    again = plan(60.0, [admitted], awake, Policy()).decision("a")
    assert again.block == first.block
    assert again.finish == pytest.approx(first.finish)


def test_growth_onto_a_sleeping_node_has_to_pay() -> None:
    block = plan(0.0, [job("a", 400.0, 2000.0)], cluster("n2"), Policy()).decision("a").block
    assert block is not None
    running = Running(block, 0.0, 10.0)
    for iterations, gpus in ((2000.0, 4), (40_000.0, 8)):
        grown = job(
            "a", iterations, 90_000.0, max_gpus=8, standing=Standing.ADMITTED, running=running
        )
        assert plan(60.0, [grown], cluster("n2"), Policy()).decision("a").gpus == gpus


def test_wakes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ModelError, match="seconds to wake"):
        Node("n1", wake_seconds=-1.0)


@given(
    st.lists(st.tuples(st.floats(10.0, 5000.0), st.floats(20.0, 8000.0)), min_size=1, max_size=5),
    st.sets(st.sampled_from(["n1", "n2", "n3", "n4"])),
    st.floats(1.0, 2000.0),
)
def test_promises_on_sleeping_nodes_are_in_time(
    wanted: list[tuple[float, float]], asleep: set[str], wake: float
) -> None:
    """Every promise holds when each start takes as long as its nodes need to wake."""
    jobs = [job(f"j{n}", work, deadline, max_gpus=8) for n, (work, deadline) in enumerate(wanted)]
    answer = plan(0.0, jobs, cluster(*asleep, nodes=4, wake=wake), Policy(offers=False))
    deadlines = {one.id: one.deadline or 0.0 for one in jobs}
    for verdict in answer.verdicts:
        if verdict.outcome is not Outcome.PROMISED:
            continue
        decision = answer.decision(verdict.job_id)
        assert decision.finish is not None
        assert decision.finish <= deadlines[verdict.job_id] + 0.001
        if decision.block is not None and asleep & set(decision.block.nodes):
            assert decision.finish >= wake
