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

from ef_slurm.planner.timeline.reservation_table import Ledger
from ef_slurm.planner.timeline.task import Stretches, Task
from ef_slurm.planner.timeline.timetable import EDGE


def carry_on_best_effort(tasks: Iterable[Task], ledger: Ledger, now: float) -> None:
    """Enter running best-effort jobs where deadline jobs leave them their blocks."""
    for task in sorted(tasks, key=lambda task: task.order):
        plan, finish = _keep(task, ledger, now)
        ledger.put(task, plan, finish)


def _keep(task: Task, ledger: Ledger, now: float) -> tuple[Stretches, float]:
    held = task.held
    rate = 0.0 if held is None else task.rate(held)
    if held is None or rate <= 0.0:
        return (), math.inf
    end = max(now, task.trains_from) + task.job.iterations / rate
    until = ledger.tables[held.gpu_type].free_until(held.first, held.gpus)
    if until <= now + EDGE or not ledger.limits.allow(task, now, min(end, until), held.gpus):
        return (), math.inf
    plan = (held._replace(start=now, end=min(end, until)),)
    return plan, end if end <= until + EDGE else math.inf
