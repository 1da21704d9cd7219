"""Reconciles every job with its block: asks `next_step`, has it done, and asks again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from ef_slurm.daemon.act.conditions import Timeouts
from ef_slurm.daemon.act.executor import Executor, Refusal
from ef_slurm.daemon.act.free_gpus import FreeGpus, free_gpus_of
from ef_slurm.daemon.act.left_nodes import LeftNodes
from ef_slurm.daemon.act.next_step import next_step
from ef_slurm.daemon.act.reconcile_result import ReconcileResult
from ef_slurm.daemon.act.step_budget import StepBudget
from ef_slurm.daemon.act.steps import (
    Do,
    Done,
    Extend,
    ExtendCompanion,
    Failed,
    GiveBack,
    GivenUp,
    Hold,
    OrderPrepare,
    OrderRelaunch,
    OrderResize,
    OrderStop,
    Release,
    ReleaseCompanion,
    Requeue,
    Resize,
    ShapeCompanion,
    Step,
    Update,
    Wait,
)
from ef_slurm.daemon.act.surroundings import Surroundings
from ef_slurm.daemon.act.time_to_act import TimeToAct, Turns
from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.observe.closures import refusal_data
from ef_slurm.daemon.observe.companion_book import CompanionBook
from ef_slurm.daemon.observe.companion_follower import CompanionFollower
from ef_slurm.daemon.observe.ends import is_over
from ef_slurm.daemon.observe.estimates import Estimates
from ef_slurm.daemon.observe.held_up import waiting_for_gpus
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.live_launches import LiveLaunches
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.slurm_changes import changes
from ef_slurm.model import ACTOR, Block, Event, EventKind, Intent, IntentAction, QueueJob
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import NoSuchJobError
from ef_slurm.slurm.refusals import Refused, refusal_of
from ef_slurm.slurm.types import HoldKind

MAX_STEPS = 8
"""Steps of one job in one tick."""

BACKOFF_SECONDS = 15.0
"""Seconds before a step that was refused is tried again."""

_log = logging.getLogger(__name__)


class Reconciler:
    """Brings jobs to their blocks, as far as one tick goes."""

    def __init__(
        self,
        executor: Executor,
        observer: Observer,
        queue: Queue,
        estimates: Estimates,
        timeouts: Timeouts,
        hold: HoldKind,
        clock: Callable[[], float],
        fence: Fence,
        companions: CompanionBook,
        follower: CompanionFollower,
        launches: LiveLaunches,
        time_to_act: TimeToAct,
    ) -> None:
        self._fence = fence
        self._turns = Turns(time_to_act)
        self._last = ReconcileResult()
        self._companions = companions
        self._follower = follower
        self._surroundings = Surroundings(
            observer, queue, estimates, hold, clock, companions, launches
        )
        self._executor = executor
        self._observer = observer
        self._queue = queue
        self._closures = estimates.closures
        self._timeouts = timeouts
        self._clock = clock
        self._left_nodes = LeftNodes(executor.step_nodes, clock)
        self._not_before: dict[int, float] = {}
        self._requeued: set[int] = set()
        self._intents: dict[int, Intent] = {}
        self._budget = StepBudget()
        self._jobs: list[QueueJob] = []

    def reconcile(self, jobs: Iterable[QueueJob]) -> ReconcileResult:
        """One round over the jobs that the queue holds, or over those that the last did not reach.

        Raises:
            SlurmUnavailableError: Slurm does not answer; the rest of the round is left out.
        """
        jobs = [job for job in jobs if not job.is_held_in_slurm]
        ours = {job.request.slurm_job_id for job in jobs} | self._companions.slurm_ids
        self._jobs = jobs
        free_gpus = free_gpus_of(self._observer.observation, ours)
        self._intents = {intent.job_id: intent for intent in self._queue.intents.unfinished()}
        # Those that leave GPUs come before those that wait for them.
        running: list[tuple[QueueJob, JobStatus]] = []
        others: list[tuple[QueueJob, JobStatus]] = []
        for job in jobs:
            with self._fence.around(job, "looked up"):
                status = self._observer.status(job)
                if status is not None:
                    (running if status.slurm.holds_nodes else others).append((job, status))
        goes_on = self._turns.goes_on(running + others)
        reconciled = self._last = self._last.of_those_before() if goes_on else ReconcileResult()
        for job, status in self._turns.take(running + others):
            later = self._backs_off_until(job)
            if later is not None:
                reconciled.until(later)
                continue
            self._not_before.pop(job.id, None)
            fine = False
            with self._fence.around(job, "brought to its GPUs"):
                try:
                    self._reconcile(job, status, free_gpus, reconciled)
                except NoSuchJobError:
                    self._observer.drop(job.request.slurm_job_id)
                fine = True
            if not fine:
                self._back_off(job, reconciled)
        reconciled.unfinished = self._turns.unfinished
        if goes_on and not reconciled.unfinished:
            reconciled.until(self._clock())  # those before, and newcomers, may have something to do
        return reconciled

    def requeue(self, job_id: int) -> None:
        """Have a job that runs save a checkpoint, put back, and start anew.

        Args:
            job_id: the queue's. Forgotten by a daemon that dies: the job then goes on where it is.
        """
        self._requeued.add(job_id)

    def forget(self, job: QueueJob) -> None:
        """The job has ended: nothing of it is on its way any more."""
        self._executor.drop(job, "the job has ended")
        self._surroundings.forget(job.id)
        self._not_before.pop(job.id, None)
        self._requeued.discard(job.id)
        self._left_nodes.forget(job.id)
        self._budget.forget(job.id)

    def _reconcile(
        self, job: QueueJob, status: JobStatus, free_gpus: FreeGpus, reconciled: ReconcileResult
    ) -> None:
        looked_at = self._observer.observation.at
        slurm = self._executor.check_release(job, status.slurm, looked_at)
        if slurm is not status.slurm:
            self._observer.update(slurm)
            status = replace(status, slurm=slurm)
        target = None if job.running is None else job.running.block
        if job.id in self._requeued:
            if status.slurm.is_running:
                target = None  # until it is put back
            else:
                self._requeued.discard(job.id)
        if status.slurm.is_final and is_over(status):
            return  # nobody could write that down in this tick
        untouched = True  # by this round: the row and its intent are what they were before it
        to_go_on = status.slurm.is_final  # or it would not be active any more
        read_back = False
        for _ in range(MAX_STEPS):
            now = self._clock()
            intent = self._intents.get(job.id)
            state = job.state
            if not untouched:
                intent = self._queue.intents.unfinished_of(job.id)
                state = self._queue.jobs.get(job.id).state
            conditions = self._surroundings.conditions(
                job, state, intent, status, target, free_gpus, self._jobs
            )
            following = next_step(status, target, conditions, self._timeouts, now)
            if status.slurm.is_final:
                if not to_go_on:
                    return  # it ended just now: the next tick hears how
                if intent is not None and intent.action is IntentAction.SUBMIT:
                    reconciled.dead.append(job)  # refused before; it may be submitted already
                    return
                following = Do(Requeue(ended=True))
            match following:
                case Done() if intent is None:
                    return  # as most jobs do in most rounds
                case Done():
                    self._executor.settle(job, status)
                    self._executor.drop(job, "overtaken: the job is where it is to be")
                    return
                case Wait(_, until, reports):
                    self._executor.settle(job, status)
                    reconciled.transit = True
                    if reports:
                        reconciled.reports.add(job.id)
                    if until is not None:
                        reconciled.until(until)
                    return
                case Failed(why):
                    self._give_up(job, status, target, why, reconciled)
                    return
                case GivenUp(why, words, held):
                    self._follower.give_up(job, status, why, words, held=held)
                    reconciled.transit = reconciled.replan = True
                    return
                case Do(Release()) if not read_back:
                    # What its owner has changed since it was last seen must not be let go.
                    status = replace(status, slurm=self._executor.read_back(status.slurm.job_id))
                    self._observer.update(status.slurm)
                    read_back = True
                case Do(Release()) if changes(job, status.slurm):
                    reconciled.transit = reconciled.replan = True
                    return  # the next tick makes a new request of it
                case Do(Resize(block) | GiveBack(block, live=False)) if (
                    busy := self._left_nodes.look(job, status, block)
                ):
                    reconciled.transit = True
                    if busy.again is not None:
                        reconciled.until(busy.again)
                        return
                    self._not_in_place(job, status, busy.words)
                case Do(step, reason):
                    later = self._budget.take(job.id, step, now)
                    if later:
                        self._wait_for_budget(job, step, now + later, reconciled)
                        return
                    read_back = isinstance(step, Update)
                    untouched = False
                    reconciled.transit = True
                    after = self._do(job, status, step, target, free_gpus, reconciled, reason)
                    if after is None:
                        return
                    status = after

    def _backs_off_until(self, job: QueueJob) -> float | None:
        """Before when nothing is tried: what is further off than it can be is of another clock."""
        until = self._not_before.get(job.id, 0.0)
        now = self._clock()
        return until if now < until <= now + BACKOFF_SECONDS else None

    def _do(
        self,
        job: QueueJob,
        status: JobStatus,
        step: Step,
        target: Block | None,
        free_gpus: FreeGpus,
        reconciled: ReconcileResult,
        reason: str = "",
    ) -> JobStatus | None:
        """The facts after the step, or None where the job must wait for another tick."""
        why = "; ".join(filter(None, (_purpose(target), reason)))
        result = self._executor.execute(job, status, step, why)
        if isinstance(result, Refusal):
            return self._refused(job, status, result, target, reconciled)
        self._observer.update(result.slurm)
        for member in result.members:
            if member.slurm is not None:
                self._observer.update(member.slurm)
        match step:
            case Update(block):
                self._surroundings.updated(job, block, result)
            case Requeue() if not status.slurm.is_pending:
                self._observer.expect_ended_run(status.slurm)
            case Release(block):
                held_up = waiting_for_gpus(self._queue, job, status, self._clock())
                if held_up is not None:
                    self._queue.events.log(held_up)
                free_gpus.take(block)
                self._observer.expect_new_run(job.request.slurm_job_id)
            case ShapeCompanion(companion):
                self._surroundings.companion_updated(companion)
            case ReleaseCompanion(companion):
                free_gpus.take(companion.block)
        seen_pending, killed_by = self._observer.ended_run(result.slurm)
        return replace(result, seen_pending=seen_pending, killed_by=killed_by)

    def _refused(
        self,
        job: QueueJob,
        status: JobStatus,
        refusal: Refusal,
        target: Block | None,
        reconciled: ReconcileResult,
    ) -> JobStatus | None:
        if refusal.held_first:
            self._held_first(status, reconciled)
            return None
        match refusal.step:
            case Resize():
                self._surroundings.stays_whole(job, status)
                return status
            case OrderStop() | OrderRelaunch() if _gives_up_nodes(status, target):
                # It cannot be told; TERM, which comes with the requeue, is its chance to save.
                return self._do(job, status, Requeue(), target, FreeGpus({}), reconciled)
            case OrderRelaunch() if status.slurm.is_pending and _begins_on_a_part(job):
                # It begins on all its GPUs rather than not at all.
                row = self._queue.jobs.get(job.id)
                if row.running is not None:
                    whole = replace(row.running, active=None)
                    self._queue.jobs.save(replace(row, running=whole, note=refusal.message))
                reconciled.until(self._clock())
                return None
            case Extend():
                # Only operators may; its next run has the limit that it needs.
                self._surroundings.not_extended(job)
                self._save(job, f"its time limit stays until its next start: {refusal.message}")
                return status
            case ExtendCompanion(companion):
                self._surroundings.companion_not_extended(companion)
                why = f"its companion {companion.slurm_job_id} ends before it: {refusal.message}"
                self._save(job, why)
                return status
            case GiveBack():
                self._surroundings.stays_whole(job, status)
                return status
            case OrderPrepare() | OrderResize() | ShapeCompanion() | ReleaseCompanion():
                self._follower.give_up(job, status, "it was refused", refusal.message)
                reconciled.transit = reconciled.replan = True
                return None
            case Requeue() if status.slurm.is_final:
                reconciled.dead.append(job)
                return None
            case Update(block) | Release(block):
                # It does not have what it was to get, and is to get something else.
                self._closures.refuse(job.id, block, refusal.message, self._clock())
                self._save(job, f"Slurm: {refusal.message}", gives_up=True)
                reconciled.replan = True
                if refusal_of(refusal.message) is Refused.UNKNOWN:
                    self._back_off(job, reconciled)  # who knows whether another block helps
                return None
            case _:
                self._save(job, f"Slurm: {refusal.message}")
                self._back_off(job, reconciled)  # the same again would be refused again
                return None

    def _held_first(self, status: JobStatus, reconciled: ReconcileResult) -> None:
        self._observer.fetch(status.slurm.job_id)
        reconciled.transit = reconciled.replan = True  # the next tick sees whose hold it is
        reconciled.until(self._clock())

    def _not_in_place(self, job: QueueJob, status: JobStatus, why: str) -> None:
        """Its launch gives up nodes by a requeue alone."""
        self._surroundings.stays_whole(job, status)
        about_it = about(job, EventKind.ERROR)
        _log.warning("job %d: %s", job.request.slurm_job_id, why, extra=about_it)
        self._save(job, why)
        self._queue.events.log(Event(self._clock(), EventKind.ERROR, ACTOR, why, job.id))

    def _save(self, job: QueueJob, note: str, *, gives_up: bool = False) -> None:
        """Put a note on the row; `gives_up`: it does not get the block that it was to have."""
        row = self._queue.jobs.get(job.id)
        running = None if gives_up else row.running
        if (row.note, row.running) != (note, running):
            self._queue.jobs.save(replace(row, note=note, running=running))

    def _give_up(
        self,
        job: QueueJob,
        status: JobStatus,
        target: Block | None,
        why: str,
        reconciled: ReconcileResult,
    ) -> None:
        """Slurm does not start the job: hold it again and let the plan think anew."""
        now = self._clock()
        about_it = about(job, EventKind.ERROR)
        _log.warning("job %d: %s", job.request.slurm_job_id, why, extra=about_it)
        if target is not None:
            self._closures.refuse(job.id, target, status.slurm.reason, now)
        held = self._executor.execute(job, status, Hold(), why)
        if isinstance(held, Refusal):
            if held.held_first:
                self._held_first(status, reconciled)
            return
        self._observer.update(held.slurm)
        row = self._queue.jobs.get(job.id)
        with self._queue.transaction():
            self._queue.jobs.save(replace(row, running=None, note=why))
            self._queue.jobs.move(job.id, row.waiting_state, at=now, actor=ACTOR, why=why)
            data = {} if target is None else refusal_data(target, status.slurm.reason)
            self._queue.events.log(Event(now, EventKind.ERROR, ACTOR, why, job.id, data))
        reconciled.replan = True

    def _wait_for_budget(
        self, job: QueueJob, step: Step, until: float, reconciled: ReconcileResult
    ) -> None:
        reconciled.transit = True
        reconciled.until(until)
        if not self._budget.is_news(job.id):
            return
        what = type(step).__name__
        why = f"too much is done for it in too short a time, by what it reports: {what} waits"
        about_it = about(job, EventKind.ERROR)
        _log.warning("job %d: %s", job.request.slurm_job_id, why, extra=about_it)
        self._queue.events.log(Event(self._clock(), EventKind.ERROR, ACTOR, why, job.id))

    def _back_off(self, job: QueueJob, reconciled: ReconcileResult) -> None:
        self._not_before[job.id] = self._clock() + BACKOFF_SECONDS
        reconciled.until(self._not_before[job.id])


def _gives_up_nodes(status: JobStatus, target: Block | None) -> bool:
    return status.slurm.is_running and (target is None or not status.holds(target))


def _begins_on_a_part(job: QueueJob) -> bool:
    return job.running is not None and job.running.active is not None


def _purpose(target: Block | None) -> str:
    if target is None:
        return "it is to hold no GPUs"
    return f"it is to run on {','.join(target.nodes)} with {target.gpus} GPUs"
