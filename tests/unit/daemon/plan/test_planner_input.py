"""Rows and reports → what the planner is told."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.contract import Action, Order, Phase
from ef_slurm.daemon.observe.estimates import Estimates
from ef_slurm.daemon.observe.overheads import Taken
from ef_slurm.daemon.plan.planner_input import (
    SILENCE_SECONDS,
    capped,
    fit,
    planner_job,
    planner_jobs,
    remaining,
    running_now,
    runs_on,
    site_policy,
)
from ef_slurm.model import (
    Cluster,
    Job,
    JobState,
    Limit,
    Overhead,
    Policy,
    PromiseLimit,
    QueueJob,
    QueueLimits,
    Reservation,
    Running,
    ThroughputCurve,
)
from tests.unit.daemon.make import FOUR_NODES, NOW, TWO_NODES, progress, row, running

TRAINING = row(
    running=Running(TWO_NODES, NOW - 100, NOW - 70), iteration=500.0, rate=10.0, progress_at=NOW
)


def test_the_last_report_is_carried_forward() -> None:
    assert remaining(TRAINING, running(TWO_NODES), NOW + 5) == 9450.0


def test_but_not_without_end() -> None:
    silent = remaining(TRAINING, running(TWO_NODES), NOW + 10_000)
    assert silent == 9500.0 - 10.0 * SILENCE_SECONDS


def test_a_job_that_stops_gains_nothing() -> None:
    stopping = running(TWO_NODES, progress=progress(Phase.STOPPING))
    assert remaining(TRAINING, stopping, NOW + 5) == 9500.0


@given(st.floats(0, 20_000), st.floats(0, 1e5))
def test_what_remains_is_never_nothing(iteration: float, later: float) -> None:
    job = replace(TRAINING, iteration=iteration)
    assert remaining(job, running(TWO_NODES), NOW + later) > 0


def test_a_late_start_is_pushed_back() -> None:
    starting = running(TWO_NODES, progress=progress(Phase.STARTING))
    job = replace(TRAINING, running=Running(TWO_NODES, NOW - 40, NOW - 10))
    late = running_now(job, starting, NOW)
    assert late is not None
    assert late.trains_from > NOW
    assert running_now(job, running(TWO_NODES), NOW) == job.running
    assert running_now(job, running(FOUR_NODES), NOW) == late  # trains, but not there yet


def test_on_a_part_of_its_gpus_it_is_relaunched_before_it_trains_on_all() -> None:
    cost = Overhead(start=30.0, grow=5.0, shrink=20.0, move=30.0, restart=40.0)
    request = replace(TRAINING.request, overhead=cost)
    held = Running(TWO_NODES, NOW - 100, NOW - 70, active=1)
    job = replace(TRAINING, request=request, running=held)
    status = {job.id: running(TWO_NODES)}
    (seen,) = planner_jobs([job], status, Estimates(), NOW)
    assert seen.running == replace(held, active=None, trains_from=NOW + 20.0)
    on_all = replace(job, running=replace(held, active=None))
    (seen,) = planner_jobs([on_all], status, Estimates(), NOW)
    assert seen.running == on_all.running


def test_what_was_learned_replaces_what_was_told() -> None:
    estimates = Estimates()
    estimates.overheads.add(1, None, "start", Taken(100.0))
    estimates.rates.learn(1, "gpu", 8, 5.0)
    estimates.closures.refuse(1, TWO_NODES, "QOSMaxGRESPerUser", NOW - 60)
    job = planner_job(TRAINING, running(TWO_NODES), estimates, NOW)
    assert job.overhead.start == 110.0
    assert dict(job.curves[0][1].points)[8] == 5.0
    assert job.max_gpus == 4


def test_what_is_trained_until_a_change_counts_unless_it_is_less_than_afterwards() -> None:
    estimates = Estimates()
    for kind in ("shrink", "move"):
        estimates.overheads.add(1, None, kind, Taken(20.0, 5.0))

    def cost(job: QueueJob) -> tuple[float, float]:
        seen = planner_job(job, running(TWO_NODES), estimates, NOW).overhead
        return seen.shrink, seen.move

    assert cost(TRAINING) == (6.0, 7.0)
    # It trains on a part of its GPUs: the next change is to more of them.
    held = Running(TWO_NODES, NOW - 100, NOW - 70, active=4)
    assert cost(replace(TRAINING, running=held)) == (22.0, 22.0)
    # It is faster on fewer GPUs, as is found only now.
    for gpus, rate in ((4, 7.0), (8, 5.0)):
        estimates.rates.learn(1, "gpu", gpus, rate)
    assert cost(TRAINING) == (22.0, 22.0)


def test_a_job_that_is_about_to_be_launched_again_does_not_train_as_planned_yet() -> None:
    held = Running(TWO_NODES, NOW - 8, NOW - 3)
    job = replace(TRAINING, running=held)
    order = Order(1, Action.RELAUNCH, NOW - 8)
    assert running_now(job, running(TWO_NODES), NOW) == held
    later = replace(held, trains_from=NOW + 3)
    for status in (
        running(TWO_NODES, order=order),
        running(TWO_NODES, progress=progress(Phase.STOPPING)),
        running(TWO_NODES, progress=progress(Phase.STOPPED)),
    ):
        assert running_now(job, status, NOW) == later
    # Whoever has not obeyed by now goes on as it is.
    ignored = replace(order, issued_at=NOW - 61)
    assert running_now(job, running(TWO_NODES, order=ignored), NOW) == held


def test_what_was_learned_on_one_type_of_gpu_says_nothing_faster_of_another() -> None:
    fast, slow = ThroughputCurve.of({8: 20.0}), ThroughputCurve.of({8: 2.0})
    both = (("a100", fast), ("t4", slow))
    job = replace(TRAINING, request=replace(TRAINING.request, curves=both))

    def curves(rate: float) -> list[float]:
        estimates = Estimates()
        estimates.rates.learn(1, "a100", 8, rate)
        seen = planner_job(job, None, estimates, NOW)
        return [dict(curve.points)[8] for _, curve in seen.curves]

    assert curves(20.0) == [20.0, 2.0]
    assert curves(30.0) == [30.0, 2.0]
    # Half as fast as told on the one: it is not counted on to be better on the other.
    assert curves(10.0) == [10.0, 1.0]


def test_where_the_first_node_does_not_lead_a_shrink_costs_a_requeue() -> None:
    cost = Overhead(start=30.0, grow=5.0, shrink=20.0, move=30.0, restart=40.0)
    job = replace(TRAINING, request=replace(TRAINING.request, overhead=cost))
    status = running(TWO_NODES)
    assert planner_job(job, status, Estimates(), NOW).overhead.shrink == 20.0
    status = replace(status, slurm=replace(status.slurm, batch_host=TWO_NODES.nodes[1]))
    assert planner_job(job, status, Estimates(), NOW).overhead.shrink == 40.0


def test_a_growth_that_stops_the_launch_costs_a_requeue_whatever_was_stated() -> None:
    cost = Overhead(start=30.0, grow=2.0, shrink=20.0, move=30.0, restart=40.0)
    job = replace(TRAINING, request=replace(TRAINING.request, overhead=cost))
    for status in (None, running(TWO_NODES)):
        assert planner_job(job, status, Estimates(), NOW).overhead == replace(cost, grow=40.0)


def test_held_and_ended_jobs_are_left_out() -> None:
    rows = [row(state, id=number) for number, state in enumerate(JobState, start=1)]
    told = {job.id for job in planner_jobs(rows, {}, Estimates(), NOW, without=[1])}
    kept = {
        JobState.WAITLISTED,
        JobState.ADMITTED,
        JobState.STARTING,
        JobState.RUNNING,
        JobState.STOPPING,
        JobState.PAUSED,
    }
    assert len(told) == len(kept)


def test_only_gpu_types_that_are_there_count() -> None:
    here = Cluster.uniform(2, 4)
    curve = ThroughputCurve.of({1: 1.0})
    curves = (("a100", curve), ("gpu", curve))
    both = replace(TRAINING, request=replace(TRAINING.request, curves=curves))
    assert runs_on(both, here)
    fitted = fit(planner_job(both, None, Estimates(), NOW), here)
    assert [kind for kind, _ in fitted.curves] == ["gpu"]
    alien = replace(TRAINING, request=replace(TRAINING.request, curves=(("a100", curve),)))
    assert not runs_on(alien, here)


def test_what_is_expected_of_a_curve_is_calibrated_too() -> None:
    expected = (("gpu", ThroughputCurve.of({8: 12.0, 16: 20.0})),)
    request = replace(TRAINING.request, growth_curves=expected)
    estimates = Estimates()
    estimates.rates.learn(1, "gpu", 8, 6.0)
    job = planner_job(replace(TRAINING, request=request), None, estimates, NOW)
    assert job.growth_curves == (("gpu", ThroughputCurve.of({8: 6.0, 16: 10.0})),)


def test_a_type_that_the_cluster_has_not_is_left_out_of_both() -> None:
    curve = ThroughputCurve.of({1: 1.0})
    both = (("gpu", curve), ("h100", curve))
    request = replace(TRAINING.request, curves=both, growth_curves=both)
    job = planner_job(replace(TRAINING, request=request), None, Estimates(), NOW)
    cluster = Cluster.uniform(1, 4)
    fitted = fit(job, cluster)
    assert fitted.curves == fitted.growth_curves == (("gpu", curve),)


class TestSitePolicy:
    CLUSTER = Cluster.uniform(nodes=2, gpus_per_node=4)

    def jobs(self) -> list[Job]:
        curves = (("gpu", ThroughputCurve.of({1: 1.0})),)
        return [
            Job(name, 0.0, 1.0, curves, deadline=9.0, owner=owner, account=account)
            for name, owner, account in (("1", "ann", "a"), ("2", "bob", "a"), ("3", "ann", ""))
        ]

    def test_everybody_has_a_limit_and_a_name_has_its_own(self) -> None:
        named = Policy(
            limits=(Limit(8, owner="ann"),),
            promise_limits=(PromiseLimit(500.0, account="a"),),
        )
        limits = QueueLimits(gpus_per_user=4, gpus_per_account=6, gpu_hours_per_user=20.0)
        policy = site_policy(named, limits, self.jobs(), self.CLUSTER)
        assert policy.limits == (
            Limit(8, owner="ann"),
            Limit(4, owner="bob"),
            Limit(6, account="a"),
        )
        assert policy.promise_limits == (
            PromiseLimit(500.0, account="a"),
            PromiseLimit(20.0, owner="ann"),
            PromiseLimit(20.0, owner="bob"),
        )

    def test_by_default_nobody_books_everything(self) -> None:
        policy = site_policy(Policy(), QueueLimits(), self.jobs()[:1], self.CLUSTER)
        assert policy.limits == ()
        assert policy.promise_limits == (
            PromiseLimit(72.0 * 8, owner="ann"),
            PromiseLimit(240.0 * 8, account="a"),
        )

    def test_zero_is_no_limit(self) -> None:
        none = QueueLimits(gpu_hours_per_user=0.0, gpu_hours_per_account=0.0)
        assert site_policy(Policy(), none, self.jobs(), self.CLUSTER) == Policy()

    def test_no_job_has_more_than_the_site_gives_one(self) -> None:
        large = Reservation(0.0, 9.0, 8, "gpu")
        job = replace(self.jobs()[0], plan=(large,))
        limits = QueueLimits(gpus_per_job=4)
        assert capped(job, QueueLimits()) == job
        assert (capped(job, limits).max_gpus, capped(job, limits).plan) == (4, ())
        small = replace(job, max_gpus=2, plan=())
        assert capped(small, limits) == small
