"""Limits: the most GPUs that the jobs of an owner or an account may hold at a time.

A limit that names neither counts everybody together. Like the timetable, a limit is kept at every
moment of every plan, not only now.

>>> from ef_slurm.model import Job, Limit, ThroughputCurve
>>> job = Job("1", 0.0, 1.0, (("gpu", ThroughputCurve.of({1: 1.0})),), deadline=9.0, owner="ann")
>>> LimitBook((Limit(8, owner="ann"), Limit(2, account="physics"))).most(job)
8
"""

from __future__ import annotations

from collections.abc import Sequence

from ef_slurm.model import Job, Limit, Reservation, Schedule
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS
from ef_slurm.planner.timeline.task import Task


class LimitBook:
    """How much of each limit the plans use, and when."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = tuple(limits)
        self._uses: tuple[list[tuple[str, Reservation]], ...] = tuple([] for _ in limits)

    def blank(self) -> LimitBook:
        """The same limits, not used."""
        return LimitBook(self._limits)

    def copy(self) -> LimitBook:
        """The same limits and uses, to be changed on their own."""
        twin = LimitBook(self._limits)
        twin._uses = tuple(uses.copy() for uses in self._uses)
        return twin

    def _of(self, job: Job) -> list[int]:
        return [
            index
            for index, limit in enumerate(self._limits)
            if limit.owner in (None, job.owner) and limit.account in (None, job.account)
        ]

    def most(self, job: Job) -> int | None:
        """The largest share that the limits ever allow a job; None for any."""
        if not self._limits:
            return None
        return min((self._limits[index].max_gpus for index in self._of(job)), default=None)

    def put(self, task: Task, schedule: Schedule) -> None:
        """Count a plan."""
        for index in self._of(task.job) if self._limits else ():
            self._uses[index].extend((task.id, reservation) for reservation in schedule)

    def remove(self, task: Task) -> None:
        """Count a job's plan no longer."""
        for index in self._of(task.job) if self._limits else ():
            uses = self._uses[index]
            uses[:] = [use for use in uses if use[0] != task.id]

    def allow(self, task: Task, start: float, end: float, gpus: int) -> bool:
        """Whether a job may have `gpus` more from `start` to `end`."""
        return not self._limits or self.blocked_until(task, start, end, gpus) is None

    def blocked_until(self, task: Task, start: float, end: float, gpus: int) -> float | None:
        """When to try again if a limit forbids `gpus` from `start` to `end`; None if none does."""
        for index in self._of(task.job) if self._limits else ():
            uses = [
                use
                for job_id, use in self._uses[index]
                if job_id != task.id
                and use.start < end - EDGE_SECONDS
                and start + EDGE_SECONDS < use.end
            ]
            left = self._limits[index].max_gpus - gpus
            # What is held can only grow where somebody starts: those moments are enough.
            moments = [start, *(use.start for use in uses if use.start > start)]
            if any(sum(u.gpus for u in uses if u.start <= at < u.end) > left for at in moments):
                return min((use.end for use in uses), default=end)
        return None
