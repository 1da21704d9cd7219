"""Earliest deadline first, as the paper's baseline (section 6.1).

At every event all unfinished jobs stand in deadline order, late ones first and best-effort jobs
last; each takes the largest size of its curve that is still free, even past the curve's peak.
Preemptive and elastic; nobody is turned away. The artifact works in rounds of 60 s or more and
charges EDF no overhead; here every event is a round, and the chosen overhead is charged to all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ef_slurm.simulator.policies.base import ClusterSetup, Round
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob


def deadline_order(run: SimulatedJob) -> tuple[float, float, str]:
    """Sort key: deadline, then arrival."""
    deadline = math.inf if run.job.deadline is None else run.job.deadline
    return deadline, run.job.submitted, run.job.id


def largest_size(run: SimulatedJob, free: int) -> int:
    """The largest size of the job's curve that is at most `free`; 0 for none."""
    return max((gpus for gpus, _ in run.job.curve.points if gpus <= free), default=0)


class Edf:
    """See the module."""

    name = "edf"
    judges = False
    work_conserving = True
    fixed_size = False

    def __init__(self, setting: ClusterSetup) -> None:
        self._gpus = setting.gpus

    def decide(self, now: float, runs: Sequence[SimulatedJob]) -> Round:  # noqa: ARG002 - time plays no part
        """See `SchedulingPolicy`."""
        free = self._gpus
        grants = {}
        for run in sorted(runs, key=deadline_order):
            size = largest_size(run, free)
            if size:
                grants[run.job.id] = Grant(size)
                free -= size
        return Round(grants)
