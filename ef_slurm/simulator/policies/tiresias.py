"""Tiresias, discretised two-dimensional least attained service (Gu et al., NSDI 2019).

Three queues by attained service (seconds times GPUs: below 3,250, below 7,200, the rest), as in the
published comparison. A job only moves down. Queues are served in order, inside a queue running jobs
first, then first come, first served; a job that does not fit is passed over (backfill). Fixed
sizes, preemptive. Tiresias' placement by model skew and its promotion of starving jobs are left
out, as in that comparison.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ef_slurm.simulator.policies.base import ClusterSetup, CountsGpus, Round
from ef_slurm.simulator.policies.fixed import arrival_order, requested, take_in_order
from ef_slurm.simulator.simulated_job import SimulatedJob

THRESHOLDS = (3250.0, 7200.0)
_ROUNDING = 1e-6


class Tiresias(CountsGpus):
    """See the module."""

    name = "tiresias"
    judges = False
    work_conserving = True
    fixed_size = True

    def __init__(self, setup: ClusterSetup) -> None:
        super().__init__(setup)
        self._service: dict[str, float] = {}
        self._last = 0.0

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        self._service = {
            job.spec.id: self._service.get(job.spec.id, 0.0) + job.gpus * (now - self._last)
            for job in jobs
        }
        self._last = now
        order = sorted(jobs, key=lambda job: (self._queue(job), job.gpus == 0, arrival_order(job)))
        grants = take_in_order(order, self._gpus)
        changes = (
            now + (self._threshold(job) - self._service[job.spec.id]) / requested(job)
            for job in jobs
            if job.spec.id in grants
        )
        return Round(grants, next_change=min(changes, default=math.inf))

    def _queue(self, job: SimulatedJob) -> int:
        return sum(self._service[job.spec.id] >= limit - _ROUNDING for limit in THRESHOLDS)

    def _threshold(self, job: SimulatedJob) -> float:
        queue = self._queue(job)
        return THRESHOLDS[queue] if queue < len(THRESHOLDS) else math.inf
