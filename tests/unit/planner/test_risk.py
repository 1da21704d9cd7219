"""Plans in hand that are a little late hold: what comes next waits, as long as it is in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ef_slurm.model import (
    Block,
    Cluster,
    Job,
    Overhead,
    Policy,
    PromiseState,
    Reservation,
    RiskOrder,
    Running,
    Schedule,
    Standing,
    ThroughputCurve,
)
from ef_slurm.planner.plan import plan
from ef_slurm.planner.risk import revalidate
from ef_slurm.planner.timeline.gpu_index import index_spaces
from ef_slurm.planner.timeline.limits import LimitBook
from ef_slurm.planner.timeline.reservation_table import ReservationTable
from ef_slurm.planner.timeline.task import make_task

CURVE = (("gpu", ThroughputCurve.of({1: 1.0, 2: 2.0})),)
NOW = 50.0


def planned(name: str, iterations: float, deadline: float, *plan: tuple[float, float, int]) -> Job:
    """A job with a plan of (start, end, first GPU), on one GPU each time."""
    schedule = tuple(Reservation(start, end, 1, "gpu", first) for start, end, first in plan)
    running = None
    if schedule[0].start <= NOW:
        running = Running(Block("gpu", ("n1",), 1, schedule[0].first_gpu), 0.0, 0.0)
    return Job(
        name,
        0.0,
        iterations,
        CURVE,
        deadline=deadline,
        standing=Standing.ADMITTED,
        running=running,
        plan=schedule,
    )


def seen(jobs: Sequence[Job]) -> tuple[list[str], dict[str, Schedule]]:
    """Whose plan does not hold at `NOW`, and the plans of the others."""
    spaces = index_spaces(Cluster.uniform(nodes=1, gpus_per_node=2))
    table = ReservationTable.of(spaces, LimitBook(()), NOW)
    tasks = [make_task(job, spaces) for job in jobs]
    infeasible = revalidate(tasks, table, NOW, {job.id: job.plan for job in jobs})
    return [task.id for task in infeasible], table.plans


@pytest.mark.parametrize("late", [1.5e-6, 0.5, 9.0])
def test_a_start_waits_for_the_end_before_it(late: float) -> None:
    jobs = [
        planned("a", 50.0 + late, 120.0, (0.0, 100.0, 0)),
        planned("b", 40.0, 150.0, (100.0, 140.0, 0)),
        planned("c", 30.0, 180.0, (140.0, 170.0, 0)),
    ]
    infeasible, plans = seen(jobs)
    assert infeasible == []
    assert plans["b"][0].start == pytest.approx(100.0 + late, abs=1e-9)
    assert plans["c"][0].end == pytest.approx(170.0 + late, abs=1e-9)


def test_so_does_the_second_part_of_a_plan() -> None:
    jobs = [
        planned("a", 55.0, 120.0, (0.0, 100.0, 0)),
        planned("b", 90.0, 150.0, (0.0, 100.0, 1), (100.0, 140.0, 0)),
    ]
    infeasible, plans = seen(jobs)
    assert infeasible == []
    assert [(one.start, one.end) for one in plans["b"]] == [(50.0, 100.0), (105.0, 145.0)]


def test_who_would_be_late_by_that_is_planned_anew() -> None:
    jobs = [
        planned("a", 61.0, 120.0, (0.0, 100.0, 0)),
        planned("b", 40.0, 150.0, (100.0, 140.0, 0)),
    ]
    infeasible, plans = seen(jobs)
    assert infeasible == ["b"]
    assert set(plans) == {"a"}


def test_nobody_waits_on_the_gpus_of_another_plan() -> None:
    """`b` would only fit behind `a` by running into `c`."""
    jobs = [
        planned("a", 60.0, 120.0, (0.0, 100.0, 0)),
        planned("b", 40.0, 150.0, (100.0, 140.0, 0)),
        planned("c", 90.0, 185.0, (0.0, 100.0, 1), (145.0, 185.0, 0)),
    ]
    infeasible, plans = seen(jobs)
    assert infeasible == ["b"]
    assert plans["c"][1].start == 145.0


BOTH = (("gpu", ThroughputCurve.of({2: 2.0})),)
START = Overhead(start=5.0)


def beside_another(job: Job, order: RiskOrder) -> dict[str, PromiseState]:
    """What becomes of the promises to `job` and to `b`, which is to have all GPUs from 100 on."""
    b = Job(
        "b",
        5.0,
        160.0,
        BOTH,
        deadline=187.0,
        standing=Standing.ADMITTED,
        overhead=START,
        plan=(Reservation(100.0, 185.0, 2, "gpu", 0),),
    )
    cluster = Cluster.uniform(nodes=1, gpus_per_node=2)
    answer = plan(NOW, [job, b], cluster, Policy(risk_order=order))
    return {one.job_id: one.promise for one in answer.decisions}


@pytest.mark.parametrize("order", RiskOrder)
@pytest.mark.parametrize("what", ["held", "put back", "put back by little", "slow"])
def test_what_is_done_to_one_job_costs_no_other_ones_promise(order: RiskOrder, what: str) -> None:
    """Were it alone, `a` could still be in time; each order would put it first."""
    a = planned("a", 40.0, 130.0, (0.0, 60.0, 0))
    a = replace(a, curves=BOTH, overhead=START)
    hand = (Reservation(0.0, 60.0, 2, "gpu", 0),)
    match what:
        case "held":
            a = replace(a, running=None, plan=(), iterations=120.0)
        case "put back":
            a = replace(a, running=None, plan=hand, iterations=120.0)
        case "put back by little":
            hand = (Reservation(0.0, 101.0, 2, "gpu", 0),)
            a = replace(a, running=None, plan=hand, iterations=96.0)
        case "slow":
            running = Running(Block("gpu", ("n1",), 2), 0.0, 0.0)
            a = replace(a, running=running, plan=hand, iterations=120.0)
    assert beside_another(a, order) == {"a": PromiseState.AT_RISK, "b": PromiseState.SAFE}


@pytest.mark.parametrize("order", [RiskOrder.EARLIEST_DEADLINE, RiskOrder.EARLIEST_SUBMITTED])
def test_what_takes_little_longer_than_planned_is_not_stopped_for_that(order: RiskOrder) -> None:
    """`a` was to end when `b` begins, and will be 4 s late, which is less than a start costs."""
    a = planned("a", 108.0, 130.0, (0.0, 60.0, 0))
    running = Running(Block("gpu", ("n1",), 2), 0.0, 0.0)
    a = replace(a, curves=BOTH, overhead=START, running=running)
    a = replace(a, plan=(Reservation(0.0, 100.0, 2, "gpu", 0),))
    assert beside_another(a, order) == {"a": PromiseState.SAFE, "b": PromiseState.AT_RISK}
