"""A job that Slurm no longer holds is submitted again, where the daemon may act for its owner.

That is where they are the same user: no operator may submit for somebody else. The job goes on from
its checkpoint under another Slurm id.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import replace

from ef_slurm.daemon.act.leftovers import NAMESAKES, Left, Namesakes
from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.observe.ends import BLAMELESS_ENDS
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.settlements import settle_given_up
from ef_slurm.model import (
    ACTIVE,
    ACTOR,
    LOST_WINDOW_SECONDS,
    Event,
    EventKind,
    Fault,
    Intent,
    IntentAction,
    IntentState,
    JobState,
    Outcome,
    PromiseOutcome,
    PromiseState,
    QueueJob,
)
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import RefusedError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import Submission

_log = logging.getLogger(__name__)


class Resubmitter:
    """Gives jobs a new Slurm job."""

    def __init__(
        self,
        slurm: Slurm,
        queue: Queue,
        observer: Observer,
        namesakes: Namesakes,
        clock: Callable[[], float],
        fence: Fence,
        lose: Callable[[int], None],
        uid: int | None = None,
    ) -> None:
        """`lose` is told the queue's id of a job whose Slurm id has been used again."""
        self._lose = lose
        self._fence = fence
        self._slurm = slurm
        self._queue = queue
        self._observer = observer
        self._namesakes = namesakes
        self._clock = clock
        self._uid = os.getuid() if uid is None else uid
        self._lost_expected = True  # there may be some from before

    def expect_lost(self) -> None:
        """A job was lost: the next `recover` is to look for it."""
        self._lost_expected = True

    def recover(self, dead: Iterable[QueueJob]) -> bool:
        """Submit again what can be; settle the promises to what cannot.

        Args:
            dead: active jobs that ended in Slurm before their training did, and that it does not
                take back.

        Returns:
            Whether there was any: the plan in force does not fit any more.

        Raises:
            SlurmUnavailableError: nobody knows whether it was done; asked again, it finds out.
        """
        changed = False
        for job in dead:
            changed = True
            with self._fence.around(job, "submitted again"):
                row = self._queue.jobs.get(job.id)
                if row.state in ACTIVE and not self.resubmit(row):
                    self._fail(row)
        if self._lost_expected:
            self._lost_expected = False  # unless another one is lost meanwhile
            try:
                changed |= self._recover_lost()
            except BaseException:
                self._lost_expected = True
                raise
        return changed

    def _recover_lost(self) -> bool:
        changed = False
        since = self._clock() - LOST_WINDOW_SECONDS
        for job in self._queue.jobs.ended({JobState.LOST}, since=since):
            known = False
            with self._fence.around(job, "submitted again"):
                if self.resubmit(job):
                    changed = True
                else:
                    ended_at = self._clock() if job.ended_at is None else job.ended_at
                    settlement = settle_given_up(job, Fault.CLUSTER, job.note, ended_at)
                    self._queue.promises.settle(job.id, settlement, at=self._clock())
                known = True
            self._lost_expected |= not known
        return changed

    def _fail(self, row: QueueJob) -> None:
        """It ended in Slurm for good before its training did."""
        now, why = self._clock(), "it ended in Slurm, which does not take it back"
        note = f"{why}: {row.note}" if row.note else why
        status = self._observer.status(row)
        blameless = status is not None and status.slurm.state in BLAMELESS_ENDS
        fault = Fault.CLUSTER if blameless else Fault.JOB
        with self._queue.transaction():
            self._queue.jobs.save(replace(row, note=note))
            self._queue.jobs.move(row.id, JobState.FAILED, at=now, actor=ACTOR, why=note)
            self._queue.promises.settle(row.id, settle_given_up(row, fault, note, now), at=now)

    def resubmit(self, job: QueueJob) -> bool:
        """Submit a job again; False where the daemon may not, or Slurm refuses."""
        request = job.request
        script = self._queue.jobs.script(job.id)
        if request.uid != self._uid or not script.text:
            return False
        intent = self._announce(job)
        left = self._namesakes.left(job, intent) if intent.attempts else Left()
        if left.doubtful:
            self._cannot_tell(job, left)
            return False
        found = next((one.job_id for one in left.held), None)
        if found is None:
            submission = Submission(
                script.text, script.options, script.arguments, script.directory or None
            )
            try:
                found = self._slurm.submit(submission).job_id
            except RefusedError as error:
                self._refused(job, intent, error.message)
                return False
        other = self._queue.jobs.of_slurm(found, request.cluster)
        if other is not None and other.id != job.id and other.state in ACTIVE:
            self._lose(other.id)
        now = self._clock()
        why = f"goes on as Slurm job {found}"
        with self._queue.transaction():
            self._queue.jobs.rebind(job.id, found, at=now, actor=ACTOR)
            self._queue.jobs.move(job.id, self._state_after(job), at=now, actor=ACTOR, why=why)
            self._as_before(job, now)
            for state in (IntentState.EXECUTED, IntentState.VERIFIED, IntentState.CLOSED):
                self._queue.intents.advance(intent.id, state, at=now)
        self._observer.drop(found)  # what was last seen under that id may be another's of before
        _log.info("job %d %s", request.slurm_job_id, why, extra=about(job, EventKind.STATE))
        return True

    def _state_after(self, job: QueueJob) -> JobState:
        """Where it goes on. A lost one that had not been promised anything is judged again."""
        if job.state is not JobState.LOST:
            return job.state
        verdict = self._queue.promises.verdict(job.id)
        judged = verdict is not None and verdict.outcome is not Outcome.WAITLISTED
        return job.waiting_state if judged else JobState.NEW

    def _as_before(self, job: QueueJob, now: float) -> None:
        """What it was promised stands, and who holds it has not released it, for its being lost."""
        if job.state is not JobState.LOST:
            return
        row, promise = self._queue.jobs.get(job.id), self._queue.promises.of(job.id)
        if promise is not None and promise.outcome is PromiseOutcome.OPEN:
            row = self._queue.jobs.save(replace(row, promise=PromiseState.AT_RISK))
        if job.held_by is None:
            return
        self._queue.jobs.save(replace(row, held_by=job.held_by))
        why = "it was held when it was lost, and still is"
        self._queue.jobs.move(job.id, JobState.HELD, at=now, actor=ACTOR, why=why)

    def _announce(self, job: QueueJob) -> Intent:
        other = self._queue.intents.unfinished_of(job.id)
        now = self._clock()
        if other is not None and other.action is IntentAction.SUBMIT:
            return self._queue.intents.tried(other.id, at=now)
        before = self._namesakes.present(job)
        with self._queue.transaction():
            if other is not None:
                self._queue.intents.advance(other.id, IntentState.ABANDONED, at=now)
            return self._queue.intents.open(
                job.id,
                job.generation,
                IntentAction.SUBMIT,
                {NAMESAKES: before},
                at=now,
                why="submit it again",
            )

    def _cannot_tell(self, job: QueueJob, left: Left) -> None:
        """An earlier attempt may have made one of these, or their owner: neither is to be risked.

        The intent stays: whoever looks later, when they have gone, knows that nothing is left.
        """
        why = (
            f"is not submitted again: that may have been done, as one of Slurm jobs {left}, "
            "and nobody can tell; cancel what is nothing else"
        )
        _log.warning("job %d %s", job.request.slurm_job_id, why, extra=about(job, EventKind.ERROR))
        self._queue.events.log(Event(self._clock(), EventKind.ERROR, ACTOR, why, job.id))

    def _refused(self, job: QueueJob, intent: Intent, message: str) -> None:
        now, why = self._clock(), f"cannot be submitted again: {message}"
        with self._queue.transaction():
            self._queue.intents.advance(intent.id, IntentState.ABANDONED, at=now, why=why)
            self._queue.events.log(Event(now, EventKind.ERROR, ACTOR, why, job.id))
