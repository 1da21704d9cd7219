"""Chronus-like: leases, deadline jobs first (Gao et al., SoCC 2021).

GPUs are leased for 240 s at a time, at the requested size. Arrivals are judged at lease boundaries:
a mixed-integer program picks the largest set of them that, together with every job promised before,
fits: for each deadline, the GPU-leases of all picked jobs with that deadline or an earlier one must
not exceed what the cluster offers until then. In each lease, promised jobs go in order of laxity,
then best-effort jobs fill, first come, first served. Rejected jobs leave.

Differences from the paper: the program decides whom to take, not which leases (the order by laxity
does), and is solved by HiGHS through scipy instead of a commercial solver; placement with node
locality is left out. As in the paper, neither overhead nor gang fragmentation is part of the test,
so a promise can break.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp  # type: ignore[import-untyped]

from ef_slurm.model import Outcome, Standing
from ef_slurm.simulator.policies.base import ClusterSetup, CountsGpus, Round
from ef_slurm.simulator.policies.fixed import arrival_order, requested, take_in_order
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob

LEASE_SECONDS = 240.0
_SOLVER_SECONDS = 2.0


class Chronus(CountsGpus):
    """See the module."""

    name = "chronus"
    judges = True
    work_conserving = False
    fixed_size = True

    def __init__(self, setup: ClusterSetup) -> None:
        super().__init__(setup)
        self._lease_end = -math.inf

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        if now < self._lease_end:
            kept = {job.spec.id: Grant(job.gpus) for job in jobs if job.gpus}
            return Round(kept, next_change=self._lease_end)
        self._lease_end = now + LEASE_SECONDS
        verdicts = self._judge(now, jobs)
        members = [
            job
            for job in jobs
            if job.standing is Standing.ADMITTED
            or verdicts.get(job.spec.id) in (Outcome.PROMISED, Outcome.BEST_EFFORT)
        ]
        order = sorted(members, key=lambda job: (self._laxity(now, job), arrival_order(job)))
        grants = take_in_order(order, self._gpus)
        return Round(grants, verdicts, next_change=self._lease_end)

    def _judge(self, now: float, jobs: Sequence[SimulatedJob]) -> dict[str, Outcome]:
        verdicts: dict[str, Outcome] = {}
        promised: list[SimulatedJob] = []
        newcomers: list[SimulatedJob] = []
        for job in jobs:
            if job.standing is Standing.NEW:
                if job.spec.deadline is None:
                    verdicts[job.spec.id] = Outcome.BEST_EFFORT
                elif self._laxity(now, job) < 0 or requested(job) > self._gpus:
                    verdicts[job.spec.id] = Outcome.REJECTED
                else:
                    newcomers.append(job)
            elif job.spec.deadline is not None:
                promised.append(job)
        if newcomers:
            picked = self._pick(now, promised, newcomers)
            for job, taken in zip(newcomers, picked, strict=True):
                verdicts[job.spec.id] = Outcome.PROMISED if taken else Outcome.REJECTED
        return verdicts

    def _pick(
        self, now: float, promised: list[SimulatedJob], newcomers: list[SimulatedJob]
    ) -> list[bool]:
        """Which newcomers to promise: a 0/1 program with one row per deadline."""
        jobs = [*promised, *newcomers]
        leases = np.array([math.ceil(self._left(now, job) / LEASE_SECONDS) for job in jobs])
        need = leases * np.array([requested(job) for job in jobs])
        deadlines = np.array([job.spec.deadline for job in jobs], dtype=float)
        supply = self._gpus * np.maximum(0.0, np.floor((deadlines - now) / LEASE_SECONDS))
        before = deadlines[None, :] <= deadlines[:, None]
        rows = np.where(before, need[None, :], 0).astype(float)
        kept = len(promised)
        # A promise in trouble already must not make the program infeasible for everybody else.
        supply = np.maximum(supply, rows[:, :kept].sum(axis=1))
        answer = milp(
            -np.ones(len(newcomers)),
            constraints=LinearConstraint(rows[:, kept:], ub=supply - rows[:, :kept].sum(axis=1)),
            integrality=np.ones(len(newcomers)),
            bounds=Bounds(0, 1),
            options={"time_limit": _SOLVER_SECONDS},
        )
        if answer.x is None:
            return [False] * len(newcomers)
        return [bool(value > 0.5) for value in answer.x]

    def _left(self, now: float, job: SimulatedJob) -> float:
        """Seconds of training that remain at the requested size."""
        return job.remaining_at(now) / job.rate_at(requested(job))

    def _laxity(self, now: float, job: SimulatedJob) -> float:
        """Seconds that the job can still wait; infinite without a deadline."""
        if job.spec.deadline is None:
            return math.inf
        return job.spec.deadline - now - self._left(now, job)
