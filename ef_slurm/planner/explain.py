"""Why a job has the share that it has, as data.

A decision's reason compares what the job held with what it gets. A job that shrinks, moves or
pauses names the job that gets its GPUs; a promise at risk says whether capacity was lost or the job
itself is slower than its curve.

>>> from ef_slurm.model import Cluster, Job, Policy, ThroughputCurve
>>> from ef_slurm.planner.plan import plan
>>> curve = ThroughputCurve.of({1: 1.0, 2: 1.8, 4: 3.0})
>>> job = Job("a", 0.0, 90.0, (("gpu", curve),), deadline=60.0)
>>> answer = plan(0.0, [job], Cluster.uniform(nodes=1, gpus_per_node=4), Policy())
>>> answer.decision("a").reason.code.value, answer.decision("a").reason.gpus
('started', 4)
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
    Reservation,
    is_in_time,
)
from ef_slurm.planner.timeline.bookings import Booking
from ef_slurm.planner.timeline.reservation_table import ReservationTable
from ef_slurm.planner.timeline.task import Task


def decisions(tasks: Iterable[Task], table: ReservationTable, now: float) -> tuple[Decision, ...]:
    """Every job's decision, in order of ids."""
    return tuple(_decision(task, table, now) for task in sorted(tasks, key=lambda task: task.id))


def _decision(task: Task, table: ReservationTable, now: float) -> Decision:
    finish = table.finishes[task.id]
    here = table.now_on(task, now)
    block: Block | None = None
    if here is not None:
        running = task.job.running
        if running is not None and task.current is not None and here.same_block(task.current):
            block = running.block
        else:
            block = table.spaces[here.gpu_type].block(here.first_gpu, here.gpus)
    # What rounding has left without any length is not worth telling.
    schedule = tuple(one for one in table.plans[task.id] if one.start < one.end)
    promise = _promise(task, finish)
    reason = _reason(task, here, table, now)
    if promise is PromiseState.AT_RISK:
        code = ReasonCode.LOST_CAPACITY
        if task.behind or (task.set_back and task.current is not None):
            code = ReasonCode.BEHIND
        if reason.code is not ReasonCode.BEGIN:
            reason = _closed(task) or Reason(code, gpus=0 if here is None else here.gpus)
    predicted = finish if finish < math.inf else None
    return Decision(task.id, block, schedule, predicted, promise, reason)


def _promise(task: Task, finish: float) -> PromiseState:
    job = task.job
    if job.deadline is None or not task.promised:
        return PromiseState.NONE
    if is_in_time(finish, job.deadline):
        return PromiseState.SAFE
    if is_in_time(finish, job.deadline, job.grace):
        return PromiseState.IN_GRACE
    return PromiseState.AT_RISK


def _closed(task: Task) -> Reason | None:
    """What does not let a job start at any size; None for nothing."""
    if task.sizes or not task.job.max_gpus_by:
        return None
    return Reason(ReasonCode.LIMITED, gpus=0, limit=task.job.max_gpus_by)


def _reason(task: Task, here: Reservation | None, table: ReservationTable, now: float) -> Reason:
    current = task.current
    if here is None:
        plan = table.plans[task.id]
        until = plan[0].start if plan else None
        if current is None and task.earliest(now) > now and not _closed(task):
            begin = task.job.begin
            return Reason(ReasonCode.BEGIN, until=begin, limit=task.job.begin_by)
        if current is None:
            return _closed(task) or Reason(ReasonCode.WAITS, until=until)
        return Reason(ReasonCode.PAUSED, job=_taker(task, current, table), until=until)
    if current is None:
        return Reason(ReasonCode.STARTED, gpus=here.gpus)
    if task.stays(here):
        return Reason(ReasonCode.KEPT, gpus=here.gpus)
    if here.gpus > current.gpus:
        return Reason(ReasonCode.GREW, gpus=here.gpus, until=here.end)
    if here.gpus < current.gpus and task.is_beyond_peak(current):
        return Reason(ReasonCode.PEAK, gpus=here.gpus)
    code = ReasonCode.SHRANK if here.gpus < current.gpus else ReasonCode.MIGRATED
    return Reason(code, job=_taker(task, current, table), gpus=here.gpus)


def _taker(task: Task, current: Reservation, table: ReservationTable) -> str | None:
    """Who next gets GPUs that a job gives up."""
    takers = [
        booking
        for booking in table.timetables[current.gpu_type].on(current.first_gpu, current.gpus)
        if booking.job_id != task.id
    ]

    def soonest_then_largest(taker: Booking) -> tuple[float, int, str]:
        return (taker.reservation.start, -taker.reservation.gpus, taker.job_id)

    first = min(takers, key=soonest_then_largest, default=None)
    return None if first is None else first.job_id
