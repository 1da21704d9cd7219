"""One tick of the daemon: observe → plan → act (`docs/architecture.md` walks through it).

Nothing but the queue must survive between two ticks. What is remembered here is either learned
again (`Estimates`, from events) or only saves work.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ef_slurm.daemon.act.actions import JobActions
from ef_slurm.daemon.act.notices import Notices
from ef_slurm.daemon.act.time_to_act import TimeToAct
from ef_slurm.daemon.acting import Acting
from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.ingest import Ingest, write_transition
from ef_slurm.daemon.looks import Looks
from ef_slurm.daemon.metrics import Metrics
from ef_slurm.daemon.observe.calibration import Calibration
from ef_slurm.daemon.observe.closures import MOST_RECALLED
from ef_slurm.daemon.observe.companion_book import CompanionBook
from ef_slurm.daemon.observe.companion_follower import CompanionFollower
from ef_slurm.daemon.observe.complaints import Complaints
from ef_slurm.daemon.observe.early_verdicts import EarlyVerdicts
from ef_slurm.daemon.observe.estimates import Estimates
from ef_slurm.daemon.observe.follower import Follower
from ef_slurm.daemon.observe.gpu_use import GpuAccount
from ef_slurm.daemon.observe.live_launches import LiveLaunches
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.record_files import Records
from ef_slurm.daemon.observe.recycled import on_recycled
from ef_slurm.daemon.observe.state_dirs import StateDirs
from ef_slurm.daemon.observe.transition import Transition
from ef_slurm.daemon.plan.changes import Changed, Changes, NotPossibleError
from ef_slurm.daemon.plan.dependencies import Dependencies, WouldWait
from ef_slurm.daemon.plan.measuring import WouldMeasure
from ef_slurm.daemon.plan.planning import Planning
from ef_slurm.daemon.plan.recording import Recording
from ef_slurm.daemon.settings import Settings
from ef_slurm.formats.sentences import gate_words
from ef_slurm.model import (
    ACTIVE,
    FINAL,
    Cluster,
    EventKind,
    GateState,
    JobAction,
    JobChange,
    JobRequest,
    JobState,
    QueueJob,
)
from ef_slurm.planner.what_if import WhatIf
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.interface import Slurm

PRUNED_ROWS = 500
"""How much of the past is forgotten in one tick: some milliseconds' worth."""


class Scheduler:
    """The daemon without its surroundings: no threads, no sockets, no clock of its own."""

    def __init__(
        self,
        settings: Settings,
        slurm: Slurm,
        queue: Queue,
        state_dirs: StateDirs,
        clock: Callable[[], float],
        tell: Callable[[], None] | None = None,
        records: Records | None = None,
        metrics: Metrics | None = None,
        time_to_act: TimeToAct | None = None,
    ) -> None:
        """Make one.

        Args:
            tell: called when there is something to tell owners; None where nobody tells.
            records: of jobs beside the queue; None to keep none.
            metrics: what it does is counted there.
            time_to_act: says when actions give way; None where nobody waits for answers.
        """
        self._time_to_act = time_to_act or TimeToAct()
        self._metrics = metrics = metrics or Metrics()
        self._gpu_account = GpuAccount(settings.scope, metrics)
        self._settings = settings
        self._tell = tell
        self._notices = None if tell is None else Notices(queue)
        self._queue = queue
        self._clock = clock
        self._state_dirs = state_dirs
        self._companions = CompanionBook(queue)
        self._launches = LiveLaunches(clock)
        self._observer = Observer(slurm, state_dirs, clock, self._companions)
        self._fence = Fence(queue, clock)
        self._complaints = Complaints(queue, self._observer, clock, metrics)
        self._looks = Looks(settings, self._observer, queue, self._complaints, metrics, clock)
        self._estimates = Estimates()
        self._estimates.closures.recall(
            queue.events.last(EventKind.ERROR, MOST_RECALLED),
            {job.id for job in queue.jobs.all(ACTIVE)},
        )
        self._companion_follower = CompanionFollower(
            queue, self._companions, self._observer, self._estimates.closures, clock
        )
        self._calibration = Calibration(self._estimates, queue)
        if settings.learn:
            self._calibration.recall()
        self._follower = Follower(
            self._observer,
            self._calibration if settings.learn else None,
            None if settings.advisory else settings.stall_limits,
            settings.hold,
            clock,
        )
        self._early_verdicts = EarlyVerdicts(queue)
        self._recording = Recording(queue, None if settings.advisory else records, clock)
        self._planning = Planning(
            queue,
            self._observer,
            self._estimates,
            self._calibration,
            scope=settings.scope,
            policy=settings.policy,
            limits=settings.limits,
            replan_interval=settings.replan_interval,
            keep_plans=settings.keep_plans,
            advisory=settings.advisory,
            fence=self._fence,
            recording=self._recording,
        )
        self._acting = Acting(
            settings,
            slurm,
            queue,
            state_dirs,
            self._observer,
            self._companions,
            self._companion_follower,
            self._launches,
            self._estimates,
            self._planning,
            self._looks,
            self._fence,
            self._time_to_act,
            clock,
            self.lose,
        )
        self._dependencies = Dependencies(queue, self._observer, slurm, clock, self._fence)
        self._actions = JobActions(queue, self._observer, self._acting.reconciler, slurm, clock)
        self._changes = Changes(
            queue, self._planning, self._observer, slurm, settings.scope.partitions, clock
        )
        self._ingest = Ingest(
            queue,
            self._observer,
            self._follower,
            self._companion_follower,
            self._launches,
            self._state_dirs,
            self._planning,
            self._fence,
            self._apply,
            advisory=settings.advisory,
        )
        self._ticked_at: float | None = None
        self._acted = 0.0
        self._gave_way = False

    @property
    def acted(self) -> float:
        """Seconds of the last tick that were actions: those give way to whoever waits."""
        return self._acted

    @property
    def gave_way(self) -> bool:
        """Whether they did in the last tick: whoever waits is answered, and a tick goes on."""
        return self._gave_way

    @property
    def ticked_at(self) -> float | None:
        """When a tick was last finished. Any thread may ask."""
        return self._ticked_at

    @property
    def next_change(self) -> float:
        """When the plan in force wants to be made anew even if nothing happens."""
        return self._planning.next_change

    @property
    def gpu_types(self) -> tuple[str, ...]:
        """The GPU types that were last seen. Any thread may ask."""
        return self._planning.gpu_types

    @property
    def cluster(self) -> Cluster | None:
        """What was last seen; None before the first look. Any thread may ask."""
        return self._planning.cluster

    def tick(self) -> float:
        """Do all that is due now.

        Returns:
            Seconds after which to come back at the latest.

        Raises:
            QueueError: the queue cannot be read or written; nothing half-done.
        """
        with self._metrics.tick_seconds.time():
            return self._tick()

    def _tick(self) -> float:
        now = self._clock()
        goes_on, self._gave_way, self._acted = self._gave_way, False, 0.0
        jobs = self._queue.jobs.all(ACTIVE)
        self._planning.wanted |= self._early_verdicts.review(jobs, now)
        self._companions.load()
        awaited = self._acting.reconciled.reports
        self._looks.read_reports(jobs, now, awaited, self._planning.next_change)
        for job in jobs:
            with self._fence.around(job, "looked at"):
                self._looks.wanted |= self._looks.has_news(job, now)
        transit, replan = self._acting.reconciled.transit, self._planning.wanted
        due = self._looks.are_due(jobs, now, transit=transit, replan=replan)
        if due and not self._looks.look(now):
            return self._settings.retry_interval
        if self._observer.refreshed_at is None:
            return self._settings.idle_interval
        try:
            jobs = self._ingest.all(jobs)
            companions = self._companions.present
            self._gpu_account.look(self._observer.observation, jobs, companions)
            jobs, news = self._dependencies.review(jobs)
            self._planning.wanted |= news
            if self._planning.is_due(jobs, self._clock()):
                with self._metrics.plan_seconds.time():
                    self._planning.make(jobs, self._clock())
                jobs = self._queue.jobs.all(ACTIVE)
            if not self._settings.advisory:
                self._time_to_act.begin(goes_on=goes_on)
                self._acting.round(jobs)
                self._time_to_act.end()
                self._gave_way, self._acted = self._time_to_act.gave_way, self._time_to_act.acted
        except SlurmError as error:
            self._looks.slurm_is_silent(error, now)
            self._recording.keep()  # what was decided before it fell silent
            return self._settings.retry_interval
        self._recording.keep()
        self._make_notices()
        self._forget_old()
        self._ticked_at = self._clock()
        self._metrics.ticked(jobs)
        return self._delay()

    def refresh_soon(self) -> None:
        """Something has changed in Slurm: ask it again as soon as `query_interval` allows."""
        self._looks.wanted = True

    def judge(self, request: JobRequest) -> tuple[WhatIf | WouldMeasure | WouldWait, str]:
        """The verdict that this request would get now, also in words. Writes nothing.

        Without a throughput curve it would get none yet: then how it would be measured.

        Raises:
            SlurmError: Slurm was never seen and does not answer.
            ModelError: the request is not one that can be planned.
        """
        now = self._clock()
        refreshed_at = self._observer.refreshed_at
        if refreshed_at is None or now - refreshed_at >= self._settings.idle_interval:
            self._observer.refresh()
        waits = ""
        if request.dependency.conditions:
            gate = self._dependencies.of_request(request)
            if gate.state in (GateState.UNKNOWN, GateState.NEVER):
                return WouldWait(gate), gate_words(gate)
            request, waits = self._dependencies.bounded(request, gate), gate.words
        return self._planning.judge(request, self._queue.jobs.all(ACTIVE), now, waits)

    def change(self, job_id: int, change: JobChange, actor: str) -> Changed:
        """Change a job of the queue, if that can be.

        Args:
            job_id: the queue's id.
            actor: who wants it.

        Raises:
            ModelError: a value is none that the job could have.
            NotPossibleError: the job is not one that can be changed so.
            SlurmError: Slurm was never seen and does not answer.
        """
        self._look()
        self._refuse_if_advisory()
        changed = self._changes.change(job_id, change, actor)
        self._recording.keep()
        return changed

    def act(self, job_id: int, action: JobAction, actor: str, *, by_owner: bool) -> str:
        """Hold, release or requeue a job, or let it have the first turn of its owner's.

        Args:
            job_id: the queue's id.
            actor: who wants it; `by_owner` whether they act as its owner, else as an operator.

        Returns:
            A sentence on what becomes of it.

        Raises:
            NotAllowedError: it is not its owner's to do.
            NotPossibleError: the job is not one with which this can be done.
            SlurmError: Slurm was never seen and does not answer.
        """
        self._look()
        self._refuse_if_advisory()
        with self._queue.transaction():
            job = self._queue.jobs.get(job_id)
            transition, words = self._actions.act(job, action, actor, by_owner=by_owner)
            if transition != Transition(job):
                self._apply(job, transition, actor=actor)
        self._recording.keep()
        return words

    def lose(self, job_id: int) -> None:
        """A job's Slurm job is gone: Slurm has used its id again, for another submission.

        Args:
            job_id: the queue's id. One that has ended stays as it is.

        Raises:
            SlurmError: Slurm was never seen and does not answer.
        """
        self._look()
        with self._queue.transaction():
            job = self._queue.jobs.get(job_id)
            if job.state in ACTIVE:
                self._apply(job, on_recycled(job, self._observer.reports(job), self._clock()))
        self._observer.drop(job.request.slurm_job_id)
        self._state_dirs.forget(job)
        self._recording.keep()

    def _refuse_if_advisory(self) -> None:
        if self._settings.advisory:
            raise NotPossibleError("ef-schedd runs with --advisory: it looks, and changes nothing")

    def _look(self) -> None:
        if self._observer.refreshed_at is None:
            self._observer.refresh()

    # What is new

    def _apply(
        self, job: QueueJob, transition: Transition, *, actor: str | None = None
    ) -> QueueJob:
        """Write what is new of a job; returns its row as it is then.

        Args:
            actor: who did it; None: its owner or the daemon, as the transition says.
        """
        now = self._clock()
        row = write_transition(self._queue, job, transition, now, actor)
        if transition.settled is not None:
            self._early_verdicts.settle(job, transition.settled, now)
        if transition.job.running is None and job.running is not None:
            self._calibration.forget(job.id)
        if transition.forgotten:
            self._observer.expect_forgotten_run(job.request.slurm_job_id)
        if transition.to is JobState.LOST:
            self._acting.expect_lost()
        if transition.to in FINAL:
            self._planning.wanted = True
            self._looks.job_ended(now)
            self._calibration.ended(job.id)
            self._follower.forget(job.id)
            self._estimates.closures.forget(job.id)
            self._acting.forget(row)
            self._fence.forget(job.id)
            self._complaints.forget(job.id)
            self._launches.forget(job.id)
        self._planning.wanted |= transition.replan
        return row

    def _make_notices(self) -> None:
        if self._notices is not None and self._tell is not None and self._notices.make():
            self._tell()

    def _forget_old(self) -> None:
        """One piece of what has ended too long ago."""
        keep = self._settings.keep_ended
        never_run = min(keep, self._settings.keep_never_run)
        if math.isfinite(never_run):
            now = self._clock()
            self._queue.retention.prune(
                now - keep, limit=PRUNED_ROWS, never_run_before=now - never_run
            )
            self._recording.forget(self._queue.retention.take_forgotten())
        keep = self._settings.keep_profiles
        if math.isfinite(keep):
            self._queue.profiles.prune(self._clock() - keep, limit=PRUNED_ROWS)

    # Pace

    def _delay(self) -> float:
        if self._gave_way:
            return 0.0
        now = self._clock()
        settings = self._settings
        refreshed_at = self._observer.refreshed_at
        ready = now if refreshed_at is None else refreshed_at + settings.query_interval
        if self._acting.reconciled.reports:
            delay = settings.report_interval
        elif self._planning.wanted or self._looks.wanted:
            delay = max(0.0, ready - now)
        else:
            busy = self._looks.is_on_its_way(transit=self._acting.reconciled.transit)
            delay = settings.tick_interval if busy else settings.idle_report_interval
        for moment in (self._planning.next_change, self._acting.reconciled.wake):
            if moment is not None:
                delay = min(delay, max(0.0, moment - now))
        return delay
