"""GPU-hours that may be promised to an owner or an account."""

from __future__ import annotations

import pytest

from ef_slurm.formats.sentences import verdict_sentence
from ef_slurm.model import (
    Cluster,
    IfInfeasible,
    Job,
    JobKind,
    Outcome,
    Plan,
    Policy,
    PromiseLimit,
    ReasonCode,
    Reservation,
    Standing,
    ThroughputCurve,
)
from ef_slurm.planner.plan import plan

CLUSTER = Cluster.uniform(nodes=4, gpus_per_node=4)
CURVE = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0})
HOUR = 3600.0


def job(name: str, hours: float, *, owner: str = "ann", **other: object) -> Job:
    """A job of so many GPU-hours; its deadline is far."""
    values: dict[str, object] = {"deadline": 1000 * HOUR, "account": "physics", **other}
    curves = (("gpu", CURVE),)
    return Job(name, 0.0, hours * HOUR, curves, owner=owner, **values)  # type: ignore[arg-type]


def outcomes(answer: Plan) -> dict[str, Outcome]:
    return {verdict.job_id: verdict.outcome for verdict in answer.verdicts}


def judged(jobs: list[Job], *limits: PromiseLimit) -> Plan:
    return plan(0.0, jobs, CLUSTER, Policy(promise_limits=limits))


def test_what_goes_beyond_is_not_promised_and_told_with_numbers() -> None:
    jobs = [job("1", 6.0), job("2", 5.0), job("3", 3.0), job("4", 5.0, owner="bob")]
    answer = judged(jobs, PromiseLimit(10.0, owner="ann"))
    assert outcomes(answer) == {
        "1": Outcome.PROMISED,
        "2": Outcome.REJECTED,
        "3": Outcome.PROMISED,
        "4": Outcome.PROMISED,
    }
    refused = next(verdict for verdict in answer.verdicts if verdict.job_id == "2")
    assert refused.reason.code is ReasonCode.LIMITED
    assert refused.earliest_deadline is None
    assert verdict_sentence(refused, str) == (
        "not promised: the promises to its owner or account would take 14.0 GPU-hours with it, "
        "and the limit is 10.0"
    )


def test_owners_of_one_account_count_together() -> None:
    jobs = [job("1", 6.0), job("2", 5.0, owner="bob"), job("3", 5.0, account="vision")]
    answer = judged(jobs, PromiseLimit(10.0, account="physics"))
    assert outcomes(answer)["2"] is Outcome.REJECTED
    assert outcomes(answer)["3"] is Outcome.PROMISED


def test_one_of_many_limits_is_enough() -> None:
    limits = (PromiseLimit(100.0, owner="ann"), PromiseLimit(2.0), PromiseLimit(50.0))
    assert outcomes(judged([job("1", 3.0)], *limits)) == {"1": Outcome.REJECTED}


@pytest.mark.parametrize(
    ("wish", "outcome"),
    [(IfInfeasible.WAIT, Outcome.WAITLISTED), (IfInfeasible.BEST_EFFORT, Outcome.BEST_EFFORT)],
)
def test_it_waits_or_runs_as_best_effort_where_it_wants_to(
    wish: IfInfeasible, outcome: Outcome
) -> None:
    answer = judged([job("1", 6.0, if_infeasible=wish)], PromiseLimit(5.0, owner="ann"))
    (verdict,) = answer.verdicts
    assert verdict.outcome is outcome
    assert verdict.reason.gpu_hours == pytest.approx(6.0)


def test_best_effort_is_not_limited() -> None:
    answer = judged(
        [job("1", 600.0, kind=JobKind.BEST_EFFORT, deadline=None)], PromiseLimit(1.0, owner="ann")
    )
    assert outcomes(answer) == {"1": Outcome.BEST_EFFORT}


def test_what_was_promised_before_stays_and_what_it_has_done_makes_room() -> None:
    before = job(
        "1",
        20.0,
        standing=Standing.ADMITTED,
        plan=(Reservation(0.0, 20 * HOUR, 1, "gpu"),),
    )
    limit = PromiseLimit(10.0, owner="ann")
    answer = judged([before, job("2", 1.0)], limit)
    assert answer.decision("1").finish is not None
    assert outcomes(answer) == {"2": Outcome.REJECTED}
    later = job(
        "1",
        8.0,
        standing=Standing.ADMITTED,
        plan=(Reservation(0.0, 8 * HOUR, 1, "gpu"),),
    )
    assert outcomes(judged([later, job("2", 1.0)], limit)) == {"2": Outcome.PROMISED}


def test_a_tight_deadline_counts_what_it_takes() -> None:
    steep = ThroughputCurve.of({1: 1.0, 16: 2.0})
    tight = Job("1", 0.0, 2 * HOUR, (("gpu", steep),), deadline=1.01 * HOUR, owner="ann")
    answer = judged([tight], PromiseLimit(10.0, owner="ann"))
    (verdict,) = answer.verdicts
    assert verdict.outcome is Outcome.REJECTED
    assert verdict.reason.gpu_hours == pytest.approx(16.0, rel=0.05)
