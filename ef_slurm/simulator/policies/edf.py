"""Earliest deadline first, as the paper's baseline (section 6.1).

At every event all unfinished jobs stand in deadline order, late ones first and best-effort jobs
last; each takes the largest size of its curve that is still free, even past the curve's peak.
Preemptive and elastic; nobody is turned away. The artifact works in rounds of 60 s or more and
charges EDF no overhead; here every event is a round, and the chosen overhead is charged to all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ef_slurm.simulator.policies.base import ClusterSetup, CountsGpus, Round
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob


def deadline_order(job: SimulatedJob) -> tuple[float, float, str]:
    """Sort key: deadline, then arrival."""
    deadline = math.inf if job.spec.deadline is None else job.spec.deadline
    return deadline, job.spec.submitted, job.spec.id


def largest_size(job: SimulatedJob, free: int) -> int:
    """The largest size of the job's curve that is at most `free`; 0 for none."""
    return max((gpus for gpus, _ in job.curve.points if gpus <= free), default=0)


class Edf(CountsGpus):
    """See the module."""

    name = "edf"
    judges = False
    work_conserving = True
    fixed_size = False

    def __init__(self, setup: ClusterSetup) -> None:
        super().__init__(setup)

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:  # noqa: ARG002 - time plays no part
        """See `SchedulingPolicy`."""
        free = self._gpus
        grants = {}
        for job in sorted(jobs, key=deadline_order):
            size = largest_size(job, free)
            if size:
                grants[job.spec.id] = Grant(size)
                free -= size
        return Round(grants)
