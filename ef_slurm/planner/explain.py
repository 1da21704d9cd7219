"""Why a job has the share that it has, as data.

A decision's reason compares what the job held with what it gets. A job that shrinks, moves or
pauses names the job that gets its GPUs; a promise at risk says whether capacity was lost or the job
itself is slower than its curve.

>>> from ef_slurm.model import Cluster, Job, Policy, ThroughputCurve
>>> from ef_slurm.planner.plan import plan
>>> curve = ThroughputCurve.of({1: 1.0, 2: 1.8, 4: 3.0})
>>> job = Job("a", 0.0, 90.0, (("gpu", curve),), deadline=60.0)
>>> plan(0.0, [job], Cluster.uniform(nodes=1, gpus_per_node=4), Policy()).decision("a").reason
Reason(code=<ReasonCode.STARTED: 'started'>, job=None, gpus=4, until=None)
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ef_slurm.model import (
    Block,
    Decision,
    PromiseState,
    Reason,
    ReasonCode,
    Segment,
    is_in_time,
)
from ef_slurm.planner.timeline.reservation_table import Ledger
from ef_slurm.planner.timeline.task import Stretch, Task


def decisions(tasks: Iterable[Task], ledger: Ledger, now: float) -> tuple[Decision, ...]:
    """Every job's decision, in order of ids."""
    return tuple(_decision(task, ledger, now) for task in sorted(tasks, key=lambda task: task.id))


def _decision(task: Task, ledger: Ledger, now: float) -> Decision:
    stretches = ledger.plans[task.id]
    finish = ledger.finishes[task.id]
    here = ledger.now_on(task, now)
    block: Block | None = None
    if here is not None:
        if task.held is not None and task.job.running is not None and here.same_block(task.held):
            block = task.job.running.block
        else:
            block = ledger.lines[here.gpu_type].block(here.first, here.gpus)
    schedule = tuple(
        Segment(start, end, gpus, gpu_type, first)
        for start, end, first, gpus, gpu_type in stretches
        if start < end
    )
    promise = _promise(task, finish)
    reason = _reason(task, here, ledger)
    if promise is PromiseState.AT_RISK:
        code = ReasonCode.BEHIND if task.behind else ReasonCode.LOST_CAPACITY
        reason = Reason(code, gpus=0 if here is None else here.gpus)
    return Decision(
        task.id, block, schedule, finish if finish < math.inf else None, promise, reason
    )


def _promise(task: Task, finish: float) -> PromiseState:
    job = task.job
    if job.deadline is None or not task.promised:
        return PromiseState.NONE
    if is_in_time(finish, job.deadline):
        return PromiseState.SAFE
    if is_in_time(finish, job.deadline, job.grace):
        return PromiseState.IN_GRACE
    return PromiseState.AT_RISK


def _reason(task: Task, here: Stretch | None, ledger: Ledger) -> Reason:
    held = task.held
    if here is None:
        plan = ledger.plans[task.id]
        until = plan[0].start if plan else None
        if held is None:
            return Reason(ReasonCode.WAITS, until=until)
        return Reason(ReasonCode.PAUSED, job=_taker(task, held, ledger), until=until)
    if held is None:
        return Reason(ReasonCode.STARTED, gpus=here.gpus)
    if task.stays(here):
        return Reason(ReasonCode.KEPT, gpus=here.gpus)
    if here.gpus > held.gpus:
        return Reason(ReasonCode.GREW, gpus=here.gpus, until=here.end)
    code = ReasonCode.SHRANK if here.gpus < held.gpus else ReasonCode.MIGRATED
    return Reason(code, job=_taker(task, held, ledger), gpus=here.gpus)


def _taker(task: Task, held: Stretch, ledger: Ledger) -> str | None:
    """Who next gets GPUs that a job gives up."""
    takers = [
        rectangle
        for rectangle in ledger.tables[held.gpu_type].on(held.first, held.gpus)
        if rectangle.key != task.id
    ]
    first = min(takers, key=lambda taker: (taker.start, -taker.gpus, taker.key), default=None)
    return None if first is None else first.key
