"""The event loop: arrivals, completions and plan changes in virtual time.

A job's overhead is part of its finish time, so its end needs no event of its own. Moments closer
than `TICK` seconds are one: a completion frees its GPUs before a simultaneous arrival is judged.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from ef_slurm.model import Outcome, Standing
from ef_slurm.simulator.errors import InvariantError
from ef_slurm.simulator.invariants import Invariants
from ef_slurm.simulator.policies.base import ClusterSetup, Round, SchedulingPolicy
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob
from ef_slurm.simulator.trace import Trace

TICK = 1e-6

_NOTHING = Grant(0)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came out of a simulation.

    Args:
        jobs: by submission.
        rounds: how often the policy was asked.
        planning_seconds: wall time that its answers took.
        longest_round_seconds: the longest of them.
        wall_seconds: of the whole loop.
        cpu_seconds: what this process had of it.
    """

    jobs: tuple[SimulatedJob, ...]
    rounds: int
    planning_seconds: float
    longest_round_seconds: float
    wall_seconds: float
    cpu_seconds: float


class Engine:
    """One trace on one cluster under one policy."""

    def __init__(
        self,
        trace: Trace,
        setup: ClusterSetup,
        policy: SchedulingPolicy,
        *,
        check: bool = False,
        on_done: Callable[[int], None] | None = None,
    ) -> None:
        """A simulation that has not begun.

        Args:
            trace: the jobs.
            setup: the cluster and its rules.
            policy: fresh, made for that setup.
            check: whether the simulator's own rules are checked at every event.
            on_done: called with the number of jobs that left since the last call.
        """
        self._jobs = tuple(SimulatedJob(spec, setup.overhead) for spec in trace.jobs)
        self._policy = policy
        self._invariants = Invariants(setup, policy) if check else None
        self._on_done = on_done
        self._active: dict[str, SimulatedJob] = {}
        self._finishes: list[tuple[float, int, SimulatedJob]] = []
        self._pushed = 0
        self._arrived = 0

    def simulate(self) -> Outcomes:
        """Runs until nothing more happens.

        Raises:
            InvariantError: the policy gave an impossible answer.
        """
        began, cpu_began = time.perf_counter(), time.process_time()
        planning = longest = 0.0
        rounds = 0
        wake = math.inf
        while True:
            now = min(self._next_arrival(), self._next_finish(), wake)
            if now == math.inf:
                break
            left = self._finish_until(now + TICK)
            self._arrive_until(now + TICK)
            asked = time.perf_counter()
            answer = self._policy.decide(now, tuple(self._active.values()))
            took = time.perf_counter() - asked
            planning += took
            longest = max(longest, took)
            rounds += 1
            left += self._apply(now, answer)
            wake = answer.next_change if self._active else math.inf
            if wake <= now:
                raise InvariantError(
                    f"policy {self._policy.name} at {now!r} asks to be called again at {wake!r}"
                )
            if self._invariants is not None:
                self._invariants.check_round(now, tuple(self._active.values()))
            if left and self._on_done is not None:
                self._on_done(left)
        if self._active and self._on_done is not None:
            self._on_done(len(self._active))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        return Outcomes(self._jobs, rounds, planning, longest, wall, cpu)

    def _next_arrival(self) -> float:
        if self._arrived == len(self._jobs):
            return math.inf
        return self._jobs[self._arrived].spec.submitted

    def _next_finish(self) -> float:
        while self._finishes and self._finishes[0][2].finish_time() != self._finishes[0][0]:
            heapq.heappop(self._finishes)
        return self._finishes[0][0] if self._finishes else math.inf

    def _finish_until(self, until: float) -> int:
        count = 0
        while self._next_finish() <= until:
            when, _, job = heapq.heappop(self._finishes)
            job.finish(when)
            del self._active[job.spec.id]
            count += 1
            if self._invariants is not None:
                self._invariants.check_finished(job)
        return count

    def _arrive_until(self, until: float) -> None:
        while self._next_arrival() <= until:
            job = self._jobs[self._arrived]
            self._arrived += 1
            if not self._policy.judges:
                job.standing = Standing.ADMITTED
            self._active[job.spec.id] = job

    def _apply(self, now: float, answer: Round) -> int:
        """Carries the answer out; how many jobs it sent away."""
        left = sum(self._judge(now, job_id, v) for job_id, v in answer.verdicts.items())
        unknown = answer.grants.keys() - self._active.keys()
        if unknown:
            raise InvariantError(
                f"policy {self._policy.name} at {now!r} grants GPUs to {sorted(unknown)}, "
                "which are not there"
            )
        for job_id, job in self._active.items():
            grant = answer.grants.get(job_id)
            if grant is None:
                if not job.gpus and not job.schedule:
                    continue
                grant = _NOTHING
            if job.assign(now, grant) and job.gpus:
                self._pushed += 1
                heapq.heappush(self._finishes, (job.finish_time(), self._pushed, job))
        return left

    def _judge(self, now: float, job_id: str, outcome: Outcome) -> int:
        job = self._active.get(job_id)
        if job is None or job.standing is Standing.ADMITTED:
            raise InvariantError(
                f"policy {self._policy.name} at {now!r} judges {job_id}, which was judged before"
            )
        job.outcome = outcome
        if outcome is Outcome.REJECTED:
            del self._active[job_id]
            return 1
        if outcome is Outcome.WAITLISTED:
            job.standing = Standing.WAITLISTED
            return 0
        job.standing = Standing.ADMITTED
        if outcome is Outcome.PROMISED:
            job.promised_at = now
        return 0
