"""The entry point on small cases that can be worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ef_slurm.model import (
    Block,
    Cluster,
    IfInfeasible,
    Job,
    JobKind,
    Limit,
    ModelError,
    Node,
    NodeGroup,
    Outage,
    Outcome,
    Overhead,
    Plan,
    Policy,
    PromiseState,
    Reason,
    ReasonCode,
    Reservation,
    RiskOrder,
    Running,
    Standing,
    ThroughputCurve,
)
from ef_slurm.planner.plan import plan
from ef_slurm.planner.timeline.worth import type_worth

LINEAR = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0})
ONE_NODE = Cluster.uniform(nodes=1, gpus_per_node=4)


def job(name: str, iterations: float, deadline: float | None, **options: object) -> Job:
    kind = JobKind.BEST_EFFORT if deadline is None else JobKind.DEADLINE
    fields: dict[str, object] = {"kind": kind, "curves": (("gpu", LINEAR),), **options}
    return Job(id=name, submitted=0.0, iterations=iterations, deadline=deadline, **fields)  # type: ignore[arg-type]


def carried_out(one: Job, answer: Plan, now: float) -> Job:
    """The job at `now`, the answer's decision carried out since."""
    decision = answer.decision(one.id)
    if decision.block is None:
        return replace(one, standing=Standing.ADMITTED, plan=decision.schedule, running=None)
    old = None if one.running is None else one.running.block
    trains_from = answer.now + one.overhead.seconds(old, decision.block)
    rate = dict(LINEAR.points)[decision.gpus]
    return replace(
        one,
        standing=Standing.ADMITTED,
        iterations=one.iterations - rate * max(0.0, now - trains_from),
        plan=decision.schedule,
        running=Running(decision.block, answer.now, trains_from),
    )


def test_the_newcomer_that_fits_does_not_touch_the_others() -> None:
    policy = Policy(min_speedup=0.9)
    first = job("a", 100.0, 120.0)
    answer = plan(0.0, [first], ONE_NODE, policy)
    running = carried_out(first, answer, 10.0)
    later = plan(10.0, [running, replace(job("b", 10.0, 60.0), submitted=10.0)], ONE_NODE, policy)
    assert later.decision("a").reason.code is ReasonCode.KEPT
    assert later.verdicts[0].outcome is Outcome.PROMISED


def test_a_grown_job_shrinks_for_a_newcomer_and_names_it() -> None:
    first = job("a", 400.0, 500.0)
    answer = plan(0.0, [first], ONE_NODE, Policy())
    assert answer.decision("a").gpus == 4
    running = carried_out(first, answer, 10.0)
    newcomer = replace(job("b", 100.0, 65.0), submitted=10.0)
    later = plan(10.0, [running, newcomer], ONE_NODE, Policy())
    assert later.verdicts[0].outcome is Outcome.PROMISED
    reason = later.decision("a").reason
    assert (reason.code, reason.job) == (ReasonCode.SHRANK, "b")


def test_overhead_is_paid_inside_the_plan() -> None:
    tight = job("a", 100.0, 50.0, overhead=Overhead.constant(26.0))
    assert plan(0.0, [tight], ONE_NODE, Policy()).verdicts[0].outcome is Outcome.REJECTED
    bearable = replace(tight, overhead=Overhead.constant(25.0))
    answer = plan(0.0, [bearable], ONE_NODE, Policy())
    assert answer.verdicts[0].outcome is Outcome.PROMISED
    assert answer.decision("a").finish == 50.0


def test_growth_that_does_not_pay_its_restart_is_left_out() -> None:
    block = Block("gpu", ("n1",), 2)
    running = job(
        "a",
        100.0,
        200.0,
        standing=Standing.ADMITTED,
        overhead=Overhead.constant(30.0),
        running=Running(block, since=-50.0, trains_from=-20.0),
    )
    kept = plan(0.0, [running], ONE_NODE, Policy())  # 50 s left; on 4 GPUs 30 + 25
    assert kept.decision("a").reason.code is ReasonCode.KEPT
    longer = plan(0.0, [replace(running, iterations=1000.0, deadline=999.0)], ONE_NODE, Policy())
    assert longer.decision("a").reason.code is ReasonCode.GREW
    often = Policy(min_reshape_interval=600.0)
    recent = replace(running, iterations=1000.0, deadline=999.0, last_reshape=-50.0)
    assert plan(0.0, [recent], ONE_NODE, often).decision("a").reason.code is ReasonCode.KEPT


def test_a_job_beyond_its_peak_steps_back() -> None:
    """It was told that 4 GPUs train fastest, grew, and trains more slowly there than on 2."""
    falls = (("gpu", ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 1.5})),)
    beyond = job(
        "a", 100.0, 200.0, curves=falls, standing=Standing.ADMITTED,
        overhead=Overhead.constant(5.0),
        running=Running(Block("gpu", ("n1",), 4), since=-50.0, trains_from=-50.0),
        plan=(Reservation(-50.0, 67.0, 4, "gpu", 0),),
    )  # fmt: skip
    decision = plan(0.0, [beyond], ONE_NODE, Policy()).decision("a")
    assert (decision.gpus, decision.finish) == (2, 55.0)
    assert decision.reason.code is ReasonCode.PEAK
    # Not where that costs more than it is worth.
    dear = replace(beyond, overhead=Overhead.constant(60.0))
    assert plan(0.0, [dear], ONE_NODE, Policy()).decision("a").gpus == 4


def test_the_waitlist_is_asked_again_and_given_up_when_hopeless() -> None:
    holder = job("a", 400.0, 100.0)
    waiting = job("b", 100.0, 120.0, if_infeasible=IfInfeasible.WAIT)
    answer = plan(0.0, [holder, waiting], ONE_NODE, Policy())
    assert [verdict.outcome for verdict in answer.verdicts] == [
        Outcome.PROMISED,
        Outcome.WAITLISTED,
    ]
    again = replace(waiting, standing=Standing.WAITLISTED)
    freed = plan(50.0, [again], ONE_NODE, Policy())
    assert freed.verdicts[0].outcome is Outcome.PROMISED
    hopeless = plan(96.0, [again], ONE_NODE, Policy())
    assert hopeless.verdicts[0].outcome is Outcome.REJECTED
    assert hopeless.verdicts[0].reason.code is ReasonCode.TOO_LARGE


def test_infeasible_jobs_may_run_as_best_effort() -> None:
    hopeless = job("a", 400.0, 50.0, if_infeasible=IfInfeasible.BEST_EFFORT)
    answer = plan(0.0, [hopeless], ONE_NODE, Policy())
    assert answer.verdicts[0].outcome is Outcome.BEST_EFFORT
    assert answer.decision("a").gpus == 4
    assert answer.decision("a").promise is PromiseState.NONE


def test_a_soft_deadline_may_use_its_grace() -> None:
    soft = job("a", 400.0, 90.0, kind=JobKind.SOFT_DEADLINE, grace=20.0)
    answer = plan(0.0, [soft], ONE_NODE, Policy())
    assert answer.verdicts[0].outcome is Outcome.PROMISED
    assert answer.decision("a").promise is PromiseState.IN_GRACE


def test_a_limit_counts_the_owner_s_jobs_together() -> None:
    policy = Policy(limits=(Limit(2, owner="ann"),))
    jobs = [job(name, 100.0, 100.0, owner="ann") for name in ("a", "b", "c")]
    answer = plan(0.0, jobs, ONE_NODE, policy)
    assert sum(decision.gpus for decision in answer.decisions) == 2
    assert answer.verdicts[2].outcome is Outcome.REJECTED
    alone = plan(0.0, [job("d", 400.0, 120.0, owner="ann")], ONE_NODE, policy)
    assert alone.verdicts[0].reason.code is ReasonCode.LIMITED
    assert alone.verdicts[0].reason.gpus == 2


def test_a_job_takes_the_gpu_type_that_is_in_time() -> None:
    cluster = Cluster((NodeGroup("slow", 1, (Node("s1"),)), NodeGroup("fast", 1, (Node("f1"),))))
    curves = (("slow", ThroughputCurve.of({1: 1.0})), ("fast", ThroughputCurve.of({1: 3.0})))
    answer = plan(0.0, [job("a", 90.0, 40.0, curves=curves)], cluster, Policy())
    block = answer.decision("a").block
    assert block is not None
    assert block.nodes == ("f1",)


def test_maintenance_is_planned_around_and_wakes_the_planner() -> None:
    cluster = Cluster((NodeGroup("gpu", 4, (Node("n1", (Outage(100.0, 200.0),)),)),))
    answer = plan(0.0, [job("a", 401.0, 999.0)], cluster, Policy())
    assert answer.decision("a").finish is not None
    assert all(s.end <= 100.0 or s.start >= 200.0 for s in answer.decision("a").schedule)
    assert answer.next_change <= 200.0


@pytest.mark.parametrize(
    ("order", "kept"),
    [(RiskOrder.EARLIEST_DEADLINE, "a"), (RiskOrder.MOST_PROMISES, "b")],
)
def test_lost_capacity_keeps_promises_in_the_stated_order(order: RiskOrder, kept: str) -> None:
    two = Cluster.uniform(nodes=2, gpus_per_node=1)
    single = (("gpu", ThroughputCurve.of({1: 1.0})),)
    jobs = [job("a", 90.0, 100.0, curves=single), job("b", 50.0, 101.0, curves=single)]
    answer = plan(0.0, jobs, two, Policy())
    jobs = [carried_out(one, answer, 0.0) for one in jobs]
    failed = Cluster((NodeGroup("gpu", 1, (Node("n1"), Node("n2", (Outage(0.0),)))),))
    after = plan(0.0, jobs, failed, Policy(risk_order=order))
    states = {decision.job_id: decision.promise for decision in after.decisions}
    assert states.pop(kept) is PromiseState.SAFE
    assert list(states.values()) == [PromiseState.AT_RISK]
    late = next(d for d in after.decisions if d.promise is PromiseState.AT_RISK)
    assert late.reason.code is ReasonCode.LOST_CAPACITY
    assert late.finish == 140.0


def test_a_job_slower_than_its_curve_is_named_behind() -> None:
    running = job(
        "a",
        100.0,
        20.0,
        standing=Standing.ADMITTED,
        running=Running(Block("gpu", ("n1",), 4), since=-100.0, trains_from=-100.0),
    )
    decision = plan(0.0, [running], ONE_NODE, Policy()).decision("a")
    assert (decision.promise, decision.finish) == (PromiseState.AT_RISK, 25.0)
    assert decision.reason.code is ReasonCode.BEHIND


def test_a_promise_at_risk_is_saved_by_capacity_that_returns() -> None:
    """Growth that a promise needs asks neither for a gain nor for an interval."""
    policy = Policy(min_reshape_interval=600.0)
    running = job(
        "a",
        100.0,
        45.0,
        standing=Standing.ADMITTED,
        overhead=Overhead.constant(15.0),
        running=Running(Block("gpu", ("n1",), 2), since=-30.0, trains_from=-15.0),
        last_reshape=-30.0,
        plan=(Reservation(-30.0, 45.0, 2, "gpu", 0),),
    )
    broken = Cluster((NodeGroup("gpu", 4, (Node("n1", (Outage(0.0, gpus=2),)),)),))
    at_risk = plan(0.0, [running], broken, policy).decision("a")
    assert (at_risk.promise, at_risk.finish) == (PromiseState.AT_RISK, 50.0)
    later = replace(running, iterations=96.0, plan=at_risk.schedule)
    saved = plan(2.0, [later], ONE_NODE, policy).decision("a")
    assert (saved.promise, saved.gpus, saved.finish) == (PromiseState.SAFE, 4, 41.0)


def test_a_promise_at_risk_is_saved_by_those_who_have_time() -> None:
    """Both are late on one GPU each; two GPUs come back, and one job's room is the other's."""
    one = (("gpu", ThroughputCurve.of({1: 1.0, 2: 2.0})),)
    late = job(
        "a", 60.0, 50.0, curves=one, standing=Standing.ADMITTED,
        plan=(Reservation(30.0, 90.0, 1, "gpu", 0),),
    )  # fmt: skip
    roomy = job(
        "b", 60.0, 100.0, curves=one, standing=Standing.ADMITTED,
        plan=(Reservation(0.0, 30.0, 2, "gpu", 0),),
        running=Running(Block("gpu", ("n1",), 2), since=0.0, trains_from=0.0),
    )  # fmt: skip
    cluster = Cluster.uniform(nodes=1, gpus_per_node=2)
    answer = plan(0.0, [late, roomy], cluster, Policy())
    assert [d.promise for d in answer.decisions] == [PromiseState.SAFE, PromiseState.SAFE]
    assert answer.decision("a").gpus == 2


def test_what_cannot_be_saved_keeps_the_finish_that_it_was_told() -> None:
    late = job(
        "a", 90.0, 60.0, curves=(("gpu", ThroughputCurve.of({1: 1.0})),),
        standing=Standing.ADMITTED, plan=(Reservation(0.0, 90.0, 1, "gpu", 0),),
        running=Running(Block("gpu", ("n1",), 1), since=0.0, trains_from=0.0),
    )  # fmt: skip
    newcomer = job("b", 80.0, 100.0, curves=late.curves)
    cluster = Cluster.uniform(nodes=1, gpus_per_node=1)
    answer = plan(0.0, [late, newcomer], cluster, Policy())
    assert answer.decision("a").finish == 90.0
    assert answer.verdicts[0].outcome is Outcome.REJECTED


def test_wrong_input_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="job id: 'a'"):
        plan(0.0, [job("a", 1.0, 9.0), job("a", 1.0, 9.0)], ONE_NODE, Policy())
    with pytest.raises(ModelError, match="now: nan"):
        plan(math.nan, [], ONE_NODE, Policy())
    foreign = job("a", 1.0, 9.0, curves=(("tpu", LINEAR),))
    with pytest.raises(ModelError, match="GPU type of job a: 'tpu'"):
        plan(0.0, [foreign], ONE_NODE, Policy())


@pytest.mark.parametrize("runs", [False, True])
def test_a_gpu_type_that_left_the_cluster_is_no_plan_in_hand(runs: bool) -> None:
    gone = Reservation(0.0, 100.0, 1, "gone", 0)
    running = Running(Block("gone", ("x1",), 1), 0.0, 0.0) if runs else None
    admitted = job("a", 100.0, 500.0, standing=Standing.ADMITTED, plan=(gone,), running=running)
    decision = plan(1.0, [admitted], ONE_NODE, Policy()).decision("a")
    assert decision.promise is PromiseState.SAFE
    assert decision.block is not None
    assert decision.block.gpu_type == "gpu"


@pytest.mark.parametrize(
    ("outages", "usable"),
    [
        ((Outage(0.0),), 0),
        ((Outage(0.0, 5000.0, 4),), 0),
        ((Outage(0.0, 5000.0, 3),), 2),
        ((Outage(100.0, 5000.0),), 8),
    ],
)
@pytest.mark.parametrize("if_infeasible", [IfInfeasible.REJECT, IfInfeasible.WAIT])
def test_what_is_not_there_is_not_called_promised_to_others(
    outages: tuple[Outage, ...], usable: int, if_infeasible: IfInfeasible
) -> None:
    """A drained cluster, one that others use, or that is reserved soon: nobody was promised it."""
    nodes = tuple(Node(name, outages) for name in ("n1", "n2"))
    absent = Cluster((NodeGroup("gpu", 4, nodes),))
    curve = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0})
    asks = Job("a", 0.0, 2000.0, (("gpu", curve),), deadline=700.0, if_infeasible=if_infeasible)
    (verdict,) = plan(0.0, [asks], absent, Policy(offers=False)).verdicts
    assert verdict.reason == Reason(ReasonCode.UNAVAILABLE, gpus=usable)


def test_a_cluster_that_is_promised_to_others_is_called_so() -> None:
    curve = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0})
    nodes = (Node("n1"), Node("n2", (Outage(0.0),)))
    half = Cluster((NodeGroup("gpu", 4, nodes),))
    jobs = [Job(name, 0.0, 2000.0, (("gpu", curve),), deadline=700.0) for name in "ab"]
    first, second = plan(0.0, jobs, half, Policy(offers=False)).verdicts
    assert first.outcome is Outcome.PROMISED
    assert second.reason.code is ReasonCode.REJECTED


def test_a_fast_type_is_left_to_whom_it_helps_most() -> None:
    """Both jobs are faster on `new`, one much more: counted in GPU seconds both would go there."""

    def curves(factor: float) -> tuple[tuple[str, ThroughputCurve], ...]:
        slow = {1: 1.0, 2: 2.0}
        fast = {gpus: factor * rate for gpus, rate in slow.items()}
        return (("new", ThroughputCurve.of(fast)), ("old", ThroughputCurve.of(slow)))

    groups = tuple(NodeGroup(kind, 2, (Node(kind[0] + "1"),)) for kind in ("new", "old"))
    jobs = [
        job("a", 1000.0, 2000.0, curves=curves(1.5), max_gpus=1),
        job("b", 4000.0, 2000.0, curves=curves(6.0), max_gpus=1),
    ]
    answer = plan(0.0, jobs, Cluster(groups), Policy())
    types = {one.job_id: one.block.gpu_type for one in answer.decisions if one.block is not None}
    assert types == {"a": "old", "b": "new"}


def test_worth_is_relative_to_the_jobs_at_hand() -> None:
    one, other = ThroughputCurve.of({1: 1.0, 2: 1.8}), ThroughputCurve.of({1: 4.0})
    both = job("a", 1.0, 2.0, curves=(("x", one), ("y", other)))
    alone = job("b", 1.0, 2.0, curves=(("x", one),))
    assert type_worth([both, alone]) == pytest.approx({"x": 0.5, "y": 2.0})
    assert type_worth([alone]) == {}
