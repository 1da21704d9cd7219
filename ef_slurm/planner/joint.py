"""All plans made anew: each job with its minimum satisfactory share, one after another.

What comes out depends on the order. In order of deadline, as the paper has it, most fit; in order
of the latest start that each could bear, large tight jobs do. An order is only a first guess at who
is hard to place. Where a large job is late because of a newcomer that asks for little, it is taken
before the newcomer and all is tried once more: so one large promise does not shut out many small
ones. For large newcomers that would not pay, and beside many jobs a verdict must not wait for it.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Iterable
from typing import Any

from ef_slurm.model import Schedule
from ef_slurm.planner.share import from_now, least_share
from ef_slurm.planner.timeline.curve import least_gpu_time
from ef_slurm.planner.timeline.reservation_table import ReservationTable
from ef_slurm.planner.timeline.task import Order, Task

_KEPT_TABLES = 16
"""Tables kept by a `JointReplan`."""

_LITTLE = 0.02
"""The part of the cluster's GPU time until its deadline that a newcomer asks for who is tried once
more."""

_LARGER = 10.0
"""So many times as much GPU time needs the late one."""

_MOST_BESIDE = 160
"""So many jobs have a promise at the most."""


def replan_jointly(
    newcomer: Task, others: list[Task], table: ReservationTable, now: float
) -> ReservationTable | None:
    """All plans anew, then as many of the old ones back as possible; None if somebody is late."""
    everybody = [*others, newcomer]
    for order in ORDERS:
        fresh = table.blank()
        if replan(sorted(everybody, key=order), fresh, now) is None:
            keep_previous(others, table, fresh, now)
            return fresh
    return None


def _by_deadline(task: Task) -> Order:
    return task.order


def _by_latest_start(task: Task) -> tuple[float, Order]:
    return (task.latest_start, task.order)


ORDERS: tuple[Callable[[Task], Any], ...] = (_by_deadline, _by_latest_start)


def replan(tasks: Iterable[Task], table: ReservationTable, now: float) -> Task | None:
    """Enter minimum satisfactory shares one after another.

    Returns:
        The first that cannot be in time, where it stops; None when everybody is.
    """
    for task in tasks:
        plan = _least_share_in_grace(task, table, now)
        if plan is not None:
            table.put(task, plan, plan[-1].end)
        elif task.deadline < math.inf:
            return task
        else:  # nothing ever frees what it needs: it was named at risk before
            table.put(task, (), math.inf)
    return None


def _least_share_in_grace(task: Task, table: ReservationTable, now: float) -> Schedule | None:
    """The least share that is in time; within its grace only where its own deadline fails."""
    if task.soft_deadline < task.deadline:
        plan = least_share(task, table, now, task.soft_deadline)
        if plan is not None:
            return plan
    return least_share(task, table, now, task.deadline)


def keep_previous(
    tasks: Iterable[Task], old: ReservationTable, new: ReservationTable, now: float
) -> None:
    """Give jobs in `new` their plans of `old` back where still free.

    Or at least the block that they stand on. Jobs that stand on most GPUs come last: they are the
    ones that make room.
    """

    def width(task: Task) -> tuple[int, Order]:
        return (task.current.gpus if task.current else 0, task.order)

    for task in sorted(tasks, key=width):
        previous = old.plans[task.id]
        if new.plans[task.id] == previous:
            continue
        fresh, finish = new.remove(task)
        if new.is_free(task, previous):
            new.put(task, previous, old.finishes[task.id])
            continue
        stay = _stay(task, new, now)
        if stay is not None:
            new.put(task, stay, stay[-1].end)
        else:
            new.put(task, fresh, finish)


def _stay(task: Task, table: ReservationTable, now: float) -> Schedule | None:
    """To the end on the present block, if that is in time."""
    current = task.current
    if current is None:
        return None
    for size in task.sizes:
        if size.gpus == current.gpus and size.gpu_type == current.gpu_type:
            reservation = from_now(task, table, now, size, task.deadline)
            if reservation is not None and task.stays(reservation):
                return (reservation,)
    return None


class JointReplan:
    """Whether a newcomer fits into all plans made anew in one order, asked many times.

    Whoever comes before the newcomer is planned the same for all who ask, so the table as it was
    before a newcomer's turn is kept: the last few of them, by the number of jobs in it.
    """

    def __init__(
        self,
        others: list[Task],
        order: Callable[[Task], Any],
        blank: ReservationTable,
    ) -> None:
        self._order = order
        self._others = sorted(others, key=order)
        self._keys = [order(task) for task in self._others]
        self._blank = blank
        self._kept: dict[int, ReservationTable] = {}  # the one used last comes last
        self._late: dict[tuple[str, int, Schedule], Task | None] = {}
        self._stuck = len(others)  # whose turn it is when planning fails without the newcomer

    def with_newcomer(self, newcomer: Task, now: float) -> ReservationTable | None:
        """The table with everybody in it, planned in this order; None if somebody is late."""
        turn = bisect(self._keys, self._order(newcomer))
        before = self._before(turn, now)
        if before is None:
            return None
        # The newcomer itself fails first, mostly: it is asked before anything is copied.
        plan = _least_share_in_grace(newcomer, before, now)
        if plan is None and newcomer.deadline < math.inf:
            return None
        table = before.copy()
        table.put(newcomer, plan or (), plan[-1].end if plan else math.inf)
        late = replan(self._others[turn:], table, now)
        return table if late is None else self._once_more(turn, before, newcomer, late, now)

    def fits(self, newcomer: Task, now: float) -> bool:
        """Whether `with_newcomer` would find a table; asked of one newcomer many times."""
        turn = bisect(self._keys, self._order(newcomer))
        before = self._before(turn, now)
        plan = None if before is None else _least_share_in_grace(newcomer, before, now)
        if before is None or plan is None:
            return False
        # Whatever deadline has led to it: with the same plan the others fare the same.
        key = newcomer.id, turn, plan
        if key not in self._late:
            table = before.copy()
            table.put(newcomer, plan, plan[-1].end)
            self._late[key] = replan(self._others[turn:], table, now)
        late = self._late[key]
        return late is None or self._once_more(turn, before, newcomer, late, now) is not None

    def _once_more(
        self, turn: int, before: ReservationTable, newcomer: Task, late: Task, now: float
    ) -> ReservationTable | None:
        """The table with the late one before the newcomer, if that is tried and does."""
        if not self._gives_way(newcomer, late, now):
            return None
        table = before.copy()
        rest = [late, newcomer, *(task for task in self._others[turn:] if task is not late)]
        return table if replan(rest, table, now) is None else None

    def _gives_way(self, newcomer: Task, late: Task, now: float) -> bool:
        """Whether the newcomer asks for little, beside the late one too."""
        if len(self._others) > _MOST_BESIDE:
            return False
        wanted, needed = (
            least_gpu_time(task.corners, task.job.iterations, task.deadline - now)
            for task in (newcomer, late)
        )
        width = sum(timetable.width for timetable in self._blank.timetables.values())
        little = wanted <= _LITTLE * width * (newcomer.deadline - now)
        return little and needed >= _LARGER * wanted

    def _before(self, turn: int, now: float) -> ReservationTable | None:
        """The table of the first `turn` jobs; None when they do not fit themselves."""
        if turn > self._stuck:
            return None
        # Go on from the fullest kept table that is not too full.
        planned = max((kept for kept in self._kept if kept <= turn), default=0)
        table = self._kept.pop(planned, self._blank)
        if planned:
            self._kept[planned] = table
        if planned < turn:
            table = table.copy()
            if replan(self._others[planned:turn], table, now) is not None:
                self._stuck = len(table.plans)
                return None
            self._kept[turn] = table
            if len(self._kept) > _KEPT_TABLES:
                del self._kept[next(iter(self._kept))]
        return table
