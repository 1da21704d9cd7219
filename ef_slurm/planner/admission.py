"""Admission control (paper section 4.1, Algorithm 1).

A newcomer is admitted if a complete plan exists in which everybody promised before it, and it,
finish in time. Newcomers are judged one by one in order of arrival. The search:

1. *Beside the others* (`share`): its minimum satisfactory share in what the plans in hand leave
   free. Nobody else is touched.
2. *By moving others* (`relocation`): on GPUs that are free but scattered.
3. *Jointly*: all plans are made anew, each job with its minimum satisfactory share, the newcomer
   among them; first in order of deadline, as the paper does, then in order of the latest start
   that each could bear, which serves large tight jobs better. If everybody fits, the new plans are
   adopted; but whoever can have its old plan back beside the newcomer gets it back, because every
   change costs training time.

A step that fails leaves all plans as they were, so a promise once given is never weakened.

A newcomer that was not admitted gets a *counter-offer*: the earliest deadline that the same search
would admit right now, found between the deadline that it asked for and the finish that it would
have beside the others.

Two GPUs, and `a` holds both until 50. `b` needs one for 40 s until 60: `a` has time to spare, so it
shrinks to one GPU and both are in time. `c`, due at 60 as well, is refused.

>>> from ef_slurm.model import Cluster, Job, Policy, ThroughputCurve
>>> from ef_slurm.planner.plan import plan
>>> def job(name, iterations, deadline):
...     curve = ThroughputCurve.of({1: 1.0, 2: 2.0})
...     return Job(name, 0.0, iterations, (("gpu", curve),), deadline=deadline)
>>> cluster = Cluster.uniform(nodes=1, gpus_per_node=2)
>>> jobs = [job("a", 100.0, 200.0), job("b", 40.0, 60.0), job("c", 90.0, 60.0)]
>>> answer = plan(0.0, jobs, cluster, Policy(offer_resolution=1.0))
>>> [(verdict.job_id, verdict.outcome.value) for verdict in answer.verdicts]
[('a', 'promised'), ('b', 'promised'), ('c', 'rejected')]
>>> 65.0 <= answer.verdicts[2].earliest_deadline < 66.0  # `b` and `c` on both GPUs in turn
True
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from ef_slurm.planner.joint import ORDERS, JointReplan, keep_previous
from ef_slurm.planner.relocation import Moves
from ef_slurm.planner.share import least_share, soonest
from ef_slurm.planner.timeline.curve import least_gpu_time
from ef_slurm.planner.timeline.reservation_table import ReservationTable
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS
from ef_slurm.planner.timeline.task import Task


class Promises:
    """The jobs with a promise and their plans: what newcomers are judged beside, one by one.

    Args:
        tasks: those with a promise. Newcomers that are admitted join them.
        table: their plans, and nobody else's. Replaced or changed only when one is admitted.
        now: the present, seconds.

    `rearranged` says whether plans were changed for a newcomer: that may let in somebody who was
    refused before. What only takes from what is free lets in nobody.
    """

    def __init__(self, tasks: list[Task], table: ReservationTable, now: float) -> None:
        self.tasks = tasks
        self.table = table
        self.rearranged = False
        self._now = now
        self._others: list[Task] | None = None
        self._moves: Moves | None = None
        self._replans: tuple[JointReplan, ...] = ()

    def admit(self, newcomer: Task, *, jointly: bool = True) -> bool:
        """Promise the newcomer its deadline, if a complete plan is found.

        Args:
            newcomer: the job to judge.
            jointly: whether all plans may be made anew for it.
        """
        now, table = self._now, self.table
        if not feasible_alone(newcomer, now, newcomer.deadline):
            return False
        plan = least_share(newcomer, table, now, newcomer.deadline)
        if plan is not None:
            table.put(newcomer, plan, plan[-1].end)
            return self._joined(newcomer, table, rearranged=False)
        if self._others is None:
            # Until somebody is admitted they are the same for all who ask.
            self._others = sorted(self.tasks, key=lambda task: task.order)
            self._replans = tuple(
                JointReplan(self._others, order, table.blank()) for order in ORDERS
            )
        others = self._others
        if self._moves is None:
            self._moves = Moves(others, table, now)
        if self._moves.admit(newcomer):
            return self._joined(newcomer, table, rearranged=True)
        # A count is cheaper than all plans made anew, but not than a look at who could move.
        if not jointly or lacks_gpu_time(newcomer, others, table, now):
            return False
        for replan_in_order in self._replans:
            fresh = replan_in_order.with_newcomer(newcomer, now)
            if fresh is not None:
                keep_previous(others, table, fresh, now)
                return self._joined(newcomer, fresh, rearranged=True)
        return False

    def _joined(self, newcomer: Task, table: ReservationTable, *, rearranged: bool) -> bool:
        self.rearranged |= rearranged
        self.tasks.append(newcomer)
        self.table = table
        self._others = self._moves = None
        return True


def feasible_alone(task: Task, now: float, deadline: float) -> bool:
    """Whether a job would finish by `deadline` with an empty cluster to itself."""
    begin = task.earliest(now)
    return any(
        begin + task.least_overhead(size.gpus, size.gpu_type, now) + task.job.iterations / size.rate
        <= min(deadline, begin + task.longest) + EDGE_SECONDS
        for size in task.sizes
    )


def lacks_gpu_time(
    newcomer: Task, others: Iterable[Task], table: ReservationTable, now: float
) -> bool:
    """Whether a count of GPU time already shows that no plan exists.

    By the newcomer's deadline, each job due before must have had all of its GPU time, at its
    cheapest; each job due later at least what its fastest size cannot do afterwards. The count
    leaves overheads and blocks out, so it never says yes to what a plan could do.
    """
    end = newcomer.deadline
    width = sum(timetable.width for timetable in table.timetables.values())
    gpu_seconds = width * (end - now) * (1 + 1e-9) + EDGE_SECONDS  # never short by rounding
    for task in (newcomer, *others):
        left, seconds = task.job.iterations, task.deadline - now
        if task.deadline > end:
            left -= task.corners[-1][0] * (task.deadline - end)
            seconds = end - now
        needed = least_gpu_time(task.corners, left, seconds + EDGE_SECONDS)
        if task is newcomer or needed < math.inf:  # a job at risk may be impossible
            gpu_seconds -= needed
        if gpu_seconds < 0:
            return True
    return False


class Trial:
    """Whether `Promises.admit` would say yes to a newcomer, its steps in the same order.

    Nothing is changed by asking.

    Args:
        newcomer: the job to ask about.
        tasks: those with a promise.
        table: their plans, and nobody else's.
        now: the present, seconds.
    """

    def __init__(
        self, newcomer: Task, tasks: Iterable[Task], table: ReservationTable, now: float
    ) -> None:
        self._trial = replace(newcomer)
        self._others = sorted(tasks, key=lambda task: task.order)
        self._table = table
        self._now = now
        self._replans = [
            JointReplan(self._others, order, table.blank()) for order in reversed(ORDERS)
        ]
        self._moves = Moves(self._others, table, now)
        self._counted = math.inf  # from here on counting GPU time rules nothing out

    def admits(self, deadline: float) -> bool:
        """Whether it could be promised `deadline`, grace included."""
        trial, table, now = self._trial, self._table, self._now
        trial.move_deadline(deadline)
        if not feasible_alone(trial, now, deadline):
            return False
        if least_share(trial, table, now, deadline) is not None:
            return True
        if deadline < self._counted:
            if lacks_gpu_time(trial, self._others, table, now):
                return False
            self._counted = deadline
        return self._moves.admit(trial, only_ask=True) or any(
            replan.fits(trial, now) for replan in self._replans
        )


def earliest_deadline(
    newcomer: Task,
    tasks: list[Task],
    table: ReservationTable,
    now: float,
    resolution: float,
    not_before: float = -math.inf,
) -> float | None:
    """The earliest deadline, to within `resolution` seconds, that `admit` says yes to.

    One resolution earlier it says no. The search halves the time between the deadline asked for
    and the finish beside the others, which is always admitted.

    Args:
        not_before: no earlier one is offered (grace included): the job is not worth it before.

    Returns:
        The deadline, grace not included; None when none can be promised at all.
    """
    alone = soonest(newcomer, table, now)
    if alone is None or not math.isfinite(alone[-1].end):
        return None
    trial = Trial(newcomer, tasks, table, now)
    grace = newcomer.deadline - newcomer.soft_deadline
    if not_before > newcomer.deadline and trial.admits(not_before):
        return not_before - grace
    asked = max(newcomer.deadline, not_before)
    low, high = asked, alone[-1].end
    while high - low > resolution:
        middle = (low + high) / 2
        if trial.admits(middle):
            high = middle
        else:
            low = middle
    # Yes and no may alternate: the offer stands only if one whole resolution earlier it is no.
    while high - low < resolution and high - resolution > asked:
        low = high - resolution
        if trial.admits(low):
            high, low = low, high
    return high - grace
