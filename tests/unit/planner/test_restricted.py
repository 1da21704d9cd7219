"""Jobs that are kept to some nodes: promised on these alone, and told why when they are not."""

from __future__ import annotations

import math

import pytest

from ef_slurm.model import Bar, Cluster, Job, Outcome, Policy, ReasonCode, ThroughputCurve
from ef_slurm.planner.plan import plan

LINEAR = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0})
TWO_NODES = Cluster.uniform(nodes=2, gpus_per_node=4)
NOT_N2 = (Bar(frozenset({"n2"})),)


def job(name: str, iterations: float, deadline: float, bars: tuple[Bar, ...] = ()) -> Job:
    return Job(name, 0.0, iterations, (("gpu", LINEAR),), deadline=deadline, bars=bars)


def test_it_is_promised_and_placed_on_its_nodes_alone() -> None:
    answer = plan(0.0, [job("a", 400.0, 110.0, NOT_N2)], TWO_NODES, Policy())
    (decision,) = answer.decisions
    assert decision.block is not None
    assert (decision.block.nodes, decision.gpus) == (("n1",), 4)
    assert answer.verdicts[0].outcome is Outcome.PROMISED


def test_what_all_nodes_would_do_and_its_own_do_not() -> None:
    bars = NOT_N2
    answer = plan(0.0, [job("a", 600.0, 110.0, bars)], TWO_NODES, Policy())
    (verdict,) = answer.verdicts
    assert (verdict.outcome, verdict.reason.code) == (Outcome.REJECTED, ReasonCode.RESTRICTED)
    assert verdict.reason.until is None
    assert verdict.reason.is_for_good
    # The counter-offer is of its own nodes.
    assert verdict.earliest_deadline == pytest.approx(150.0, abs=5.0)
    hopeless = plan(0.0, [job("a", 900.0, 110.0, bars)], TWO_NODES, Policy())
    assert hopeless.verdicts[0].reason.code is ReasonCode.TOO_LARGE


def test_its_nodes_are_promised_to_others_and_the_rest_is_free() -> None:
    holder = job("a", 400.0, 101.0, NOT_N2)
    answer = plan(0.0, [holder, job("b", 100.0, 90.0, NOT_N2)], TWO_NODES, Policy())
    refused = answer.verdicts[1]
    assert (refused.outcome, refused.reason.code) == (Outcome.REJECTED, ReasonCode.RESTRICTED)
    assert refused.reason.until == refused.earliest_deadline
    assert refused.earliest_deadline is not None
    assert 100.0 < refused.earliest_deadline < math.inf
    assert not refused.reason.is_for_good
    free = plan(0.0, [holder, job("b", 100.0, 90.0)], TWO_NODES, Policy())
    assert free.verdicts[1].outcome is Outcome.PROMISED
