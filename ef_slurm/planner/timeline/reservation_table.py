"""The table of plans: what every job is to have, on the timetables of all GPU types.

It is always consistent: no two reservations overlap, and no limit is passed. Planning means to make
another consistent table and to adopt it only if it is complete.

>>> from ef_slurm.model import Cluster, Job, ThroughputCurve
>>> from ef_slurm.planner.timeline.gpu_index import index_spaces
>>> from ef_slurm.planner.timeline.task import make_task
>>> spaces = index_spaces(Cluster.uniform(nodes=1, gpus_per_node=2))
>>> curve = ThroughputCurve.of({1: 1.0, 2: 1.5})
>>> task = make_task(Job("a", 0.0, 60.0, (("gpu", curve),), deadline=90.0), spaces)
>>> table = ReservationTable.of(spaces, LimitBook(()), now=0.0)
>>> table.put(task, (Reservation(0.0, 60.0, gpus=1, gpu_type="gpu"),), finish=60.0)
>>> table.is_free(task, [Reservation(30.0, 70.0, gpus=2, gpu_type="gpu")])
False
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ef_slurm.model import Reservation, Schedule
from ef_slurm.planner.timeline.gpu_index import GpuIndexSpace
from ef_slurm.planner.timeline.limits import LimitBook
from ef_slurm.planner.timeline.task import Task
from ef_slurm.planner.timeline.timetable import Timetable


class ReservationTable:
    """Schedules by job id, the timetables they stand on, and the limits they count against."""

    def __init__(
        self,
        spaces: dict[str, GpuIndexSpace],
        timetables: dict[str, Timetable],
        limits: LimitBook,
    ) -> None:
        self.spaces = spaces
        self.timetables = timetables
        self.limits = limits
        self.plans: dict[str, Schedule] = {}
        self.finishes: dict[str, float] = {}

    @classmethod
    def of(
        cls,
        spaces: dict[str, GpuIndexSpace],
        limits: LimitBook,
        now: float,
        committed: Iterable[Schedule] = (),
        heads: Iterable[Reservation] = (),
    ) -> ReservationTable:
        """The empty table of a cluster.

        Args:
            spaces: its GPUs by type.
            limits: of owners and accounts.
            now: the present, seconds.
            committed: plans in hand. They are not entered: they say which GPUs to spare where an
                outage takes some of a node, no matter which (`Timetable`).
            heads: blocks that jobs stand on and that others leave the first node of where they can:
                such a job is made smaller on them for next to nothing.
        """
        used: dict[str, list[Reservation]] = {gpu_type: [] for gpu_type in spaces}
        for schedule in committed:
            for reservation in schedule:
                if reservation.gpu_type in used:
                    used[reservation.gpu_type].append(reservation)
        first: dict[str, set[int]] = {gpu_type: set() for gpu_type in spaces}
        for block in heads:
            space = spaces.get(block.gpu_type)
            if space is not None and block.gpus >= space.per_node:
                first[block.gpu_type].add(block.first_gpu)
        timetables = {
            gpu_type: Timetable(space.group, now, used[gpu_type], first[gpu_type])
            for gpu_type, space in spaces.items()
        }
        return cls(spaces, timetables, limits)

    def blank(self) -> ReservationTable:
        """An empty table of the same cluster."""
        timetables = {gpu_type: one.blank() for gpu_type, one in self.timetables.items()}
        return ReservationTable(self.spaces, timetables, self.limits.blank())

    def copy(self) -> ReservationTable:
        """The same plans, to be changed on their own."""
        timetables = {gpu_type: one.copy() for gpu_type, one in self.timetables.items()}
        twin = ReservationTable(self.spaces, timetables, self.limits.copy())
        twin.plans, twin.finishes = self.plans.copy(), self.finishes.copy()
        return twin

    def without_limits(self) -> ReservationTable:
        """The same plans without limits, to be looked at only."""
        twin = ReservationTable(self.spaces, self.timetables, LimitBook(()))
        twin.plans, twin.finishes = self.plans, self.finishes
        return twin

    def put(self, task: Task, schedule: Schedule, finish: float) -> None:
        """Enter a plan that `is_free` allows, and when it finishes the job."""
        self.plans[task.id] = schedule
        self.finishes[task.id] = finish
        for reservation in schedule:
            self.timetables[reservation.gpu_type].put(task.id, reservation)
        if self.limits:
            self.limits.put(task, schedule)

    def remove(self, task: Task) -> tuple[Schedule, float]:
        """Take a job's plan out; returns it and its finish."""
        schedule = self.plans.pop(task.id, ())
        for gpu_type in {reservation.gpu_type for reservation in schedule}:
            self.timetables[gpu_type].remove(task.id)
        self.limits.remove(task)
        return schedule, self.finishes.pop(task.id, math.inf)

    def is_free(self, task: Task, schedule: Iterable[Reservation]) -> bool:
        """Whether a plan could be entered."""
        for one in schedule:  # a loop: asked of every plan in every round
            if not (
                task.may_use(one.gpu_type, one.first_gpu, one.gpus)
                and self.timetables[one.gpu_type].is_free(one)
                and self.limits.allow(task, one.start, one.end, one.gpus, one.gpu_type)
            ):
                return False
        return True

    def now_on(self, task: Task, now: float) -> Reservation | None:
        """What the plan gives a job at `now`, or None."""
        plan = self.plans.get(task.id)
        return plan[0] if plan and plan[0].start <= now else None

    def stays(self, task: Task, now: float) -> bool:
        """Whether the plan leaves a job at this moment where it is."""
        return task.stays(self.now_on(task, now))
