"""A schedule carried on from now, every change in it paid for.

>>> from ef_slurm.model import Cluster, Job, Overhead, Reservation, ThroughputCurve
>>> from ef_slurm.planner.timeline.gpu_index import index_spaces
>>> from ef_slurm.planner.timeline.task import make_task
>>> curve = ThroughputCurve.of({1: 1.0, 2: 1.5})
>>> job = Job("a", 0.0, 60.0, (("gpu", curve),), deadline=90.0, overhead=Overhead.constant(5.0))
>>> task = make_task(job, index_spaces(Cluster.uniform(nodes=1, gpus_per_node=2)))
>>> plan = (Reservation(0.0, 25.0, 1, "gpu"), Reservation(25.0, 60.0, 2, "gpu"))
>>> _, finish = replayed(task, plan, now=0.0)
>>> round(finish, 3)  # 5 + 20 s for 20 iterations on one GPU, 5 s, then 40 iterations at 1.5/s
56.667
"""

from __future__ import annotations

import math

from ef_slurm.model import Reservation, Schedule
from ef_slurm.planner.timeline.task import Task


def replayed(task: Task, schedule: Schedule, now: float) -> tuple[Schedule, float]:
    """What is left of a schedule from `now` on, and when it finishes the job.

    Progress may differ from what the schedule foresaw: its last reservation ends when the remaining
    iterations are done, sooner or later. Every change of block is paid for. Whoever may begin only
    later than was planned starts then.

    Returns:
        (schedule, finish); ((), infinity) for an empty one.
    """
    left = task.job.iterations
    now = task.earliest(now)
    before, trains = task.current, task.trains_from
    if before is not None and len(schedule) == 1 and schedule[0].same_block(before):
        rate = task.rate(before)
        if rate > 0 and schedule[0].start <= now:  # the common case: it stays to the end
            end = max(now, trains) + left / rate
            return (schedule[0].over(now, end),), end
    kept: list[Reservation] = []
    todo = [reservation for reservation in schedule if reservation.end > now]
    if not todo and schedule:
        todo = [schedule[-1]]  # it should have ended by now: it goes on where it is
    for index, reservation in enumerate(todo):
        start = max(reservation.start, now)
        # Whoever is to start later is paused until then.
        old = before if kept or reservation.start <= now else None
        kind = task.change(old, reservation.gpus, reservation.gpu_type, reservation.first_gpu)
        if kind is None:
            trains = max(start, trains)  # what began before may not be paid for yet
        else:
            trains = start + task.seconds_of(
                kind, old, reservation.gpus, reservation.gpu_type, reservation.first_gpu
            )
        rate = task.rate(reservation)
        end = trains + left / rate if rate > 0 else math.inf
        if index == len(todo) - 1 or end <= reservation.end:
            kept.append(reservation.over(start, end))
            return tuple(kept), end
        left -= max(0.0, reservation.end - trains) * rate
        kept.append(reservation.over(start, reservation.end))
        gap = todo[index + 1].start > reservation.end
        before = None if gap else reservation
    return (), math.inf
