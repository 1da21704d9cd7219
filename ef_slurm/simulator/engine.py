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

from ef_slurm.model import OBSERVE_SECONDS, Outcome, Standing
from ef_slurm.profiling.measuring import MAX_SECONDS
from ef_slurm.simulator.errors import InvariantError
from ef_slurm.simulator.failures import NodeFailures, jobs_on
from ef_slurm.simulator.invariants import Invariants
from ef_slurm.simulator.knowledge import Knowledge, KnownCurves
from ef_slurm.simulator.policies.base import ClusterSetup, Round, SchedulingPolicy
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob
from ef_slurm.simulator.trace import Trace

TICK = 1e-6

LEAST_TRAINED_SECONDS = 10.0
"""Seconds of training below which a job that ends tells nothing about its rate."""

FUTILE_FAILURES = 100
"""Failures of each node, on average, after which nothing is expected of jobs that keep nothing."""

_NOTHING = Grant(0)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came out of a simulation.

    Args:
        jobs: by submission.
        node_failures: until the last job left.
        rounds: how often the policy was asked.
        planning_seconds: wall time that its answers took.
        longest_round_seconds: the longest of them.
        wall_seconds: of the whole loop.
        cpu_seconds: what this process had of it.
    """

    jobs: tuple[SimulatedJob, ...]
    node_failures: int
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
        knowledge: Knowledge | None = None,
        failures: NodeFailures | None = None,
        on_done: Callable[[int], None] | None = None,
    ) -> None:
        """A simulation that has not begun.

        Args:
            trace: the jobs.
            setup: the cluster and its rules.
            policy: fresh, made for that setup.
            check: whether the simulator's own rules are checked at every event.
            knowledge: what the policy knows of curves; without, the truth.
            failures: how nodes fail; without, never.
            on_done: called with the number of jobs that left since the last call.
        """
        self._jobs = tuple(SimulatedJob(spec, setup.overhead) for spec in trace.jobs)
        self._policy = policy
        self._setup = setup
        self._failures = failures or NodeFailures({}, repair=0.0, since=0.0)
        # What was left to do when a failure last found that something had come of the work, and
        # how many there had been by then.
        self._left_over: tuple[int, float] = (0, 0.0)
        self._failures_before = 0
        self._invariants = Invariants(setup, policy) if check else None
        self._on_done = on_done
        self._active: dict[str, SimulatedJob] = {}
        self._finishes: list[tuple[float, int, SimulatedJob]] = []
        self._knowledge = knowledge or KnownCurves()
        # (when, order, job, since when it has held its share): what is learned then
        self._revelations: list[tuple[float, int, SimulatedJob, float]] = []
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
            now = min(self._next_arrival(), self._next_finish(), self._next_revelation(), wake)
            if self._is_over(now):
                break
            now = min(now, self._failures.next_change())
            left = self._finish_until(now + TICK)
            self._reveal_until(now + TICK)
            self._fail_until(now)
            self._arrive_until(now + TICK)
            self._believe(now)
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
                self._invariants.check_round(now, tuple(self._active.values()), self._failures.down)
            if left and self._on_done is not None:
                self._on_done(left)
        if self._active and self._on_done is not None:
            self._on_done(len(self._active))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        return Outcomes(self._jobs, self._failures.count, rounds, planning, longest, wall, cpu)

    def _is_over(self, next_event: float) -> bool:
        """Whether nothing more comes of going on, if the next event but failures is then."""
        if next_event == math.inf and not (self._active and self._failures.down):
            return True
        in_vain = self._failures.count - self._failures_before
        nobody_comes = self._arrived == len(self._jobs)
        return nobody_comes and in_vain > FUTILE_FAILURES * self._setup.nodes

    def _fail_until(self, now: float) -> None:
        """Nodes fail and come back; what ran on those that failed stops."""
        if self._failures.next_change() > now + TICK:
            return
        up = self._failures.up
        failed = self._failures.pass_until(now + TICK)
        active = self._active.values()
        for group in self._setup.groups:
            names = set(group.names)
            mine = [job for job in active if job.gpu_type == group.gpu_type]
            working = [name for name in up if name in names]
            for job in jobs_on(failed & names, working, group.gpus_per_node, mine):
                job.stop(now)
        self._policy.see_down(self._failures.down)
        left_over = len(active), math.fsum(job.remaining for job in active)
        if left_over != self._left_over:
            self._left_over, self._failures_before = left_over, self._failures.count

    def _next_arrival(self) -> float:
        if self._arrived == len(self._jobs):
            return math.inf
        return self._jobs[self._arrived].spec.submitted

    def _next_finish(self) -> float:
        while self._finishes and self._finishes[0][2].finish_time() != self._finishes[0][0]:
            heapq.heappop(self._finishes)
        return self._finishes[0][0] if self._finishes else math.inf

    def _next_revelation(self) -> float:
        return self._revelations[0][0] if self._revelations else math.inf

    def _reveal_until(self, until: float) -> None:
        """Jobs that have trained long enough on a size tell its rate."""
        while self._next_revelation() <= until:
            _, _, job, since = heapq.heappop(self._revelations)
            if job.spec.id in self._active and job.gpus and job.since == since:
                self._knowledge.learn(job.spec, job.gpus, job.rate)

    def _foresee_revelations(self, job: SimulatedJob) -> None:
        """When a job that has just got its share will tell something."""
        if not self._knowledge.learns:
            return
        # A short job tells it sooner: there is to be time to act on it.
        half = 0.5 * (job.finish_time() - job.trains_from)
        moments = [job.trains_from + min(OBSERVE_SECONDS, half)]
        if job.belief is None and job.trained_since is not None:
            moments.append(job.trained_since + MAX_SECONDS)
        for moment in moments:
            heapq.heappush(self._revelations, (moment, self._pushed, job, job.since))

    def _believe(self, now: float) -> None:
        """Tell the policy what is known by now."""
        for job in self._active.values():
            if job.belief is not None and not self._knowledge.learns:
                continue
            # What was once believed is not unknown again.
            need = job.need(now)
            job.belief = self._knowledge.belief(job.spec, need) or job.belief
            unknown = job.belief is None
            job.measurement = self._knowledge.measurement(job.spec, need) if unknown else None

    def _finish_until(self, until: float) -> int:
        count = 0
        while self._next_finish() <= until:
            when, _, job = heapq.heappop(self._finishes)
            if when - job.trains_from >= LEAST_TRAINED_SECONDS:
                self._knowledge.learn(job.spec, job.gpus, job.rate)
            self._knowledge.leave(job.spec)
            if job.standing is Standing.NEW:
                job.note_measured(when)
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
            job.at_risk = job_id in answer.at_risk
            if job.at_risk and job.at_risk_since is None:
                job.at_risk_since = now
            grant = answer.grants.get(job_id)
            if grant is None:
                if not job.gpus and not job.schedule:
                    continue
                grant = _NOTHING
            if job.assign(now, grant) and job.gpus:
                self._pushed += 1
                heapq.heappush(self._finishes, (job.finish_time(), self._pushed, job))
                self._foresee_revelations(job)
        return left

    def _judge(self, now: float, job_id: str, outcome: Outcome) -> int:
        job = self._active.get(job_id)
        if job is None or job.standing is Standing.ADMITTED:
            raise InvariantError(
                f"policy {self._policy.name} at {now!r} judges {job_id}, which was judged before"
            )
        if job.standing is Standing.NEW:
            job.note_measured(now)
        job.outcome = outcome
        if outcome is Outcome.REJECTED:
            job.send_away(now)
            self._knowledge.leave(job.spec)
            del self._active[job_id]
            return 1
        if outcome is Outcome.WAITLISTED:
            job.standing = Standing.WAITLISTED
            return 0
        job.standing = Standing.ADMITTED
        if outcome is Outcome.PROMISED:
            job.promised_at = now
        return 0
