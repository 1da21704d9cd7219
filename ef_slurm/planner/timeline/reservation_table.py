"""The book of plans: what every job is to have, on the timetables of all GPU types.

A ledger is always consistent: no two plans overlap, and no limit is passed. Planning means to make
another consistent ledger and to adopt it only if it is complete.

>>> from ef_slurm.model import Cluster, Job, ThroughputCurve
>>> from ef_slurm.planner.timeline.gpu_index import lines_of
>>> from ef_slurm.planner.timeline.task import make_task
>>> lines = lines_of(Cluster.uniform(nodes=1, gpus_per_node=2))
>>> curve = ThroughputCurve.of({1: 1.0, 2: 1.5})
>>> task = make_task(Job("a", 0.0, 60.0, (("gpu", curve),), deadline=90.0), lines)
>>> ledger = Ledger.of(lines, LimitBook(()), now=0.0)
>>> ledger.put(task, (Stretch(0.0, 60.0, first=0, gpus=1, gpu_type="gpu"),), finish=60.0)
>>> ledger.is_free(task, [Stretch(30.0, 70.0, first=0, gpus=2, gpu_type="gpu")])
False
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ef_slurm.planner.timeline.gpu_index import Line
from ef_slurm.planner.timeline.limits import LimitBook
from ef_slurm.planner.timeline.task import Stretch, Stretches, Task
from ef_slurm.planner.timeline.timetable import Rectangle, Timetable


class Ledger:
    """Plans in hand by job id, the timetables they stand on, and the limits they count against."""

    def __init__(
        self, lines: dict[str, Line], tables: dict[str, Timetable], limits: LimitBook
    ) -> None:
        self.lines = lines
        self.tables = tables
        self.limits = limits
        self.plans: dict[str, Stretches] = {}
        self.finishes: dict[str, float] = {}

    @classmethod
    def of(
        cls,
        lines: dict[str, Line],
        limits: LimitBook,
        now: float,
        plans: Iterable[tuple[str, Stretches]] = (),
    ) -> Ledger:
        """The empty ledger of a cluster; `plans` in hand say which GPUs to spare (`Timetable`)."""
        used: dict[str, list[Rectangle]] = {gpu_type: [] for gpu_type in lines}
        for key, stretches in plans:
            for start, end, first, gpus, gpu_type in stretches:
                if gpu_type in used:
                    used[gpu_type].append(Rectangle(start, end, first, gpus, key))
        tables = {
            gpu_type: Timetable(line.group, now, used[gpu_type]) for gpu_type, line in lines.items()
        }
        return cls(lines, tables, limits)

    def blank(self) -> Ledger:
        """An empty ledger of the same cluster."""
        tables = {gpu_type: table.blank() for gpu_type, table in self.tables.items()}
        return Ledger(self.lines, tables, self.limits.blank())

    def copy(self) -> Ledger:
        """The same plans, to be changed on their own."""
        tables = {gpu_type: table.copy() for gpu_type, table in self.tables.items()}
        twin = Ledger(self.lines, tables, self.limits.copy())
        twin.plans, twin.finishes = self.plans.copy(), self.finishes.copy()
        return twin

    def put(self, task: Task, stretches: Stretches, finish: float) -> None:
        """Enter a plan that `is_free` allows."""
        self.plans[task.id] = stretches
        self.finishes[task.id] = finish
        for start, end, first, gpus, gpu_type in stretches:
            self.tables[gpu_type].put(task.id, start, end, first, gpus)
        self.limits.put(task, stretches)

    def remove(self, task: Task) -> tuple[Stretches, float]:
        """Take a job's plan out and return it."""
        stretches = self.plans.pop(task.id, ())
        for gpu_type in {stretch.gpu_type for stretch in stretches}:
            self.tables[gpu_type].remove(task.id)
        self.limits.remove(task)
        return stretches, self.finishes.pop(task.id, math.inf)

    def is_free(self, task: Task, stretches: Iterable[Stretch]) -> bool:
        """Whether a plan could be entered."""
        return all(
            self.tables[gpu_type].is_free(start, end, first, gpus)
            and self.limits.allow(task, start, end, gpus)
            for start, end, first, gpus, gpu_type in stretches
        )

    def now_on(self, task: Task, now: float) -> Stretch | None:
        """The stretch that a job is on at `now`, or None."""
        plan = self.plans.get(task.id)
        return plan[0] if plan and plan[0].start <= now else None

    def stays(self, task: Task, now: float) -> bool:
        """Whether the plan leaves a job at this moment where it is."""
        return task.stays(self.now_on(task, now))
