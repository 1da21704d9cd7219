"""Making room by moving others (paper section 4.3: migration when a buddy block is not free).

Free GPUs may be scattered so that no aligned block of the wanted size is free although there are
GPUs enough. `buddy.place` then names the running jobs whose move costs least in all. A move is a
restart that the moved job pays for, so only a job may be moved whose plan is in time even after it,
and the result counts only if every plan, with the moves paid, fits on the timetable.

Two nodes of 2 GPUs, each half taken. `c` needs two GPUs at once, so `a` moves to the other node:

>>> from ef_slurm.model import Block, Cluster, Job, Policy, Running, Standing, ThroughputCurve
>>> from ef_slurm.planner.plan import plan
>>> def running(name, node):
...     return Job(name, 0.0, 50.0, (("gpu", ThroughputCurve.of({1: 1.0})),), deadline=99.0,
...                standing=Standing.ADMITTED,
...                running=Running(Block("gpu", (node,), 1), since=0.0, trains_from=0.0))
>>> wide = Job("c", 0.0, 40.0, (("gpu", ThroughputCurve.of({2: 1.0})),), deadline=45.0)
>>> jobs = [running("a", "n1"), running("b", "n2"), wide]
>>> answer = plan(0.0, jobs, Cluster.uniform(nodes=2, gpus_per_node=2), Policy())
>>> [(d.job_id, d.block.nodes, d.reason.code.value) for d in answer.decisions]
[('a', ('n2',), 'migrated'), ('b', ('n2',), 'kept'), ('c', ('n1',), 'started')]
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ef_slurm.planner.placement.buddy import place
from ef_slurm.planner.placement.occupancy import Request, Tenant
from ef_slurm.planner.timeline.reservation_table import Ledger
from ef_slurm.planner.timeline.task import Size, Stretch, Stretches, Task
from ef_slurm.planner.timeline.timetable import EDGE


def admit_by_moving(
    newcomer: Task, others: Sequence[Task], ledger: Ledger, now: float, *, only_ask: bool = False
) -> bool:
    """Start the newcomer now on the least size that is in time, moving others for it.

    Enters all plans into `ledger` and says True, or leaves it as it was; with `only_ask` it leaves
    it as it was in any case.
    """
    present: dict[str, list[tuple[Task, Stretch]]] = {}
    for size in newcomer.sizes:
        end = now + newcomer.overhead(None, size.gpus, size.gpu_type, None)
        end += newcomer.job.iterations / size.rate
        if end > newcomer.deadline + EDGE:
            continue
        if not ledger.limits.allow(newcomer, now, end, size.gpus):
            continue
        present = present or _present(others, ledger, now)
        if _try(newcomer, size, end, present[size.gpu_type], ledger, now, only_ask):
            return True
    return False


def _present(
    tasks: Sequence[Task], ledger: Ledger, now: float
) -> dict[str, list[tuple[Task, Stretch]]]:
    """Who is where at `now`, by GPU type."""
    present: dict[str, list[tuple[Task, Stretch]]] = {gpu_type: [] for gpu_type in ledger.lines}
    for task in tasks:
        stretch = ledger.now_on(task, now)
        if stretch is not None:
            present[stretch.gpu_type].append((task, stretch))
    return present


def _try(
    newcomer: Task,
    size: Size,
    end: float,
    present: list[tuple[Task, Stretch]],
    ledger: Ledger,
    now: float,
    only_ask: bool,
) -> bool:
    line = ledger.lines[size.gpu_type]
    if line.width - sum(stretch.gpus for _, stretch in present) < size.gpus:
        return False
    standing = {task.id: (task, stretch) for task, stretch in present}
    tenants = [
        Tenant(task.id, line.block(stretch.first, stretch.gpus), _cost(task, ledger, now))
        for task, stretch in present
    ]
    request = Request(newcomer.id, size.gpus, until=end)
    placement = place(line.group, now, tenants, [request])
    if placement.unplaced:
        return False
    plans: list[tuple[Task, Stretches]] = []
    for key in placement.migrated:
        task, stretch = standing[key]
        first = line.first(placement.blocks[key])
        if first is None or first % stretch.gpus:
            return False
        finish = now + task.overhead(task.held, stretch.gpus, stretch.gpu_type, first)
        finish += task.job.iterations / task.rate(stretch)
        plans.append((task, (stretch._replace(start=now, end=finish, first=first),)))
    first = line.first(placement.blocks[newcomer.id])
    if first is None or first % size.gpus:
        return False
    plans.append((newcomer, (Stretch(now, end, first, size.gpus, size.gpu_type),)))
    return _enter(plans, ledger, only_ask)


def _cost(task: Task, ledger: Ledger, now: float) -> float:
    """Seconds that a move costs a job; infinite for one that it would make late."""
    plan = ledger.plans[task.id]
    stretch = plan[0]
    if len(plan) > 1 or not task.stays(stretch):
        return math.inf
    cost = task.overhead(task.held, stretch.gpus, stretch.gpu_type, None)
    rate = task.rate(stretch)
    if rate <= 0 or now + cost + task.job.iterations / rate > task.deadline:
        return math.inf
    return cost


def _enter(plans: list[tuple[Task, Stretches]], ledger: Ledger, only_ask: bool) -> bool:
    """Replace plans together, or not at all."""
    before = [(task, *ledger.remove(task)) for task, _ in plans if task.id in ledger.plans]
    entered: list[Task] = []
    for task, plan in plans:
        if not ledger.is_free(task, plan):
            break
        ledger.put(task, plan, plan[-1].end)
        entered.append(task)
    fits = len(entered) == len(plans)
    if fits and not only_ask:
        return True
    for task in entered:
        ledger.remove(task)
    for task, stretches, finish in before:
        ledger.put(task, stretches, finish)
    return fits
