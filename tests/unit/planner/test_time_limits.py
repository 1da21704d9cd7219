"""Time limits: no promise that Slurm would end before it is kept."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.sentences import verdict_sentence
from ef_slurm.model import (
    Block,
    Cluster,
    IfInfeasible,
    Job,
    JobKind,
    ModelError,
    Outcome,
    Overhead,
    Plan,
    Policy,
    ReasonCode,
    Running,
    Standing,
    ThroughputCurve,
)
from ef_slurm.planner.plan import plan

LINEAR = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0})
CLUSTER = Cluster.uniform(nodes=1, gpus_per_node=4)


def job(name: str, iterations: float, deadline: float = 1000.0, **fields: object) -> Job:
    curves = (("gpu", LINEAR),)
    return Job(name, 0.0, iterations, curves, deadline=deadline, **fields)  # type: ignore[arg-type]


def judged(*jobs: Job, now: float = 0.0) -> Plan:
    return plan(now, jobs, CLUSTER, Policy())


def test_a_share_that_the_limit_would_end_is_not_enough() -> None:
    """One GPU would be in time, and would not be done when the limit ends it."""
    assert judged(job("a", 100.0)).verdicts[0].share == 1
    assert judged(job("a", 100.0, longest=60.0)).verdicts[0].share == 2
    assert judged(job("a", 100.0, longest=25.0)).verdicts[0].share == 4


def test_what_no_size_finishes_within_its_limit_is_refused_in_the_limits_words() -> None:
    answer = judged(job("a", 100.0, longest=24.0, longest_by="--time=0:24"))
    verdict = answer.verdicts[0]
    assert (verdict.outcome, verdict.reason.code) == (Outcome.REJECTED, ReasonCode.TIME_LIMIT)
    assert verdict.earliest_deadline is None  # no deadline helps
    assert verdict_sentence(verdict, str) == (
        "not promised: it would be ended before it is done: --time=0:24"
    )


def test_one_that_runs_as_best_effort_instead_is_told_that_it_is_ended() -> None:
    one = job(
        "a", 100.0, longest=24.0, longest_by="--time=0:24", if_infeasible=IfInfeasible.BEST_EFFORT
    )
    verdict = judged(one).verdicts[0]
    assert verdict_sentence(verdict, str) == (
        "runs as best effort (it would be ended before it is done: --time=0:24)"
    )


def test_one_that_runs_already_is_refused_by_the_limit_that_its_deadline_is() -> None:
    """It was measured first, and has little left of its limit."""
    running = Running(Block("gpu", ("n1",), 4), 0.0, 0.0)
    one = job("a", 100.0, 20.0, running=running, longest_by="--time=0:20")
    reason = judged(one).verdicts[0].reason
    assert (reason.code, reason.limit) == (ReasonCode.TIME_LIMIT, "--time=0:20")


def test_a_start_is_paid_for_within_the_limit() -> None:
    start = Overhead(start=10.0)
    assert judged(job("a", 100.0, longest=35.0, overhead=start)).verdicts[0].share == 4
    refused = judged(job("a", 100.0, longest=34.9, overhead=start)).verdicts[0]
    assert refused.reason.code is ReasonCode.TIME_LIMIT


def test_the_limit_counts_from_the_start_not_from_now() -> None:
    """The cluster is taken until 500: it starts then, and has its whole limit."""
    holder = job("a", 2000.0, 500.0)
    late = job("b", 100.0, 1000.0, longest=25.0)
    verdicts = {one.job_id: one for one in judged(holder, late).verdicts}
    assert verdicts["b"].outcome is Outcome.PROMISED
    assert verdicts["b"].finish == pytest.approx(525.0)


def test_it_does_not_begin_on_left_over_gpus_what_its_limit_would_end_later() -> None:
    """A plan in hand for later is not begun now on one GPU, with a pause in between."""
    holder = job("a", 1800.0, 500.0)
    late = job("b", 100.0, 1000.0, longest=30.0)
    answer = judged(holder, late)
    schedule = answer.decision("b").schedule
    assert schedule[-1].end - schedule[0].start <= 30.0 + 1e-6


def test_a_best_effort_job_has_no_promise_to_keep() -> None:
    one = job("a", 100.0, longest=5.0)
    assert judged(replace(one, kind=JobKind.BEST_EFFORT, deadline=None)).decision("a").gpus == 4


def test_the_limit_of_a_job_at_risk_does_not_keep_it_from_running() -> None:
    """Slower than it was taken for, it gets as far as the limit lets it."""
    slow = job("a", 1000.0, longest=30.0, standing=Standing.ADMITTED)
    assert judged(slow).decision("a").gpus


def test_nonsense_is_refused() -> None:
    for seconds in (0.0, -1.0, math.nan):
        with pytest.raises(ModelError, match="time limit"):
            job("a", 1.0, longest=seconds)


@given(
    st.lists(
        st.tuples(st.integers(1, 400), st.integers(20, 900), st.integers(5, 300)),
        min_size=1,
        max_size=8,
    )
)
def test_no_promised_plan_is_longer_than_its_limit(
    wanted: list[tuple[int, int, int]],
) -> None:
    jobs = [
        job(str(place), float(iterations), float(deadline), longest=float(longest))
        for place, (iterations, deadline, longest) in enumerate(wanted)
    ]
    answer = judged(*jobs)
    promised = {one.job_id for one in answer.verdicts if one.outcome is Outcome.PROMISED}
    for decision in answer.decisions:
        if decision.job_id in promised:
            longest = jobs[int(decision.job_id)].longest
            span = decision.schedule[-1].end - decision.schedule[0].start
            assert span <= longest + 1e-3
