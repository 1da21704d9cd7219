"""One tick of the daemon: observe → ingest → plan → reconcile → act.

Nothing but the queue must survive between two ticks. What is remembered here is either learned
again (`Estimates`, from events) or only saves work.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from ef_slurm.contract import LaunchState
from ef_slurm.daemon.act.executor import Executor
from ef_slurm.daemon.act.orphans import Orphans
from ef_slurm.daemon.act.reconciler import Reconciler, ReconcileResult
from ef_slurm.daemon.act.resubmit import Resubmitter
from ef_slurm.daemon.observe.calibration import Calibration
from ef_slurm.daemon.observe.estimates import Estimates
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.ownership import ownership_error
from ef_slurm.daemon.observe.settlements import due_at, settle_given_up
from ef_slurm.daemon.observe.state_dirs import StateDirs
from ef_slurm.daemon.observe.transitions import Transition, derive_transition, on_missing
from ef_slurm.daemon.plan.advice import advise
from ef_slurm.daemon.plan.planner_input import (
    fit,
    planner_jobs,
    planner_newcomer,
    running_now,
    runs_on,
    schedulable_cluster,
)
from ef_slurm.daemon.plan.record import record
from ef_slurm.daemon.settings import Settings
from ef_slurm.formats.sentences import verdict_sentence
from ef_slurm.model import (
    ACTIVE,
    ACTOR,
    FINAL,
    FOREVER,
    Cluster,
    Event,
    EventKind,
    Fault,
    Job,
    JobRequest,
    JobState,
    Plan,
    QueueJob,
    planner_id,
    queue_id,
)
from ef_slurm.planner.plan import plan
from ef_slurm.planner.what_if import WhatIf, what_if
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.interface import Slurm

_log = logging.getLogger(__name__)

SLIP_REPLAN_SECONDS = 10.0
"""Seconds between plans that only take a late start into account."""

PROGRESS_SECONDS = 2.0
"""How much training may pass between two writes of a job's progress."""

ON_ITS_WAY = frozenset({JobState.NEW, JobState.STARTING, JobState.STOPPING})
LEAVING = frozenset({LaunchState.FINISHED, LaunchState.FAILED, LaunchState.INTERRUPTED})


class Scheduler:
    """The daemon without its surroundings: no threads, no sockets, no clock of its own."""

    def __init__(
        self,
        settings: Settings,
        slurm: Slurm,
        queue: Queue,
        state_dirs: StateDirs,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._clock = clock
        self._observer = Observer(slurm, state_dirs, clock)
        executor = Executor(slurm, queue, state_dirs, clock)
        self._reconciler = Reconciler(
            executor, self._observer, queue, settings.timeouts, settings.hold, clock
        )
        self._orphans = Orphans(executor, self._observer, queue, clock)
        self._resubmitter = Resubmitter(slurm, queue, self._observer, clock, settings.uid)
        self._estimates = Estimates()
        self._calibration = Calibration(self._estimates, queue)
        if settings.learn:
            self._calibration.recall()
        self._dirty = True
        self._refresh_wanted = True
        self._silent_since: float | None = None
        self._ticked_at: float | None = None
        self._planned: Cluster | None = None
        self._planned_at = -math.inf
        self._next_change = FOREVER
        self._reconciled = ReconcileResult()
        self._advice: Plan | None = None

    @property
    def ticked_at(self) -> float | None:
        """When a tick was last finished. Any thread may ask."""
        return self._ticked_at

    @property
    def next_change(self) -> float:
        """When the plan in force wants to be made anew even if nothing happens."""
        return self._next_change

    @property
    def gpu_types(self) -> tuple[str, ...]:
        """The GPU types that were last planned with. Any thread may ask."""
        planned = self._planned
        return () if planned is None else tuple(group.gpu_type for group in planned.groups)

    def tick(self) -> float:
        """Do all that is due now.

        Returns:
            Seconds after which to come back at the latest.

        Raises:
            QueueError: the queue cannot be read or written; nothing half-done.
        """
        now = self._clock()
        jobs = self._queue.jobs.all(ACTIVE)
        self._observer.read_reports(jobs)
        self._refresh_wanted |= any(
            job.state is JobState.NEW or self._leaves(job) or self._is_overdue(job, now)
            for job in jobs
        )
        if self._refresh_is_due(now, jobs) and not self._refresh(now):
            return self._settings.retry_interval
        if self._observer.refreshed_at is None:
            return self._settings.idle_interval
        try:
            jobs = self._ingest(jobs)
            if self._plan_is_due(self._clock(), jobs):
                self._plan(jobs)
                jobs = self._queue.jobs.all(ACTIVE)
            if not self._settings.advisory:
                self._reconciled = self._reconciler.reconcile(jobs)
                self._estimates.caps.update(self._reconciled.caps)
                self._dirty |= self._reconciled.replan
                self._dirty |= self._resubmitter.recover(self._reconciled.dead)
                orphan = self._orphans.cancel()
                if orphan is not None:
                    self._reconciled.until(orphan)
        except SlurmError as error:
            self._slurm_is_silent(error)
            return self._settings.retry_interval
        self._ticked_at = self._clock()
        return self._delay()

    def recheck(self, slurm_job_ids: Iterable[int]) -> None:
        """Ask Slurm about these jobs now; the next tick follows. Raises SlurmUnavailableError."""
        if self._observer.refreshed_at is not None:
            for job_id in slurm_job_ids:
                if self._observer.fetch(job_id) is None:
                    self._observer.drop(job_id)

    def judge(self, request: JobRequest) -> tuple[WhatIf, str]:
        """The verdict that this request would get now, also in words. Writes nothing.

        Raises:
            SlurmError: Slurm was never seen and does not answer.
            ModelError: the request is not one that can be planned.
        """
        now = self._clock()
        looked = self._observer.refreshed_at
        if looked is None or now - looked >= self._settings.idle_interval:
            self._observer.refresh()
        jobs = self._queue.jobs.all(ACTIVE)
        cluster = schedulable_cluster(self._observer.observation, self._settings.scope, jobs)
        newcomer = fit(planner_newcomer(request, self._estimates), cluster)
        planned = self._planner_jobs(jobs, cluster, now)
        answer = what_if(now, planned, newcomer, cluster, self._settings.policy)
        names = {planner_id(job.id): str(job.request.slurm_job_id) for job in jobs}
        return answer, verdict_sentence(answer.verdict, lambda name: names.get(name, name))

    # Observing

    def _refresh_is_due(self, now: float, jobs: tuple[QueueJob, ...]) -> bool:
        looked = self._observer.refreshed_at
        if looked is None:
            return True
        since = now - looked
        if since < 0:
            return True  # the clock was set back
        if since < self._settings.query_interval:
            return False
        if self._refresh_wanted or self._dirty:
            return True
        busy = self._reconciled.transit or any(job.state in ON_ITS_WAY for job in jobs)
        if not jobs and not busy:
            return False
        return since >= (self._settings.tick_interval if busy else self._settings.idle_interval)

    def _leaves(self, job: QueueJob) -> bool:
        """Whether the job says that its run ends, and Slurm has not said so yet."""
        status = None if self._observer.refreshed_at is None else self._observer.status(job)
        launch = None if status is None else status.launch
        if status is None or launch is None:
            return False
        return launch.state in LEAVING and status.slurm.is_running

    def _is_overdue(self, job: QueueJob, now: float) -> bool:
        """Whether its deadline is over, and Slurm was not asked since whether the job is, too."""
        due, looked = due_at(job), self._observer.refreshed_at
        return due is not None and due <= now and (looked is None or looked < due)

    def _refresh(self, now: float) -> bool:
        try:
            self._observer.refresh()
        except SlurmError as error:
            self._slurm_is_silent(error)
            return False
        self._refresh_wanted = False
        if self._silent_since is not None:
            self._log_daemon_event(f"Slurm answers again after {now - self._silent_since:.0f} s")
            self._silent_since = None
        return True

    def _slurm_is_silent(self, error: SlurmError) -> None:
        self._refresh_wanted = True
        if self._silent_since is None:
            self._silent_since = self._clock()
            self._log_daemon_event(
                f"Slurm does not answer, nothing is changed until it does: {error.message}"
            )

    # Ingest

    def _ingest(self, jobs: tuple[QueueJob, ...]) -> tuple[QueueJob, ...]:
        """Write what Slurm and the jobs say into the rows; returns those that are active still."""
        for job in jobs:
            if self._observer.status(job) is None:
                self._observer.fetch(job.request.slurm_job_id)
        lost = {node.name for node in self._observer.observation.nodes if not node.usable}
        asked = {job.id for job in jobs}
        active = []
        with self._queue.transaction(durable=False):
            # Again: another process may have changed rows since. New ones wait for the next tick.
            for job in self._queue.jobs.all(ACTIVE):
                if job.id not in asked:
                    continue
                job = self._apply(job, self._transition_of(job, lost))
                if job.state in ACTIVE:
                    active.append(job)
        return tuple(active)

    def _transition_of(self, job: QueueJob, lost_nodes: set[str]) -> Transition:
        now = self._clock()
        status = self._observer.status(job)
        if status is None:
            return on_missing(job, self._observer.reports(job), now)
        problem = ownership_error(job, status.slurm)
        if problem is not None:
            settled = settle_given_up(job, Fault.CLUSTER, problem, now)
            return Transition(
                replace(job, running=None, note=problem), JobState.FAILED, problem, settled=settled
            )
        if self._settings.learn and self._calibration.observer(job, status, now):
            self._dirty = True
        intent = self._queue.intents.unfinished_of(job.id)
        ours = self._settings.hold
        seen_at = self._observer.observation.at
        return derive_transition(
            job, status, intent, now, ours=ours, seen_at=seen_at, lost_nodes=lost_nodes
        )

    def _apply(self, job: QueueJob, transition: Transition) -> QueueJob:
        """Write the news of a job; returns its row as it is then."""
        now, row = self._clock(), job
        if transition.job != job and not _only_a_little_progress(job, transition):
            row = self._queue.jobs.save(transition.job, durable=False)
        actor = job.request.owner if transition.actor_is_owner else ACTOR
        for entry in transition.entries:
            self._queue.events.log(Event(now, entry.kind, actor, entry.message, job.id, entry.data))
        if transition.to is not None:
            row = self._queue.jobs.move(
                job.id,
                transition.to,
                at=now,
                actor=actor,
                why=transition.why,
                ended_at=transition.ended_at,
            )
            self._dirty |= transition.to in FINAL
        if transition.settled is not None:
            self._queue.promises.settle(job.id, transition.settled, at=now)
        if transition.job.running is None and job.running is not None:
            self._calibration.forget(job.id)
        if transition.to is JobState.LOST:
            self._resubmitter.expect_lost()
        if transition.to in FINAL:
            self._calibration.forget(job.id)
            self._estimates.rates.forget([job.id])
            self._estimates.caps.pop(job.id, None)
            self._reconciler.forget(job)
        self._dirty |= transition.replan
        return row

    # Planning

    def _plan_is_due(self, now: float, jobs: tuple[QueueJob, ...]) -> bool:
        if self._dirty or now >= self._next_change:
            return True
        if any(job.state is JobState.NEW for job in jobs):
            return True
        cluster = schedulable_cluster(self._observer.observation, self._settings.scope, jobs)
        if cluster != self._planned:
            return True
        age = now - self._planned_at
        if jobs and age >= self._settings.replan_interval:
            return True
        return age >= SLIP_REPLAN_SECONDS and any(
            running_now(job, self._observer.status(job), now) != job.running for job in jobs
        )

    def _planner_jobs(
        self, jobs: tuple[QueueJob, ...], cluster: Cluster, now: float
    ) -> tuple[Job, ...]:
        status: dict[int, JobStatus] = {}
        for job in jobs:
            known = self._observer.status(job)
            if known is not None:
                status[job.id] = known
        misfits = [job.id for job in jobs if not runs_on(job, cluster)]
        known_jobs = planner_jobs(jobs, status, self._estimates, now, without=misfits)
        return tuple(fit(job, cluster) for job in known_jobs)

    def _plan(self, jobs: tuple[QueueJob, ...]) -> None:
        now = self._clock()
        cluster = schedulable_cluster(self._observer.observation, self._settings.scope, jobs)
        jobs = self._turn_away(jobs, cluster, now)
        planned = self._planner_jobs(jobs, cluster, now)
        answer = plan(now, planned, cluster, self._settings.policy)
        self._planned, self._planned_at = cluster, now
        self._next_change, self._dirty = answer.next_change, False
        if self._settings.advisory:
            advise(answer, self._advice, jobs)
            self._advice = answer
            return
        overheads = {queue_id(job.id): job.overhead for job in planned}
        taking_part = {queue_id(job.id) for job in planned}
        reallocations = record(
            self._queue, answer, [job for job in jobs if job.id in taking_part], overheads
        )
        self._queue.plans.prune(self._settings.keep_plans)
        for reallocation in reallocations:
            self._calibration.expect(reallocation.job_id, reallocation.change, now)

    def _turn_away(
        self, jobs: tuple[QueueJob, ...], cluster: Cluster, now: float
    ) -> tuple[QueueJob, ...]:
        """Fail newcomers that no node of ours can ever run."""
        kept = []
        for job in jobs:
            if job.state is JobState.NEW and not runs_on(job, cluster):
                have = ", ".join(group.gpu_type for group in cluster.groups) or "none"
                asked = ", ".join(kind for kind, _ in job.request.curves)
                why = f"it has throughput curves for {asked}; GPU types here: {have}"
                with self._queue.transaction():
                    self._queue.jobs.save(replace(job, note=why))
                    self._queue.jobs.move(job.id, JobState.FAILED, at=now, actor=ACTOR, why=why)
                continue
            kept.append(job)
        return tuple(kept)

    # Pace

    def _delay(self) -> float:
        now = self._clock()
        settings = self._settings
        looked = self._observer.refreshed_at
        ready = now if looked is None else looked + settings.query_interval
        if self._reconciled.reports:
            delay = settings.report_interval
        elif self._dirty or self._refresh_wanted:
            delay = max(0.0, ready - now)
        else:
            delay = (
                settings.tick_interval
                if self._reconciled.transit
                else settings.idle_report_interval
            )
        for moment in (self._next_change, self._reconciled.wake):
            if moment is not None:
                delay = min(delay, max(0.0, moment - now))
        return delay

    def _log_daemon_event(self, message: str) -> None:
        _log.warning("%s", message)
        self._queue.events.log(Event(self._clock(), EventKind.DAEMON, ACTOR, message))


def _only_a_little_progress(job: QueueJob, transition: Transition) -> bool:
    """Whether the next report will tell the same again, and this one need not be written."""
    new = transition.job
    if transition.to is not None or new.progress_at is None or job.progress_at is None:
        return False
    same = replace(new, iteration=job.iteration, progress_at=job.progress_at, rate=job.rate) == job
    return same and 0 <= new.progress_at - job.progress_at < PROGRESS_SECONDS
