"""Reconciles every job with its block: asks `next_step`, has it done, and asks again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from ef_slurm.contract import Launch
from ef_slurm.daemon.act.executor import Actor, Refusal
from ef_slurm.daemon.act.free_gpus import Ledger, open_ledger
from ef_slurm.daemon.act.next_step import Patience, Situation, next_step
from ef_slurm.daemon.act.steps import (
    Do,
    Done,
    Failed,
    Hold,
    OrderStop,
    Release,
    Requeue,
    Resize,
    Step,
    Update,
    Wait,
)
from ef_slurm.daemon.observe.job_status import Facts
from ef_slurm.daemon.observe.observer import Watch
from ef_slurm.model import ACTOR, Block, Event, EventKind, Intent, IntentAction, JobState, QueueJob
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import NoSuchJobError
from ef_slurm.slurm.types import HoldKind

MOST_STEPS = 8
"""Steps of one job in one tick."""

BACKOFF = 15.0
"""Seconds before a step that was refused is tried again."""

_LIMIT_WORDS = ("Assoc", "QOS", "Limit")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Driven:
    """What one round of driving came to.

    Args:
        transit: whether some job is on its way.
        reports: whether some job's own files will say when to go on.
        wake: when to look again although nothing may be seen to change.
        replan: whether some job could not be brought where the plan wants it.
        caps: queue id → the most GPUs that Slurm seems to allow the job.
        dead: jobs that ended in Slurm, are to go on, and are not taken back.
    """

    transit: bool = False
    reports: bool = False
    wake: float | None = None
    replan: bool = False
    caps: dict[int, int] = field(default_factory=dict)
    dead: list[QueueJob] = field(default_factory=list)

    def until(self, at: float) -> None:
        """Look again at `at`."""
        self.wake = at if self.wake is None else min(self.wake, at)


class Driver:
    """Brings jobs to their blocks, as far as one tick goes."""

    def __init__(
        self,
        actor: Actor,
        watch: Watch,
        queue: Queue,
        patience: Patience,
        hold: HoldKind,
        clock: Callable[[], float],
    ) -> None:
        self._actor = actor
        self._watch = watch
        self._queue = queue
        self._patience = patience
        self._hold = hold
        self._clock = clock
        self._born = clock()
        self._updated: dict[int, tuple[Block, int]] = {}
        self._requeue_only: set[tuple[int, int]] = set()
        self._not_before: dict[int, float] = {}

    def drive(self, jobs: Iterable[QueueJob]) -> Driven:
        """One round over the jobs that the queue holds.

        Raises:
            SlurmUnavailableError: Slurm does not answer; the rest of the round is left out.
        """
        jobs = [job for job in jobs if job.state is not JobState.HELD]
        ledger = open_ledger(self._watch.observation, (job.request.slurm_job_id for job in jobs))
        driven = Driven()
        # Those that leave GPUs come before those that wait for them.
        running: list[tuple[QueueJob, Facts]] = []
        others: list[tuple[QueueJob, Facts]] = []
        for job in jobs:
            facts = self._watch.facts(job)
            if facts is not None:
                (running if facts.slurm.holds_nodes else others).append((job, facts))
        for job, facts in running + others:
            later = self._not_before.get(job.id)
            if later is not None and self._clock() < later:
                driven.until(later)
                continue
            self._not_before.pop(job.id, None)
            try:
                self._drive(job, facts, ledger, driven)
            except NoSuchJobError:
                self._watch.forget(job.request.slurm_job_id)
        return driven

    def forget(self, job: QueueJob) -> None:
        """The job has ended: nothing of it is on its way any more."""
        self._actor.drop(job, "the job has ended")
        self._updated.pop(job.id, None)
        self._not_before.pop(job.id, None)

    def _drive(self, job: QueueJob, facts: Facts, ledger: Ledger, driven: Driven) -> None:
        target = None if job.running is None else job.running.block
        to_go_on = facts.slurm.is_final  # or it would not be active any more
        for _ in range(MOST_STEPS):
            now = self._clock()
            situation = self._situation(job, facts, target, ledger)
            following = next_step(facts, target, situation, self._patience, now)
            if facts.slurm.is_final:
                if not to_go_on:
                    return  # it ended just now: the next tick hears how
                following = Do(Requeue())
            match following:
                case Done():
                    self._actor.settle(job, facts)
                    self._actor.drop(job, "overtaken: the job is where it is to be")
                    return
                case Wait(_, until, reports):
                    self._actor.settle(job, facts)
                    driven.transit = True
                    driven.reports |= reports
                    if until is not None:
                        driven.until(until)
                    return
                case Failed(why):
                    self._give_up(job, facts, target, why, driven)
                    return
                case Do(step):
                    driven.transit = True
                    again = self._do(job, facts, step, target, ledger, driven)
                    if again is None:
                        return
                    facts = again

    def _situation(
        self, job: QueueJob, facts: Facts, target: Block | None, ledger: Ledger
    ) -> Situation:
        slurm = facts.slurm
        intent = self._queue.intents.unfinished_of(job.id)
        return Situation(
            free=target is not None and ledger.fits(target),
            updated=target is not None and self._updated.get(job.id) == (target, slurm.restarts),
            released=self._released(intent, facts),
            in_place=_key(job, facts.launch) not in self._requeue_only,
            hold=self._hold,
        )

    def _released(self, intent: Intent | None, facts: Facts) -> float | None:
        """When we released the job for its present run; not before this daemon could watch it."""
        if intent is None or intent.action is not IntentAction.RELEASE:
            return None
        same_run = intent.arguments.get("restarts") == facts.slurm.restarts
        return max(intent.opened_at, self._born) if same_run else None

    def _do(
        self,
        job: QueueJob,
        facts: Facts,
        step: Step,
        target: Block | None,
        ledger: Ledger,
        driven: Driven,
    ) -> Facts | None:
        """The facts after the step, or None where the job must wait for another tick."""
        result = self._actor.act(job, facts, step, _purpose(target))
        if isinstance(result, Refusal):
            return self._refused(job, facts, result, target, driven)
        self._watch.note(result.slurm)
        match step:
            case Update(block):
                self._updated[job.id] = (block, result.slurm.restarts)
            case Release(block):
                ledger.take(block)
        return replace(result, seen_pending=self._watch.pending_since(result.slurm))

    def _refused(
        self,
        job: QueueJob,
        facts: Facts,
        refusal: Refusal,
        target: Block | None,
        driven: Driven,
    ) -> Facts | None:
        match refusal.step:
            case Resize():
                self._requeue_only.add(_key(job, facts.launch))
                return facts
            case OrderStop():
                # It cannot be told; TERM, which comes with the requeue, is its chance to save.
                return self._do(job, facts, Requeue(), target, Ledger({}), driven)
            case Requeue() if facts.slurm.is_final:
                driven.dead.append(job)
                return None
            case _:
                self._note(job, f"Slurm: {refusal.message}")
                self._cap(job, target, refusal.message, driven)
                self._not_before[job.id] = self._clock() + BACKOFF
                driven.until(self._not_before[job.id])
                return None

    def _give_up(
        self, job: QueueJob, facts: Facts, target: Block | None, why: str, driven: Driven
    ) -> None:
        """Slurm does not start the job: hold it again and let the plan think anew."""
        now = self._clock()
        _log.warning("job %d: %s", job.request.slurm_job_id, why)
        self._cap(job, target, why, driven)
        held = self._actor.act(job, facts, Hold(), why)
        if isinstance(held, Refusal):
            return
        self._watch.note(held.slurm)
        row = self._queue.jobs.get(job.id)
        with self._queue.transaction():
            self._queue.jobs.save(replace(row, running=None, note=why))
            back = JobState.ADMITTED if row.first_started_at is None else JobState.PAUSED
            self._queue.jobs.move(job.id, back, at=now, actor=ACTOR, why=why)
            self._queue.events.log(Event(now, EventKind.ERROR, ACTOR, why, job.id))
        driven.replan = True

    def _cap(self, job: QueueJob, target: Block | None, words: str, driven: Driven) -> None:
        if target is not None and target.gpus > 1 and any(word in words for word in _LIMIT_WORDS):
            driven.caps[job.id] = target.gpus // 2
            driven.replan = True

    def _note(self, job: QueueJob, note: str) -> None:
        row = self._queue.jobs.get(job.id)
        if row.note != note:
            self._queue.jobs.save(replace(row, note=note))


def _key(job: QueueJob, launch: Launch | None) -> tuple[int, int]:
    return job.id, 0 if launch is None else launch.generation


def _purpose(target: Block | None) -> str:
    if target is None:
        return "it is to hold no GPUs"
    return f"it is to run on {','.join(target.nodes)} with {target.gpus} GPUs"
