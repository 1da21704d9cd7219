"""Best-effort jobs: no deadline, no promise; they run on what promises leave over.

A best-effort job that runs stays where it is for as long as no plan of a deadline job needs its
block, and is planned to pause then. The rest is `allocation`: it competes for free GPUs by
marginal return, where the first GPU of a waiting job is worth most.

>>> from ef_slurm.model import Cluster, Job, JobKind, Policy, ThroughputCurve
>>> from ef_slurm.planner.plan import plan
>>> curves = (("gpu", ThroughputCurve.of({1: 1.0, 2: 1.5})),)
>>> jobs = [Job(name, 0.0, 60.0, curves, kind=JobKind.BEST_EFFORT) for name in ("a", "b", "c")]
>>> answer = plan(0.0, jobs, Cluster.uniform(nodes=1, gpus_per_node=4), Policy())
>>> [decision.gpus for decision in answer.decisions]  # the last GPU goes to its neighbour
[1, 1, 2]
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ef_slurm.model import Schedule
from ef_slurm.planner.timeline.reservation_table import ReservationTable
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS
from ef_slurm.planner.timeline.task import Task


def revalidate_best_effort(tasks: Iterable[Task], table: ReservationTable, now: float) -> None:
    """Enter running best-effort jobs where deadline jobs leave them their blocks."""
    for task in sorted(tasks, key=lambda task: task.order):
        plan, finish = _keep(task, table, now)
        table.put(task, plan, finish)


def _keep(task: Task, table: ReservationTable, now: float) -> tuple[Schedule, float]:
    """(schedule, finish) on the present block: to its end, or until a promise needs the block."""
    current = task.current
    rate = 0.0 if current is None else task.rate(current)
    if current is None or rate <= 0.0:
        return (), math.inf
    if not task.may_use(current.gpu_type, current.first_gpu, current.gpus):
        return (), math.inf
    end = max(now, task.trains_from) + task.job.iterations / rate
    free_until = table.timetables[current.gpu_type].free_until(current.first_gpu, current.gpus)
    until = min(end, free_until)
    # No block for it at this moment: it pauses now, and `allocation` may find it another one.
    if free_until <= now + EDGE_SECONDS or not table.limits.allow(
        task, now, until, current.gpus, current.gpu_type
    ):
        return (), math.inf
    finish = end if end <= free_until + EDGE_SECONDS else math.inf
    return (current.over(now, until),), finish
