"""Plans in hand that are a little late hold: what comes next waits, as long as it is in time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ef_slurm.model import (
    Block,
    Cluster,
    Job,
    Reservation,
    Running,
    Schedule,
    Standing,
    ThroughputCurve,
)
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
