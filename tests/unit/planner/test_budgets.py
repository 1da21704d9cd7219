"""What jobs may use together: limits of Slurm's, and licences."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.sentences import verdict_sentence
from ef_slurm.model import (
    Budget,
    Charge,
    Cluster,
    IfInfeasible,
    Job,
    ModelError,
    Outcome,
    Plan,
    Policy,
    ReasonCode,
    ThroughputCurve,
)
from ef_slurm.planner.plan import plan
from tests.unit.planner.world import check_plan

LINEAR = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0})
NAME = "MaxTRESPerUser=gres/gpu=4 of QOS normal"


def job(name: str, iterations: float, deadline: float, *charges: Charge, **fields: object) -> Job:
    curves = (("gpu", LINEAR),)
    return Job(name, 0.0, iterations, curves, deadline=deadline, charges=charges, **fields)  # type: ignore[arg-type]


def judged(jobs: list[Job], *budgets: Budget) -> Plan:
    cluster = Cluster(Cluster.uniform(nodes=4, gpus_per_node=4).groups, budgets)
    answer = plan(0.0, jobs, cluster, Policy(offer_resolution=1.0))
    check_plan(answer, {one.id: one for one in jobs}, cluster, Policy())
    return answer


GPU = Charge(NAME, per_gpu=1.0)


def test_jobs_with_a_budget_run_one_after_another() -> None:
    """Each needs the four GPUs that they may have together; there are sixteen."""
    jobs = [job("a", 200.0, 50.0, GPU), job("b", 200.0, 100.0, GPU), job("c", 200.0, 50.0)]
    answer = judged(jobs, Budget(NAME, 4.0))
    assert [one.outcome for one in answer.verdicts] == [Outcome.PROMISED] * 3
    assert answer.decision("b").schedule[0].start == pytest.approx(50.0)
    assert answer.decision("c").gpus == 8  # it has no part in it


def test_what_others_leave_too_little_of_is_named() -> None:
    jobs = [job("a", 200.0, 50.0, GPU), job("b", 200.0, 50.0, GPU)]
    verdict = judged(jobs, Budget(NAME, 4.0)).verdicts[1]
    assert (verdict.outcome, verdict.reason.code) == (Outcome.REJECTED, ReasonCode.LIMITED)
    assert verdict.earliest_deadline == pytest.approx(100.0, abs=1.0)
    assert verdict_sentence(verdict, str).startswith(
        f"not promised: {NAME} leaves it too little beside other jobs; the earliest deadline"
    )


def test_what_it_never_allows_is_named() -> None:
    verdict = judged([job("a", 400.0, 60.0, GPU)], Budget(NAME, 4.0)).verdicts[0]
    assert verdict_sentence(verdict, str).startswith(
        f"not promised: {NAME} allows it 4 GPUs at most"
    )


def test_what_jobs_outside_of_the_plan_use_is_gone_until_they_end() -> None:
    answer = judged([job("a", 40.0, 100.0, GPU)], Budget(NAME, 4.0, taken=((60.0, 4.0),)))
    assert answer.decision("a").schedule[0].start == pytest.approx(60.0)
    for_ever = judged([job("a", 40.0, 100.0, GPU)], Budget(NAME, 4.0, taken=((math.inf, 4.0),)))
    assert for_ever.verdicts[0].outcome is Outcome.REJECTED


def test_licences_are_per_job_whatever_its_size() -> None:
    licence = Charge("licence", per_job=1.0)
    jobs = [job(name, 100.0, 200.0, licence) for name in "abc"]
    answer = judged(jobs, Budget("licence", 2.0))
    assert [one.outcome for one in answer.verdicts] == [Outcome.PROMISED] * 3
    assert sum(bool(one.gpus) for one in answer.decisions) == 2
    none = judged([job("a", 1.0, 9.0, Charge("licence", per_job=3.0))], Budget("licence", 2.0))
    assert none.verdicts[0].reason.limit == "licence"


def test_nodes_are_counted_as_nodes() -> None:
    """Two jobs inside nodes are two nodes, wherever they are."""
    node = Charge("node", per_node=1.0)
    jobs = [job(name, 100.0, 100.0, node) for name in "abc"]
    answer = judged(jobs, Budget("node", 2.0))
    assert sum(bool(one.gpus) for one in answer.decisions) == 2


def test_another_type_of_gpu_does_not_count() -> None:
    other = Charge(NAME, per_gpu=1.0, gpu_type="other")
    assert judged([job("a", 400.0, 60.0, other)], Budget(NAME, 1.0)).decision("a").gpus == 8


def test_one_that_waits_is_let_in_when_the_budget_is_free() -> None:
    jobs = [
        job("a", 200.0, 50.0, GPU),
        job("b", 200.0, 60.0, GPU, if_infeasible=IfInfeasible.WAIT),
    ]
    assert judged(jobs, Budget(NAME, 4.0)).verdicts[1].outcome is Outcome.WAITLISTED


def test_a_charge_on_no_budget_costs_nothing() -> None:
    assert judged([job("a", 400.0, 60.0, GPU)]).decision("a").gpus == 8


def test_nonsense_is_refused() -> None:
    for most in (-1.0, math.nan):
        with pytest.raises(ModelError, match="budget x"):
            Budget("x", most)
    with pytest.raises(ModelError, match="one for a budget"):
        job("a", 1.0, 9.0, GPU, GPU)


charges = st.builds(
    Charge,
    st.sampled_from(["x", "y"]),
    per_gpu=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    per_node=st.sampled_from([0.0, 1.0]),
    per_job=st.sampled_from([0.0, 1.0]),
)
some_charges = st.lists(charges, max_size=2, unique_by=lambda one: one.budget)
budgets = st.builds(
    Budget,
    st.just("x"),
    st.floats(0.0, 16.0),
    st.lists(st.tuples(st.floats(1.0, 300.0), st.floats(0.0, 8.0)), max_size=3).map(tuple),
)


@given(
    st.lists(
        st.tuples(st.integers(1, 800), st.integers(10, 600), some_charges),
        min_size=1,
        max_size=8,
    ),
    budgets,
)
def test_no_plan_passes_a_budget(
    wanted: list[tuple[int, int, list[Charge]]], budget: Budget
) -> None:
    jobs = [
        job(str(place), float(iterations), float(deadline), *some)
        for place, (iterations, deadline, some) in enumerate(wanted)
    ]
    judged(jobs, budget)
