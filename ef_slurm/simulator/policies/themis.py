"""Themis' finish-time fairness (Mahajan et al., NSDI 2020), as in the published comparison.

In rounds of 60 s: the time shares that minimise the largest ratio of a job's projected finish
time to the finish time it would have alone on 1/n of the cluster (n jobs present), found by
bisection; then the jobs go in order of share over the share of time that they had so far, each with
its requested size while it fits. Themis' auctions with partial bids are replaced by this exact
optimum, as in that comparison. Deadlines play no part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ef_slurm.simulator.policies.base import ClusterSetup, CountsGpus, Round
from ef_slurm.simulator.policies.fixed import requested, take_in_order
from ef_slurm.simulator.simulated_job import SimulatedJob

ROUND_SECONDS = 60.0
_BISECTIONS = 40

Vector = NDArray[np.float64]


class Themis(CountsGpus):
    """See the module."""

    name = "themis"
    judges = False
    work_conserving = True
    fixed_size = True

    def __init__(self, setup: ClusterSetup) -> None:
        super().__init__(setup)
        self._held: dict[str, float] = {}
        self._last = 0.0
        self._round_end = float("-inf")

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        self._held = {
            job.spec.id: self._held.get(job.spec.id, 0.0) + (now - self._last) * (job.gpus > 0)
            for job in jobs
        }
        self._last = now
        able = [job for job in jobs if requested(job) <= self._gpus]
        if sum(map(requested, able)) <= self._gpus:
            return Round(take_in_order(able, self._gpus))
        if now >= self._round_end:
            self._round_end = now + ROUND_SECONDS
            order = self._by_priority(now, able)
        else:
            order = sorted(able, key=lambda job: job.gpus == 0)
        return Round(take_in_order(order, self._gpus), next_change=self._round_end)

    def _by_priority(self, now: float, jobs: Sequence[SimulatedJob]) -> list[SimulatedJob]:
        sizes = np.array([requested(job) for job in jobs], dtype=float)
        left = np.array([job.remaining_at(now) / job.rate_at(requested(job)) for job in jobs])
        age = np.array([now - job.spec.submitted for job in jobs])
        shares = fair_shares(sizes, left, age, self._gpus)
        held = np.array([self._held[job.spec.id] for job in jobs])
        priority = shares * (age + ROUND_SECONDS) / (held + 1e-3)
        return [jobs[index] for index in np.argsort(-priority, kind="stable")]


def fair_shares(sizes: Vector, left: Vector, age: Vector, gpus: int) -> Vector:
    """Time shares in [0, 1] with the least largest finish-time ratio.

    Args:
        sizes: GPUs of each job.
        left: seconds of training that remain at that size.
        age: seconds since submission.
        gpus: of the cluster.
    """
    alone = np.minimum(1.0, gpus / len(sizes) / sizes)
    alone_finish = age + left / alone

    def needed(ratio: float) -> Vector:
        """Shares with which every job finishes at `ratio` times its finish alone."""
        shares: Vector = left / np.maximum(ratio * alone_finish - age, 1e-9)
        return shares

    low = float(np.max((age + left) / alone_finish))  # nobody can have more than all of the time
    high = max(2.0 * low, 2.0)
    while float(needed(high) @ sizes) > gpus:
        high *= 2.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if float(needed(middle) @ sizes) > gpus:
            low = middle
        else:
            high = middle
    shares: Vector = np.minimum(needed(high), 1.0)
    return shares
