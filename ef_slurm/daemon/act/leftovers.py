"""What attempts to submit a job again have left in Slurm without the daemon having heard its id.

A submission that timed out, or whose daemon was killed, may have been done. Its intent stays open,
whatever becomes of the job, until Slurm was asked: `resubmit` goes on with what is found, and what
nobody wants any more is cancelled here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.ownership import is_of_later_submission, ownership_error
from ef_slurm.daemon.pauses import lately
from ef_slurm.model import (
    ACTIVE,
    ACTOR,
    LOST_WINDOW_SECONDS,
    Event,
    EventKind,
    Intent,
    IntentAction,
    IntentState,
    JobState,
    Json,
    QueueJob,
)
from ef_slurm.queue.errors import RowError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import NoSuchJobError, NotPermittedError, RefusedError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import HoldKind, SlurmJob

NAMESAKES = "namesakes"
"""Argument of an intent to submit: Slurm's ids that its owner had under the same name before."""

SETTLE_SECONDS = 10.0
"""Seconds after an attempt in which slurmctld may still take what it was sent."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Left:
    """Slurm jobs that wait or run, and may be what an attempt made.

    Args:
        sure: whether they cannot be anything older. Not so where the intent, of an older daemon,
            does not say what was there before.
    """

    jobs: tuple[SlurmJob, ...] = ()
    sure: bool = True

    @property
    def ids(self) -> tuple[int, ...]:
        """Slurm's."""
        return tuple(job.job_id for job in self.jobs)

    @property
    def held(self) -> tuple[SlurmJob, ...]:
        """Those that wait as they were submitted."""
        return tuple(job for job in self.jobs if job.is_pending and job.hold is not HoldKind.NONE)

    @property
    def doubtful(self) -> bool:
        """Whether there is something that may as well be somebody's own.

        Several that are held would be of several attempts, or the owner's own; what is not held may
        be what an attempt made and its owner has released, or the owner's own.
        """
        return len(self.jobs) > 1 or self.held != self.jobs or (bool(self.jobs) and not self.sure)

    def __str__(self) -> str:
        return ", ".join(str(slurm_id) for slurm_id in self.ids)


class Namesakes:
    """Slurm jobs of the same owner and name as a job of the queue.

    Slurm is asked, and nobody else hears the answer: the round of actions that this is a part of
    goes by what the jobs were followed to.
    """

    def __init__(self, queue: Queue, slurm: Slurm) -> None:
        self._queue = queue
        self._slurm = slurm

    def present(self, job: QueueJob) -> list[Json]:
        """Those that Slurm has now, by id: what an attempt that begins now cannot have made.

        By their times that could not be said: Slurm's clock is another one than ours.

        Raises:
            SlurmError: it does not answer.
        """
        return [slurm.job_id for slurm in self._of(job)]

    def left(self, job: QueueJob, intent: Intent) -> Left:
        """What the attempts of an intent to submit a job may have made.

        Raises:
            SlurmError: it does not answer.
        """
        before = intent.arguments.get(NAMESAKES)
        sure = isinstance(before, list)
        known = before if isinstance(before, list) else []
        new = (slurm for slurm in self._of(job) if slurm.job_id not in known and not slurm.is_final)
        return Left(tuple(slurm for slurm in new if self._is_nobodys(slurm, job)), sure)

    def _of(self, job: QueueJob) -> Iterator[SlurmJob]:
        wanted = job.request.uid, job.request.name
        for slurm in self._slurm.observe().jobs.values():
            if (slurm.uid, slurm.name) == wanted:
                yield slurm

    def _is_nobodys(self, slurm: SlurmJob, job: QueueJob) -> bool:
        row = self._queue.jobs.of_slurm(slurm.job_id, job.request.cluster)
        if row is None or ownership_error(row, slurm) is not None:
            return True  # Slurm uses ids again
        return is_of_later_submission(row, slurm)


class Leftovers:
    """Cancels what was submitted for jobs that do not want it any more."""

    def __init__(
        self,
        slurm: Slurm,
        queue: Queue,
        observer: Observer,
        namesakes: Namesakes,
        clock: Callable[[], float],
        fence: Fence,
    ) -> None:
        self._slurm = slurm
        self._queue = queue
        self._observer = observer
        self._namesakes = namesakes
        self._clock = clock
        self._fence = fence

    def cancel(self) -> float | None:
        """Cancel those whose time has come; returns when the next one's comes, or None.

        Raises:
            SlurmUnavailableError: Slurm does not answer.
        """
        following: float | None = None
        for intent in self._queue.intents.unfinished():
            if intent.action is not IntentAction.SUBMIT:
                continue
            try:
                job = self._queue.jobs.get(intent.job_id)
            except RowError:
                continue
            with self._fence.around(job, "its submission given up"):
                if self._is_wanted(job):
                    continue
                tried = intent.changed_at
                # Of one that goes on as it was, the next step needs the intent's place.
                if job.state not in ACTIVE and lately(tried, SETTLE_SECONDS, self._clock()):
                    due = tried + SETTLE_SECONDS
                    following = due if following is None else min(due, following)
                    continue
                self._give_up(job, intent)
        return following

    def _is_wanted(self, job: QueueJob) -> bool:
        """Whether the job is still to be submitted again."""
        if job.state is JobState.LOST:
            ended_at = self._clock() if job.ended_at is None else job.ended_at
            return ended_at >= self._clock() - LOST_WINDOW_SECONDS
        if job.state not in ACTIVE:
            return False
        status = self._observer.status(job)
        return status is None or status.slurm.is_final

    def _give_up(self, job: QueueJob, intent: Intent) -> None:
        left = self._namesakes.left(job, intent)
        why = "what was to be submitted again is not wanted any more"
        if left.jobs:
            why = f"{why}; {self._undone(left)}"
        now = self._clock()
        about_it = about(job, EventKind.INTENT)
        _log.info("job %d: %s", job.request.slurm_job_id, why, extra=about_it)
        with self._queue.transaction():
            self._queue.intents.advance(intent.id, IntentState.ABANDONED, at=now, why=why)
            if left.jobs:
                self._queue.events.log(Event(now, EventKind.ERROR, ACTOR, why, job.id))

    def _undone(self, left: Left) -> str:
        """Cancel what can be nothing else; what became of it, in words."""
        if left.doubtful:
            return f"Slurm job {left} may be left of it: cancel that, if it is nothing else"
        try:
            self._slurm.cancel(left.ids[0])
        except NoSuchJobError:
            return f"Slurm job {left}, which was, has gone by itself"
        except (RefusedError, NotPermittedError) as error:
            return f"Slurm job {left}, which was, could not be cancelled: {error.message}"
        return f"Slurm job {left}, which was, is cancelled"
