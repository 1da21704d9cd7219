"""Plain Slurm: first in, first out with backfill, at the requested number of GPUs.

What every site has today. Nobody is preempted and nothing is elastic. When the first job in the
queue does not fit, it gets a reservation at the earliest moment at which enough running jobs reach
their time limits; a later job may overtake it if it fits now and either ends by then or leaves the
reservation's GPUs alone (EASY backfill; Slurm's sched/backfill, which reserves for more than the
first job, holds back a little more). The time limit is the trace's, else the job's own run time:
perfect estimates. What an account may hold at a time (GrpTRES) counts as for elasticflow. Any free
GPUs will do: nodes do not fragment.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from ef_slurm.simulator.policies.base import ClusterSetup, CountsGpus, Round
from ef_slurm.simulator.policies.fixed import requested
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob


class Slurm(CountsGpus):
    """See the module."""

    name = "slurm"
    judges = False
    work_conserving = False
    fixed_size = True

    def __init__(self, setup: ClusterSetup) -> None:
        super().__init__(setup)
        self._start_cost = setup.overhead.start
        self._most = {
            limit.account: limit.max_gpus for limit in setup.policy.limits if limit.owner is None
        }

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        grants = {job.spec.id: Grant(job.gpus) for job in jobs if job.gpus}
        free = self._gpus - sum(grant.gpus for grant in grants.values())
        queue = [job for job in jobs if not job.gpus and requested(job) <= self._gpus]
        ends = [(job.since + self._limit(job), job.gpus) for job in jobs if job.gpus]
        held = Counter({job.spec.account: 0 for job in jobs})
        for job in jobs:
            held[job.spec.account] += job.gpus
        reserved_from, spare = 0.0, 0
        blocked = False
        for job in queue:
            if not free:
                break
            size = requested(job)
            account = job.spec.account
            if held[account] + size > self._most.get(account, math.inf):
                continue  # it holds nobody up: Slurm passes over whom a limit keeps back
            if blocked:
                ends_in_time = now + self._limit(job) <= reserved_from
                if size > free or not (ends_in_time or size <= spare):
                    continue
                if not ends_in_time:
                    spare -= size
            elif size > free:
                blocked = True
                reserved_from, spare = _reservation(size, free, ends)
                continue
            grants[job.spec.id] = Grant(size)
            held[account] += size
            free -= size
            ends.append((now + self._limit(job), size))
        return Round(grants)

    def _limit(self, job: SimulatedJob) -> float:
        """Seconds after its start at which the job is taken to end."""
        limit = job.spec.time_limit
        if limit is None:
            limit = job.spec.iterations / job.rate_at(requested(job)) + self._start_cost
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
