"""One tick of the daemon: observe → ingest → plan → reconcile → act.

Nothing but the queue must survive between two ticks. What is remembered here is either learned
again (`Knowledge`, from events) or only saves work.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from ef_slurm.contract import LaunchState
from ef_slurm.daemon.act.executor import Actor
from ef_slurm.daemon.act.orphans import Orphans
from ef_slurm.daemon.act.reconciler import Driven, Driver
from ef_slurm.daemon.act.resubmit import Resubmitter
from ef_slurm.daemon.observe.calibration import Learner
from ef_slurm.daemon.observe.estimates import Knowledge
from ef_slurm.daemon.observe.job_status import Facts
from ef_slurm.daemon.observe.observer import Watch
from ef_slurm.daemon.observe.ownership import unfit
from ef_slurm.daemon.observe.state_dirs import Desk
from ef_slurm.daemon.observe.transitions import News, follow, vanished
from ef_slurm.daemon.plan.advice import advise
from ef_slurm.daemon.plan.planner_input import (
    cluster,
    fit,
    planner_jobs,
    planner_newcomer,
    running_now,
    runs_on,
)
from ef_slurm.daemon.plan.record import record
from ef_slurm.daemon.settings import Setup
from ef_slurm.formats.sentences import verdict_sentence
from ef_slurm.model import (
    ACTIVE,
    ACTOR,
    FINAL,
    FOREVER,
    Cluster,
    Event,
    EventKind,
    Job,
    JobRequest,
    JobState,
    Plan,
    PromiseOutcome,
    QueueJob,
    planner_id,
    queue_id,
)
from ef_slurm.planner.plan import plan
from ef_slurm.planner.what_if import WhatIf, what_if
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import HoldKind

_log = logging.getLogger(__name__)

SLIP_REPLAN = 10.0
"""Seconds between plans that only take a late start into account."""

PROGRESS_SECONDS = 2.0
"""How much training may pass between two writes of a job's progress."""

ON_ITS_WAY = frozenset({JobState.NEW, JobState.STARTING, JobState.STOPPING})
LEAVING = frozenset({LaunchState.FINISHED, LaunchState.FAILED, LaunchState.INTERRUPTED})


class Scheduler:
    """The daemon without its surroundings: no threads, no sockets, no clock of its own."""

    def __init__(
        self,
        setup: Setup,
        slurm: Slurm,
        queue: Queue,
        desk: Desk,
        clock: Callable[[], float],
    ) -> None:
        self._setup = setup
        self._queue = queue
        self._clock = clock
        self._watch = Watch(slurm, desk, clock)
        actor = Actor(slurm, queue, desk, clock)
        self._driver = Driver(actor, self._watch, queue, setup.patience, setup.hold, clock)
        self._orphans = Orphans(actor, self._watch, queue, clock)
        self._resubmitter = Resubmitter(slurm, queue, self._watch, clock, setup.uid)
        self._lost = True  # there may be some from before
        self._knowledge = Knowledge()
        self._learner = Learner(self._knowledge, queue)
        if setup.learn:
            self._learner.recall()
        self._dirty = True
        self._look_wanted = True
        self._silent_since: float | None = None
        self._ticked_at: float | None = None
        self._planned: Cluster | None = None
        self._planned_at = -math.inf
        self._next_change = FOREVER
        self._driven = Driven()
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
        self._watch.read(jobs)
        self._look_wanted |= any(job.state is JobState.NEW or self._leaves(job) for job in jobs)
        if self._look_is_due(now, jobs) and not self._look(now):
            return self._setup.retry
        if self._watch.looked_at is None:
            return self._setup.idle_tick
        try:
            jobs = self._ingest(jobs)
            if self._plan_is_due(self._clock(), jobs):
                self._plan(jobs)
                jobs = self._queue.jobs.all(ACTIVE)
            if not self._setup.advisory:
                self._driven = self._driver.drive(jobs)
                self._knowledge.caps.update(self._driven.caps)
                self._dirty |= self._driven.replan
                self._second_lives()
                orphan = self._orphans.cancel()
                if orphan is not None:
                    self._driven.until(orphan)
        except SlurmError as error:
            self._slurm_is_silent(error)
            return self._setup.retry
        self._ticked_at = self._clock()
        return self._delay()

    def recheck(self, slurm_job_ids: Iterable[int]) -> None:
        """Ask Slurm about these jobs now; the next tick follows. Raises SlurmUnavailableError."""
        if self._watch.looked_at is not None:
            for job_id in slurm_job_ids:
                if self._watch.ask(job_id) is None:
                    self._watch.forget(job_id)

    def judge(self, request: JobRequest) -> tuple[WhatIf, str]:
        """The verdict that this request would get now, also in words. Writes nothing.

        Raises:
            SlurmError: Slurm was never seen and does not answer.
            ModelError: the request is not one that can be planned.
        """
        now = self._clock()
        looked = self._watch.looked_at
        if looked is None or now - looked >= self._setup.idle_tick:
            self._watch.look()
        jobs = self._queue.jobs.all(ACTIVE)
        ground = cluster(self._watch.observation, self._setup.ground, jobs)
        newcomer = fit(planner_newcomer(request, self._knowledge), ground)
        planned = self._planner_jobs(jobs, ground, now)
        answer = what_if(now, planned, newcomer, ground, self._setup.policy)
        names = {planner_id(job.id): str(job.request.slurm_job_id) for job in jobs}
        return answer, verdict_sentence(answer.verdict, lambda name: names.get(name, name))

    # Observing

    def _look_is_due(self, now: float, jobs: tuple[QueueJob, ...]) -> bool:
        looked = self._watch.looked_at
        if looked is None:
            return True
        since = now - looked
        if since < 0:
            return True  # the clock was set back
        if since < self._setup.query_interval:
            return False
        if self._look_wanted or self._dirty:
            return True
        busy = self._driven.transit or any(job.state in ON_ITS_WAY for job in jobs)
        if not jobs and not busy:
            return False
        return since >= (self._setup.tick if busy else self._setup.idle_tick)

    def _leaves(self, job: QueueJob) -> bool:
        """Whether the job says that its run ends, and Slurm has not said so yet."""
        facts = None if self._watch.looked_at is None else self._watch.facts(job)
        launch = None if facts is None else facts.launch
        if facts is None or launch is None:
            return False
        return launch.state in LEAVING and facts.slurm.is_running

    def _look(self, now: float) -> bool:
        try:
            self._watch.look()
        except SlurmError as error:
            self._slurm_is_silent(error)
            return False
        self._look_wanted = False
        if self._silent_since is not None:
            self._tell(f"Slurm answers again after {now - self._silent_since:.0f} s")
            self._silent_since = None
        return True

    def _slurm_is_silent(self, error: SlurmError) -> None:
        self._look_wanted = True
        if self._silent_since is None:
            self._silent_since = self._clock()
            self._tell(f"Slurm does not answer, nothing is changed until it does: {error.message}")

    # Ingest

    def _ingest(self, jobs: tuple[QueueJob, ...]) -> tuple[QueueJob, ...]:
        """Write what Slurm and the jobs say into the rows; returns those that are active still."""
        for job in jobs:
            if self._watch.facts(job) is None:
                self._watch.ask(job.request.slurm_job_id)
        lost = {node.name for node in self._watch.observation.nodes if not node.usable}
        asked = {job.id for job in jobs}
        active = []
        with self._queue.transaction(durable=False):
            # Again: another process may have changed rows since. New ones wait for the next tick.
            for job in self._queue.jobs.all(ACTIVE):
                if job.id not in asked:
                    continue
                job = self._take(job, self._news(job, lost))
                if job.state in ACTIVE:
                    active.append(job)
        return tuple(active)

    def _news(self, job: QueueJob, lost_nodes: set[str]) -> News:
        now = self._clock()
        facts = self._watch.facts(job)
        if facts is None:
            return vanished(job, self._watch.reports(job), now)
        problem = unfit(job, facts.slurm)
        if problem is not None:
            return News(replace(job, note=problem), JobState.FAILED, problem)
        if self._setup.learn and self._learner.watch(job, facts, now):
            self._dirty = True
        intent = self._queue.intents.unfinished_of(job.id)
        operator = self._setup.hold is HoldKind.ADMIN
        return follow(job, facts, intent, now, operator=operator, lost_nodes=lost_nodes)

    def _take(self, job: QueueJob, news: News) -> QueueJob:
        """Write the news of a job; returns its row as it is then."""
        now, row = self._clock(), job
        if news.job != job and not _only_a_little_progress(job, news):
            row = self._queue.jobs.save(news.job, durable=False)
        actor = job.request.owner if news.actor_is_owner else ACTOR
        for tale in news.tales:
            self._queue.events.log(Event(now, tale.kind, actor, tale.message, job.id, tale.data))
        if news.to is not None:
            row = self._queue.jobs.move(job.id, news.to, at=now, actor=actor, why=news.why)
            self._dirty |= news.to in FINAL
        if news.settled is not None:
            self._queue.promises.settle(job.id, news.settled, at=now, why=_settled(news))
        if news.job.running is None and job.running is not None:
            self._learner.forget(job.id)
        self._lost |= news.to is JobState.LOST
        if news.to in FINAL:
            self._learner.forget(job.id)
            self._knowledge.rates.forget([job.id])
            self._knowledge.caps.pop(job.id, None)
            self._driver.forget(job)
        self._dirty |= news.replan
        return row

    def _second_lives(self) -> None:
        """Jobs that Slurm does not have or does not take back: submit them again, or say so."""
        for job in self._driven.dead:
            why = "it ended in Slurm, which does not take it back"
            row = self._queue.jobs.get(job.id)
            if not self._resubmitter.again(row):
                note = f"{why}: {row.note}" if row.note else why
                with self._queue.transaction():
                    self._queue.jobs.save(replace(row, note=note))
                    self._queue.jobs.move(
                        job.id, JobState.FAILED, at=self._clock(), actor=ACTOR, why=note
                    )
                    outcome = PromiseOutcome.RELEASED
                    self._queue.promises.settle(job.id, outcome, at=self._clock(), why=note)
            self._dirty = True
        if self._lost:
            self._dirty |= self._resubmitter.revive_lost()
            self._lost = False

    # Planning

    def _plan_is_due(self, now: float, jobs: tuple[QueueJob, ...]) -> bool:
        if self._dirty or now >= self._next_change:
            return True
        if any(job.state is JobState.NEW for job in jobs):
            return True
        ground = cluster(self._watch.observation, self._setup.ground, jobs)
        if ground != self._planned:
            return True
        age = now - self._planned_at
        if jobs and age >= self._setup.replan:
            return True
        return age >= SLIP_REPLAN and any(
            running_now(job, self._watch.facts(job), now) != job.running for job in jobs
        )

    def _planner_jobs(
        self, jobs: tuple[QueueJob, ...], ground: Cluster, now: float
    ) -> tuple[Job, ...]:
        facts: dict[int, Facts] = {}
        for job in jobs:
            known = self._watch.facts(job)
            if known is not None:
                facts[job.id] = known
        misfits = [job.id for job in jobs if not runs_on(job, ground)]
        known_jobs = planner_jobs(jobs, facts, self._knowledge, now, without=misfits)
        return tuple(fit(job, ground) for job in known_jobs)

    def _plan(self, jobs: tuple[QueueJob, ...]) -> None:
        now = self._clock()
        ground = cluster(self._watch.observation, self._setup.ground, jobs)
        jobs = self._turn_away(jobs, ground, now)
        planned = self._planner_jobs(jobs, ground, now)
        answer = plan(now, planned, ground, self._setup.policy)
        self._planned, self._planned_at = ground, now
        self._next_change, self._dirty = answer.next_change, False
        if self._setup.advisory:
            advise(answer, self._advice, jobs)
            self._advice = answer
            return
        overheads = {queue_id(job.id): job.overhead for job in planned}
        taking_part = {queue_id(job.id) for job in planned}
        shifts = record(
            self._queue, answer, [job for job in jobs if job.id in taking_part], overheads
        )
        self._queue.plans.prune(self._setup.keep_plans)
        for shift in shifts:
            self._learner.expect(shift.job_id, shift.change, now)

    def _turn_away(
        self, jobs: tuple[QueueJob, ...], ground: Cluster, now: float
    ) -> tuple[QueueJob, ...]:
        """Fail newcomers that no node of ours can ever run."""
        kept = []
        for job in jobs:
            if job.state is JobState.NEW and not runs_on(job, ground):
                have = ", ".join(group.gpu_type for group in ground.groups) or "none"
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
        setup = self._setup
        looked = self._watch.looked_at
        ready = now if looked is None else looked + setup.query_interval
        if self._driven.reports:
            delay = setup.glance
        elif self._dirty or self._look_wanted:
            delay = max(0.0, ready - now)
        else:
            delay = setup.tick if self._driven.transit else setup.pulse
        for moment in (self._next_change, self._driven.wake):
            if moment is not None:
                delay = min(delay, max(0.0, moment - now))
        return delay

    def _tell(self, message: str) -> None:
        _log.warning("%s", message)
        self._queue.events.log(Event(self._clock(), EventKind.DAEMON, ACTOR, message))


def _only_a_little_progress(job: QueueJob, news: News) -> bool:
    """Whether the next report will tell the same again, and this one need not be written."""
    new = news.job
    if news.to is not None or new.progress_at is None or job.progress_at is None:
        return False
    same = replace(new, iteration=job.iteration, progress_at=job.progress_at, rate=job.rate) == job
    return same and 0 <= new.progress_at - job.progress_at < PROGRESS_SECONDS


def _settled(news: News) -> str:
    outcome = news.settled
    return "" if outcome is None else f"promise {outcome.value}: {news.why}"
