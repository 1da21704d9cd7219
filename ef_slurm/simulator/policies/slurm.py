"""Plain Slurm: first in, first out with backfill, at the requested number of GPUs.

What every site has today. Nobody is preempted and nothing is elastic. When the first job in the
queue does not fit, it gets a reservation at the earliest moment at which enough running jobs reach
their time limits; a later job may overtake it if it fits now and either ends by then or leaves the
reservation's GPUs alone (EASY backfill; Slurm's sched/backfill, which reserves for more than the
first job, holds back a little more). The time limit is the trace's, else the job's own run time:
perfect estimates. Any free GPUs will do: nodes do not fragment.
"""

from __future__ import annotations

from collections.abc import Sequence

from ef_slurm.simulator.policies.base import ClusterSetup, Round
from ef_slurm.simulator.policies.fixed import requested
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob


class Slurm:
    """See the module."""

    name = "slurm"
    judges = False
    work_conserving = False
    fixed_size = True

    def __init__(self, setting: ClusterSetup) -> None:
        self._gpus = setting.gpus
        self._start_cost = setting.overhead.start

    def decide(self, now: float, runs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        grants = {run.job.id: Grant(run.gpus) for run in runs if run.gpus}
        free = self._gpus - sum(grant.gpus for grant in grants.values())
        queue = [run for run in runs if not run.gpus and requested(run) <= self._gpus]
        ends = [(run.since + self._limit(run), run.gpus) for run in runs if run.gpus]
        reserved_from, spare = 0.0, 0
        blocked = False
        for run in queue:
            if not free:
                break
            size = requested(run)
            if blocked:
                ends_in_time = now + self._limit(run) <= reserved_from
                if size > free or not (ends_in_time or size <= spare):
                    continue
                if not ends_in_time:
                    spare -= size
            elif size > free:
                blocked = True
                reserved_from, spare = _reservation(size, free, ends)
                continue
            grants[run.job.id] = Grant(size)
            free -= size
            ends.append((now + self._limit(run), size))
        return Round(grants)

    def _limit(self, run: SimulatedJob) -> float:
        """Seconds after its start at which the job is taken to end."""
        limit = run.job.time_limit
        if limit is None:
            limit = run.job.iterations / run.rate_at(requested(run)) + self._start_cost
        return limit


def _reservation(size: int, free: int, ends: Sequence[tuple[float, int]]) -> tuple[float, int]:
    """When `size` GPUs will be free, and how many more than that."""
    when = float("-inf")
    for end, gpus in sorted(ends):
        if free >= size:
            break
        free += gpus
        when = end
    return when, free - size
