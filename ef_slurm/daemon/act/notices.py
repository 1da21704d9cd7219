"""What there is to tell of jobs, made of the audit log.

The log has every change of a promise and of a state, in the transaction in which it was made. So
nothing else of the daemon has to think of telling, a kill between a change and its notice loses
nothing, and what is read twice makes no second notice. Sending is `daemon.act.sender`'s.
"""

from __future__ import annotations

from ef_slurm.model import (
    FINAL,
    Event,
    EventKind,
    JobState,
    NoticeKind,
    PromiseOutcome,
    PromiseState,
    QueueJob,
)
from ef_slurm.queue.errors import NoSuchRowError
from ef_slurm.queue.store import Queue

RISK_SECONDS = 60.0
"""For how long a promise is at risk, or Slurm does not know a job, before that is told.

Most often the next plan mends the one, and the job is submitted again.
"""

EVENTS_AT_ONCE = 500
"""Read in one tick."""

_KINDS = (EventKind.STATE, EventKind.PROMISED, EventKind.PROMISE)
_ON_GPUS = frozenset({JobState.STARTING.value, JobState.RUNNING.value})
_OFF_THEM = frozenset({JobState.ADMITTED.value, JobState.PAUSED.value})


def _may_pass(event: Event, kind: NoticeKind) -> bool:
    """Whether what has come to pass is often over in a moment."""
    return kind is NoticeKind.AT_RISK or event.data.get("to") == JobState.LOST.value


class Notices:
    """Makes notices of events. The scheduler's thread only."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        known = queue.notices.cursor()
        # Who turns notices on is not told the past.
        self._cursor = queue.notices.last_event() if known is None else known
        if known is None:
            queue.notices.set_cursor(self._cursor)

    def make(self) -> bool:
        """Look at what was logged since the last time; whether there is something to send."""
        newest = self._queue.notices.last_event()
        if newest <= self._cursor:
            return False
        events = self._queue.events.all(after=self._cursor, kinds=_KINDS, limit=EVENTS_AT_ONCE)
        upto = newest if len(events) < EVENTS_AT_ONCE else events[-1].id
        assert upto is not None
        made = False
        if events:
            with self._queue.transaction():
                for event in events:
                    made |= self._make(event)
                self._queue.notices.set_cursor(upto)
        self._cursor = max(upto, self._cursor)
        return made

    def _make(self, event: Event) -> bool:
        if event.job_id is None or event.id is None:
            return False
        try:
            job = self._queue.jobs.get(event.job_id)
        except NoSuchRowError:
            return False
        wanted = job.request.mail_types
        kind = None if not wanted else self._kind(event, job)
        if kind is None or kind not in wanted:
            return False
        return self._queue.notices.add(
            job.id,
            kind,
            event_id=event.id,
            at=event.at,
            wait=RISK_SECONDS if _may_pass(event, kind) else 0.0,
            message=event.message,
        )

    def _kind(self, event: Event, job: QueueJob) -> NoticeKind | None:
        was, now = event.data.get("from"), event.data.get("to")
        if event.kind is EventKind.PROMISED:
            self._queue.notices.drop_open(job.id, NoticeKind.AT_RISK)
            return NoticeKind.PROMISED
        if event.kind is EventKind.STATE:
            return self._of_state(job, was, now)
        match now:
            case PromiseState.AT_RISK.value:
                return NoticeKind.AT_RISK
            case PromiseState.SAFE.value | PromiseState.IN_GRACE.value:
                return self._told_otherwise(job, NoticeKind.AT_RISK)
            case PromiseOutcome.OPEN.value:
                return self._told_otherwise(job, NoticeKind.LATE)
            case PromiseOutcome.KEPT.value | PromiseOutcome.KEPT_IN_GRACE.value:
                self._queue.notices.drop_open(job.id, NoticeKind.AT_RISK)
                return NoticeKind.KEPT
            case PromiseOutcome.BROKEN.value:
                self._queue.notices.drop_open(job.id, NoticeKind.AT_RISK)
                return NoticeKind.LATE
        return None

    def _told_otherwise(self, job: QueueJob, before: NoticeKind) -> NoticeKind | None:
        """All is well again: told to whom it was told that it is not."""
        if self._queue.notices.drop_open(job.id, before):
            return None
        last = self._queue.notices.last_of(job.id, (NoticeKind.PROMISED, before))
        told = last is not None and last[0] is before
        return NoticeKind.PROMISED if told else None

    def _of_state(self, job: QueueJob, was: object, now: object) -> NoticeKind | None:
        if was == JobState.LOST.value and now in _OFF_THEM:  # it was submitted again
            for kind in (NoticeKind.FAIL, NoticeKind.END):
                self._queue.notices.drop_open(job.id, kind)
            return NoticeKind.REQUEUE
        if now == JobState.RUNNING.value:
            begun = self._queue.notices.last_of(job.id, (NoticeKind.BEGIN,))
            return NoticeKind.BEGIN if begun is None else None
        if was in _ON_GPUS and now in _OFF_THEM:
            return NoticeKind.REQUEUE
        if now not in {state.value for state in FINAL}:
            return None
        if now == JobState.REJECTED.value and job.first_started_at is None:
            return None  # ef-sbatch has said so
        good = now in (JobState.COMPLETED.value, JobState.CANCELLED.value)
        if not good and NoticeKind.FAIL in job.request.mail_types:
            return NoticeKind.FAIL
        return NoticeKind.END
