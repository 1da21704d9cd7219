"""Limits: what the jobs of an owner or an account, and whoever else shares a budget, use at a time.

A limit that names neither owner nor account counts everybody together. Like the timetable, a limit
is kept at every moment of every plan, not only now.

>>> from ef_slurm.model import Job, Limit, ThroughputCurve
>>> job = Job("1", 0.0, 1.0, (("gpu", ThroughputCurve.of({1: 1.0})),), deadline=9.0, owner="ann")
>>> LimitBook((Limit(8, owner="ann"), Limit(2, account="physics"))).most(job)
8
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ef_slurm.model import Budget, Charge, Job, Limit, Schedule
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS
from ef_slurm.planner.timeline.task import Task
from ef_slurm.planner.timeline.usage import UsageProfile

_EVERY_GPU = Charge("", per_gpu=1.0)
_ROUNDING = 1e-6


class LimitBook:
    """How much of each limit the plans use, and when.

    Args:
        limits: of owners and accounts.
        budgets: what jobs with a charge on them may use together.
    """

    def __init__(self, limits: Sequence[Limit], budgets: Sequence[Budget] = ()) -> None:
        self._limits = tuple(limits)
        self._budgets = tuple(budgets)
        self._most = (
            *(float(limit.max_gpus) for limit in limits),
            *(budget.most for budget in budgets),
        )
        self._named = {
            budget.name: len(self._limits) + place for place, budget in enumerate(budgets)
        }
        self._uses = tuple(UsageProfile() for _ in self._most)
        for budget in budgets:
            for until, amount in budget.taken:
                self._uses[self._named[budget.name]].add("", -math.inf, until, amount)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._most)

    def blank(self) -> LimitBook:
        """The same limits, not used by any plan."""
        return LimitBook(self._limits, self._budgets)

    def copy(self) -> LimitBook:
        """The same limits and uses, to be changed on their own."""
        twin = LimitBook(self._limits, self._budgets)
        twin._uses = tuple(uses.copy() for uses in self._uses)
        return twin

    def _of(self, job: Job) -> list[tuple[int, Charge]]:
        """The limits that count a job, by place, and what it uses of each."""
        found = [
            (place, _EVERY_GPU)
            for place, limit in enumerate(self._limits)
            if limit.owner in (None, job.owner) and limit.account in (None, job.account)
        ]
        for charge in job.charges if self._named else ():
            place = self._named.get(charge.budget)
            if place is not None:
                found.append((place, charge))
        return found

    def most(self, job: Job) -> int | None:
        """The largest share that the limits ever allow a job; None for any."""
        return self.least_limit(job)[0]

    def least_limit(self, job: Job) -> tuple[int | None, str]:
        """The same, and the name of the budget that says so; "" for a limit of ours, or none."""
        if not self._most:
            return None, ""
        found = [
            (max(0, math.floor((left + _ROUNDING) / charge.per_gpu)), self._name(place))
            if left >= 0
            else (0, self._name(place))
            for place, charge in self._of(job)
            for left in (self._most[place] - charge.per_job - charge.per_node,)
            if left < 0 or (charge.per_gpu and charge.gpu_type is None)
        ]
        return min(found, default=(None, ""), key=lambda one: one[0] or 0)

    def _name(self, place: int) -> str:
        ours = len(self._limits)
        return "" if place < ours else self._budgets[place - ours].name

    def put(self, task: Task, schedule: Schedule) -> None:
        """Count a plan."""
        for place, charge in self._of(task.job) if self._most else ():
            for one in schedule:
                amount = _amount(charge, task, one.gpus, one.gpu_type)
                if amount and one.start < one.end:
                    self._uses[place].add(task.id, one.start, one.end, amount)

    def remove(self, task: Task) -> None:
        """Count a job's plan no longer."""
        for place, _ in self._of(task.job) if self._most else ():
            self._uses[place].remove(task.id)

    def allow(self, task: Task, start: float, end: float, gpus: int, gpu_type: str) -> bool:
        """Whether a job may have `gpus` more from `start` to `end`."""
        return not self._most or self.blocked_until(task, start, end, gpus, gpu_type) is None

    def blocked_until(
        self, task: Task, start: float, end: float, gpus: int, gpu_type: str
    ) -> float | None:
        """When to try again if a limit forbids `gpus` from `start` to `end`; None if none does."""
        blocking = self._blocking(task, start, end, gpus, gpu_type)
        return None if blocking is None else blocking[1]

    def in_the_way(self, task: Task, schedule: Schedule) -> str | None:
        """The name of a limit that forbids a plan ("" for one of ours); None if none does."""
        for one in schedule if self._most else ():
            blocking = self._blocking(task, one.start, one.end, one.gpus, one.gpu_type)
            if blocking is not None:
                return self._name(blocking[0])
        return None

    def _blocking(
        self, task: Task, start: float, end: float, gpus: int, gpu_type: str
    ) -> tuple[int, float] | None:
        """A limit that is in the way, by place, and when to try again."""
        for place, charge in self._of(task.job) if self._most else ():
            amount = _amount(charge, task, gpus, gpu_type)
            if not amount:
                continue
            uses = self._uses[place].without(task.id)
            peak = uses.peak(start + EDGE_SECONDS, end - EDGE_SECONDS)
            if peak > self._most[place] - amount + _ROUNDING:
                return place, uses.next_fall(start + EDGE_SECONDS)
        return None


def _amount(charge: Charge, task: Task, gpus: int, gpu_type: str) -> float:
    """What a job on so many GPUs of a type uses of a limit."""
    if charge.gpu_type not in (None, gpu_type):
        return 0.0
    nodes = -(-gpus // task.spaces[gpu_type].per_node) if charge.per_node else 0
    return charge.of(gpus, nodes)
