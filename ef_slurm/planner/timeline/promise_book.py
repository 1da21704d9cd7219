"""How much GPU time the promises of an owner or an account take together.

>>> from ef_slurm.model import Cluster, Job, PromiseLimit, ThroughputCurve
>>> from ef_slurm.planner.timeline.gpu_index import index_spaces
>>> from ef_slurm.planner.timeline.task import make_task
>>> spaces = index_spaces(Cluster.uniform(nodes=1, gpus_per_node=1))
>>> curve = ThroughputCurve.of({1: 1.0})
>>> def task(name, hours):
...     job = Job(name, 0.0, 3600.0 * hours, (("gpu", curve),), deadline=9e9, owner="ann")
...     return make_task(job, spaces)
>>> book = PromiseBook((PromiseLimit(10.0, owner="ann"),), [task("1", 6.0)], now=0.0)
>>> book.exceeded(task("2", 3.0)), book.exceeded(task("3", 5.0))
(None, Exceeded(gpu_hours=11.0, limit=10.0))
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ef_slurm.model import Job, PromiseLimit
from ef_slurm.planner.timeline.curve import least_gpu_time
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS
from ef_slurm.planner.timeline.task import Task


class Exceeded(NamedTuple):
    """A promise would take the GPU-hours of those that it counts with beyond their limit."""

    gpu_hours: float
    limit: float


class PromiseBook:
    """What of each limit is promised.

    Args:
        limits: of the site.
        promised: the jobs with a promise.
        now: the present, seconds.
    """

    def __init__(
        self, limits: Sequence[PromiseLimit], promised: Iterable[Task], now: float
    ) -> None:
        self._now = now
        self._limits: dict[tuple[str | None, str | None], float] = {}
        for limit in limits:
            key = (limit.owner, limit.account)
            self._limits[key] = min(limit.gpu_hours, self._limits.get(key, math.inf))
        self._hours: defaultdict[tuple[str | None, str | None], float] = defaultdict(float)
        for task in promised if self._limits else ():
            self.add(task)

    def add(self, task: Task) -> None:
        """Count a promise that was given."""
        for key in self._of(task.job):
            self._hours[key] += self._needed(task)

    def exceeded(self, task: Task) -> Exceeded | None:
        """The limit that a promise to this job would exceed; None if there is none."""
        for key in self._of(task.job):
            hours, limit = self._hours[key] + self._needed(task), self._limits[key]
            if hours > limit * (1 + 1e-9):
                return Exceeded(hours, limit)
        return None

    def _of(self, job: Job) -> Iterator[tuple[str | None, str | None]]:
        if not self._limits:
            return
        for key in (
            (job.owner, job.account),
            (job.owner, None),
            (None, job.account),
            (None, None),
        ):
            if key in self._limits:
                yield key

    def _needed(self, task: Task) -> float:
        """GPU-hours that the rest of a job takes at least; at its fastest where it is late."""
        iterations = task.job.iterations
        seconds = task.deadline - self._now + EDGE_SECONDS
        needed = least_gpu_time(task.corners, iterations, seconds)
        if math.isinf(needed):
            rate, gpus = task.corners[-1]
            needed = iterations / rate * gpus if rate > 0 else 0.0
        return needed / 3600.0
