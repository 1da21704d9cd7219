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

from ef_slurm.simulator.policies.base import ClusterSetup, Round
from ef_slurm.simulator.policies.fixed import arrival_order, requested, take_in_order
from ef_slurm.simulator.simulated_job import SimulatedJob

THRESHOLDS = (3250.0, 7200.0)
_ROUNDING = 1e-6


class Tiresias:
    """See the module."""

    name = "tiresias"
    judges = False
    work_conserving = True
    fixed_size = True

    def __init__(self, setting: ClusterSetup) -> None:
        self._gpus = setting.gpus
        self._service: dict[str, float] = {}
        self._last = 0.0

    def decide(self, now: float, runs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        self._service = {
            run.job.id: self._service.get(run.job.id, 0.0) + run.gpus * (now - self._last)
            for run in runs
        }
        self._last = now
        order = sorted(runs, key=lambda run: (self._queue(run), run.gpus == 0, arrival_order(run)))
        grants = take_in_order(order, self._gpus)
        changes = (
            now + (self._threshold(run) - self._service[run.job.id]) / requested(run)
            for run in runs
            if run.job.id in grants
        )
        return Round(grants, next_change=min(changes, default=math.inf))

    def _queue(self, run: SimulatedJob) -> int:
        return sum(self._service[run.job.id] >= limit - _ROUNDING for limit in THRESHOLDS)

    def _threshold(self, run: SimulatedJob) -> float:
        queue = self._queue(run)
        return THRESHOLDS[queue] if queue < len(THRESHOLDS) else math.inf
