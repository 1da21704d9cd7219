"""When a plan is due, and how one is made: rows and statuses → planner → rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.observe.calibration import Calibration
from ef_slurm.daemon.observe.capacity import COMPLETING_SECONDS, ResourceScope
from ef_slurm.daemon.observe.estimates import Estimates
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.plan.advice import advise
from ef_slurm.daemon.plan.allowed_nodes import AllowedNodes
from ef_slurm.daemon.plan.culprits import Planned
from ef_slurm.daemon.plan.doubts import Doubts
from ef_slurm.daemon.plan.footprints import (
    footprints_by_job,
    footprints_of,
    narrow_verdict,
    narrowed,
    too_much,
    widened,
)
from ef_slurm.daemon.plan.lost_time import LostTime
from ef_slurm.daemon.plan.measured_rows import is_measured
from ef_slurm.daemon.plan.measuring import MeasuringJobs, WouldMeasure
from ef_slurm.daemon.plan.plannable import SET_ASIDE_SECONDS, Plannable
from ef_slurm.daemon.plan.planner_input import (
    IN_PLAN,
    planner_newcomer,
    running_now,
)
from ef_slurm.daemon.plan.record import record, train_on
from ef_slurm.daemon.plan.recording import Recording
from ef_slurm.daemon.plan.reservations import outside
from ef_slurm.daemon.plan.together import refuse_parted
from ef_slurm.daemon.plan.turned_away import turn_away, types_here, types_of
from ef_slurm.formats.sentences import verdict_sentence
from ef_slurm.model import (
    FOREVER,
    Cluster,
    Job,
    JobRequest,
    JobState,
    ModelError,
    Outcome,
    Plan,
    Policy,
    PromiseState,
    QueueJob,
    QueueLimits,
    Verdict,
    planner_id,
    queue_id,
)
from ef_slurm.planner.plan import PlannedRound, plan_round
from ef_slurm.planner.waiting import WaitingList
from ef_slurm.planner.what_if import WhatIf, what_if
from ef_slurm.queue.store import Queue

UNRECORDED_REPLAN_SECONDS = 5.0
"""Seconds until a promise is tried again that could not be recorded."""

OFTEN_SECONDS = 1.0
"""Seconds within which a second plan is made often."""

TIMED_SECONDS = 0.25
"""Least seconds from then on to the next plan that only the time asks for. By what it has reported
a job may be about to end in no time at all, and say so for as long as it likes."""

SLIP_REPLAN_SECONDS = 10.0
"""Seconds between plans that only take a late start into account."""


class Planning:
    """The daemon's use of the planner.

    Args:
        scope: where it may schedule.
        limits: what one user and one account may have.
        replan_interval: most seconds between two plans while jobs are active.
        keep_plans: old plans that stay in the queue.
        advisory: log what a plan would do, write nothing.
        fence: around what is done for each job.
        recording: of promises beside the queue, before they are given.
    """

    def __init__(
        self,
        queue: Queue,
        observer: Observer,
        estimates: Estimates,
        calibration: Calibration,
        *,
        scope: ResourceScope,
        policy: Policy,
        limits: QueueLimits,
        replan_interval: float,
        keep_plans: int,
        advisory: bool,
        fence: Fence,
        recording: Recording,
    ) -> None:
        self._queue = queue
        self._recording = recording
        self._observer = observer
        self._estimates = estimates
        self.lost_time = LostTime(queue, estimates, observer)
        self._calibration = calibration
        self._replan_interval = replan_interval
        self._keep_plans = keep_plans
        self._advisory = advisory
        self._fence = fence
        allowed = AllowedNodes(lambda: observer.observation.nodes)
        self._measuring = MeasuringJobs(
            queue, estimates, policy, limits, fence, observer.limits, allowed
        )
        self._plannable = Plannable(
            observer, estimates, self._measuring, scope, policy, limits, fence, allowed
        )
        self._cluster: Cluster | None = None
        self._seen: Cluster | None = None
        self._made_at = -math.inf
        self._advice: Plan | None = None
        self._waiting: WaitingList | None = None
        self._arrivals = queue.arrivals.all()
        self.wanted = True
        """Whether something has happened that the plan in force does not know of."""
        self.next_change = FOREVER
        """When the plan in force wants to be made anew even if nothing happens."""

    @property
    def gpu_types(self) -> tuple[str, ...]:
        """The GPU types that were last seen. Any thread may ask."""
        seen = self._seen
        return () if seen is None else types_of(seen)

    @property
    def cluster(self) -> Cluster | None:
        """What was last seen; None before the first look. Any thread may ask."""
        return self._seen

    def look(self, jobs: tuple[QueueJob, ...]) -> Cluster:
        """What may be scheduled on now, by what Slurm last said."""
        self._seen = self._plannable.cluster(jobs)
        return self._seen

    def judge(
        self, request: JobRequest, jobs: tuple[QueueJob, ...], now: float, begin_by: str = ""
    ) -> tuple[WhatIf | WouldMeasure, str]:
        """The verdict that this request would get now, also in words. Writes nothing.

        Without a throughput curve it would get none yet, and be measured first.

        Args:
            begin_by: what it is that lets it begin only then; "" for its owner's wish.

        Raises:
            ModelError: the request is not one that can be planned.
        """
        cluster = self.look(jobs)
        if not request.complete:
            unknown = QueueJob(0, request, JobState.NEW, slurm_settings=request.asked)
            would = self._measuring.would_measure(unknown, cluster, now)
            if would is None:
                raise ModelError("GPU types", ", ".join(request.gpu_types), types_here(cluster))
            return would, "nobody knows yet how long it takes: it would train for a while first"
        inputs = self._plannable.inputs(jobs, now, self._measuring.rehearsal())
        asked = replace(planner_newcomer(request, self._estimates), begin_by=begin_by)
        plain, cluster = self._plannable.newcomer(asked, request, inputs)
        takes = footprints_of(request.per_gpu, cluster)
        if not takes and cluster.groups:
            reason = too_much(request.per_gpu, cluster)
            raise ModelError("CPUs and memory per GPU", request.per_gpu, reason)
        newcomer = widened(plain, takes)
        policy = self._plannable.policy((*inputs.jobs, newcomer), cluster)
        answer = what_if(now, inputs.jobs, newcomer, cluster, policy, self._waiting, self._arrivals)
        answer = replace(answer, verdict=narrow_verdict(answer.verdict, takes))
        names = {planner_id(job.id): str(job.request.slurm_job_id) for job in jobs}
        return answer, verdict_sentence(answer.verdict, lambda name: names.get(name, name))

    def is_due(self, jobs: tuple[QueueJob, ...], now: float) -> bool:
        """Whether the plan in force does not do any more."""
        if self.wanted or now >= self.next_change or now < self._made_at:
            return True  # the last: the clock was set back
        jobs = self._plannable.of(jobs, now)
        if any(job.state is JobState.NEW for job in jobs):
            return True
        if self._measuring.is_due(jobs, now):
            return True
        if self.look(jobs) != self._cluster:
            return True
        age = now - self._made_at
        if jobs and age >= self._replan_interval:
            return True
        for job in jobs if age >= SLIP_REPLAN_SECONDS else ():
            with self._fence.around(job, "timed"):
                if running_now(job, self._observer.status(job), now) != job.running:
                    return True
        return False

    def _round(
        self, jobs: tuple[QueueJob, ...], now: float, *, everybody: bool = False
    ) -> Planned[PlannedRound] | None:
        """One round of the planner; None if it fails whomever it is asked about.

        Args:
            everybody: ask all who wait, whatever is known of the round before.
        """

        def ask(some: tuple[Job, ...], cluster: Cluster, policy: Policy) -> PlannedRound:
            waiting = None if everybody else self._waiting
            return plan_round(now, some, cluster, policy, waiting, self._arrivals)

        return self._plannable.plan(jobs, now, ask)

    def make(self, jobs: tuple[QueueJob, ...], now: float) -> None:
        """Make a plan and write what follows from it into the queue.

        Raises:
            QueueError: it cannot be written; the plan before stays in force.
        """
        cluster = self.look(jobs)
        jobs = tuple(job for job in jobs if not job.set_apart)
        jobs = turn_away(self._queue, jobs, cluster, now, self._fence)
        for job in jobs:
            with self._fence.around(job, "planned"):
                if job.running is not None and self._runs(job):
                    self._estimates.closures.started(job.id, job.running.block)
        if self._advisory:
            jobs = tuple(job for job in jobs if job.request.complete)  # nothing is measured
        else:
            measured = self._measuring.review(jobs, self._plannable.cluster(jobs), now)
            left = {job.id for job in measured}
            self._expect_end_of([job for job in jobs if job.id not in left], now)
            jobs = measured
        self._plannable.forget_all_but(jobs)
        made = self._round(jobs, now)
        if made is not None and _breaks_a_promise(made.answer.plan, jobs):
            # A slot stands beside promises, never in the way of one.
            made = self._round(jobs, now) if self._measuring.revoke() else made
        if (
            made is not None
            and not self._advisory
            and refuse_parted(self._queue, made.answer.plan, jobs, now)
        ):
            jobs = self._queue.jobs.all(IN_PLAN)
            jobs = tuple(job for job in jobs if not job.set_apart)
            made = self._round(jobs, now)
        if made is None:  # the one before stays in force
            self._made_at = now
            self.next_change, self.wanted = now + SET_ASIDE_SECONDS, False
            return
        self._enforce(made, jobs, now)

    def judge_anew(
        self,
        job: QueueJob,
        request: JobRequest,
        jobs: tuple[QueueJob, ...],
        now: float,
        accept: Callable[[Verdict], QueueJob | None],
    ) -> Verdict | None:
        """The verdict that a job of the queue would get with another request, as a newcomer.

        Args:
            job: its row.
            request: complete.
            jobs: the rows of all active jobs, its own among them.
            accept: whether the verdict is taken: its row then, with the request in it, or None to
                leave all as it is. What it writes is written together with the plan.

        Returns:
            None where no plan can be made now.

        Raises:
            ModelError: the request is not one that can be planned.
            NotRecordedError: it cannot be promised now, since that cannot be recorded.
            QueueError: the plan cannot be written; all is as it was.
        """
        self.look(jobs)
        asked = replace(
            job, request=request, state=JobState.NEW, best_effort=False, plan=(), measuring=None
        )
        rows = tuple(asked if row.id == job.id else row for row in jobs)
        made = self._round(rows, now, everybody=True)
        verdicts = () if made is None else made.answer[0].verdicts
        verdict = next((one for one in verdicts if one.job_id == planner_id(job.id)), None)
        if made is None or verdict is None:
            return None
        takes = footprints_by_job(rows, made.cluster)[verdict.job_id]
        verdict = narrow_verdict(verdict, takes)
        with self._queue.transaction():
            row = accept(verdict)
            if row is not None:
                rows = tuple(row if one.id == job.id else one for one in rows)
                self._enforce(made, rows, now, anew=frozenset({job.id}))
        return verdict

    def _enforce(
        self,
        made: Planned[PlannedRound],
        jobs: tuple[QueueJob, ...],
        now: float,
        *,
        anew: frozenset[int] = frozenset(),
    ) -> None:
        """Write a plan down.

        Args:
            anew: queue ids of jobs that were judged although they had a verdict.

        Raises:
            NotRecordedError: one of those cannot be promised it now.
        """
        often = 0.0 <= now - self._made_at < OFTEN_SECONDS
        self._made_at = now
        (answer, self._waiting, arrivals), planned = made.answer, made.jobs
        self._cluster = made.cluster
        answer = outside(narrowed(answer, footprints_by_job(jobs, made.cluster)))
        answer = self._measuring.record(answer)
        closures = self._estimates.closures
        doubts = Doubts(self._observer, closures, self.lost_time, self._fence)
        answer = doubts.of(answer, jobs, now)
        opening = closures.next_opening(now)
        # The planner knows nothing of those that are to be measured later.
        begins = [job.begin for job in jobs if job.waits_to_begin(now)]
        self.next_change, self.wanted = min(answer.next_change, opening, *begins), False
        if often:
            self.next_change = max(self.next_change, now + TIMED_SECONDS)
        if self._advisory:
            advise(answer, self._advice, jobs)
            self._advice, self._arrivals = answer, arrivals
            return
        recorded = self._recording.only_recorded(answer, jobs, self._fence, anew)
        if recorded is not answer:
            answer = recorded
            self.next_change = min(self.next_change, now + UNRECORDED_REPLAN_SECONDS)
        overheads = {queue_id(job.id): job.overhead for job in planned}
        taking_part = {queue_id(job.id) for job in planned}
        wake_seconds = {
            node.name: node.wake_seconds
            for group in self.look(jobs).groups
            for node in group.nodes
            if node.wake_seconds
        }
        known = [job for job in jobs if job.id in taking_part]
        with self._queue.transaction():
            self._queue.arrivals.replace(self._arrivals, arrivals)
            reallocations = [
                *record(
                    self._queue,
                    answer,
                    known,
                    overheads,
                    wake_seconds,
                    doubles={queue_id(job.id) for job in planned if job.doubles},
                    fence=self._fence,
                    anew=anew,
                )
            ]
            moved = {reallocation.job_id for reallocation in reallocations}
            for part in self._measuring.parts(known):
                cost = overheads[part.job_id]
                other = train_on(self._queue, part.job_id, part.gpus, cost, now, part.why)
                if other is not None and part.job_id not in moved:
                    reallocations.append(other)
        self._arrivals = arrivals
        outcomes = {queue_id(one.job_id): one.outcome for one in answer.verdicts}
        refused = [job for job in known if outcomes.get(job.id) is Outcome.REJECTED]
        self._expect_end_of(refused, now)
        self._queue.plans.prune(self._keep_plans)
        for reallocation in reallocations:
            # What a start costs cannot be measured where a node boots first.
            if reallocation.new is None or wake_seconds.keys().isdisjoint(reallocation.new.nodes):
                self._calibration.expect(reallocation.job_id, reallocation.change, now)

    def _expect_end_of(self, refused: Iterable[QueueJob], now: float) -> None:
        """They are cancelled now that this is written, and the plan counts on what they hold."""
        for job in refused:
            self._observer.expect_end(job.request.slurm_job_id, now + COMPLETING_SECONDS)

    def _runs(self, job: QueueJob) -> bool:
        """Whether it runs where it is to."""
        status = self._observer.status(job)
        return (
            status is not None
            and status.slurm.is_running
            and job.running is not None
            and status.holds(job.running.block)
        )


def _breaks_a_promise(answer: Plan, jobs: tuple[QueueJob, ...]) -> bool:
    """Whether a promise is at risk in the plan."""
    measured = {planner_id(job.id) for job in jobs if is_measured(job)}
    return any(
        decision.promise is PromiseState.AT_RISK
        for decision in answer.decisions
        if decision.job_id not in measured
    )
