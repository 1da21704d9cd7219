"""Companions that have outlived what they were for: cancelled, and seen to their end.

While its job takes part in rounds that does it (`live_steps.dismissal`). Here are those whose job
has ended or is held in Slurm, and Slurm jobs that say they are companions and are nobody's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from ef_slurm.contract import CompanionOf, read_companion_comment
from ef_slurm.daemon.observe.companion_book import CompanionBook
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.pauses import Pauses, lately
from ef_slurm.model import (
    ACTIVE,
    ACTOR,
    Companion,
    CompanionState,
    Event,
    EventKind,
    QueueJob,
)
from ef_slurm.queue.errors import NoSuchRowError, UnreadableRowError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import NoSuchJobError, NotPermittedError, RefusedError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import SlurmJob

GRACE_SECONDS = 20.0
"""Seconds that a companion has to end by itself once its job runs no more."""

MOST_STRAYS = 16
"""Of those that nobody waits for, so many are cancelled after one look, running ones first: their
number is whatever somebody likes to submit, and the tick waits for each."""

_log = logging.getLogger(__name__)


class CompanionEnds:
    """Cancels companions that nothing is to come of.

    Args:
        partitions: those that ef-slurm schedules.
    """

    def __init__(
        self,
        slurm: Slurm,
        observer: Observer,
        queue: Queue,
        book: CompanionBook,
        clock: Callable[[], float],
        partitions: Collection[str],
    ) -> None:
        self._slurm = slurm
        self._observer = observer
        self._queue = queue
        self._book = book
        self._clock = clock
        self._partitions = frozenset(partitions)
        self._tried = Pauses()

    def cancel(self, active: Collection[int]) -> bool:
        """Cancel what is due.

        Args:
            active: queue ids of the jobs that take part in the daemon's rounds.

        Returns:
            Whether something was cancelled, so that Slurm should be asked again.

        Raises:
            SlurmUnavailableError: Slurm does not answer.
        """
        cancelled = False
        for companion in self._book.present:
            if companion.job_id not in active:
                cancelled |= self._end(companion)
        mine = self._book.slurm_ids
        seen = self._observer.observation.jobs
        self._tried.keep(seen)
        strays = [
            (slurm, whose)
            for slurm in seen.values()
            if slurm.job_id not in mine
            and slurm.requested.partition in self._partitions
            and (slurm.is_pending or slurm.is_running)
            and (whose := read_companion_comment(slurm.requested.comment)) is not None
        ]
        ended, rows = 0, dict[int, QueueJob | None]()
        for slurm, whose in sorted(strays, key=lambda stray: stray[0].is_pending):
            if whose.job_id not in rows:  # of which any number may say that they are its
                try:
                    rows[whose.job_id] = self._queue.jobs.of_slurm(whose.job_id)
                except UnreadableRowError:
                    continue
            ended += self._end_stray(rows[whose.job_id], slurm, whose)
            if ended == MOST_STRAYS:
                break
        return cancelled or bool(ended)

    def _end(self, companion: Companion) -> bool:
        """One whose job runs no more."""
        now, slurm_id = self._clock(), companion.slurm_job_id
        slurm = None if slurm_id is None else self._observer.observation.jobs.get(slurm_id)
        if slurm is None or slurm.is_final or not self._is_still(companion, slurm):
            self._book.move(companion, CompanionState.ENDED, at=now)
            return False
        if companion.state is not CompanionState.LEAVING:
            companion = self._book.move(
                companion,
                CompanionState.LEAVING,
                at=now,
                why=f"the job runs no more, and its companion {slurm_id} ends with it",
            )
        if slurm.is_pending or not lately(companion.changed_at, GRACE_SECONDS, now):
            return self._cancel(slurm)
        return False

    def _is_still(self, companion: Companion, slurm: SlurmJob) -> bool:
        """Ids are recycled: nobody else's job is cancelled for one."""
        try:
            job = self._queue.jobs.get(companion.job_id)
        except (NoSuchRowError, UnreadableRowError):
            return False
        return self._book.is_still(companion, slurm, job)

    def _end_stray(self, row: QueueJob | None, slurm: SlurmJob, whose: CompanionOf) -> bool:
        """One that is not in the queue, or not any more; `row` of the job that it names."""
        if row is not None and row.state in ACTIVE and self._may_serve(row, slurm, whose):
            return False
        if not self._cancel(slurm):
            return False
        why = (
            f"Slurm job {slurm.job_id} says that it is a companion of job {whose.job_id}, launch "
            f"{whose.generation}, which needs none: it is cancelled"
        )
        _log.warning("%s", why)
        # Anybody may write such comments: only a job's own story is told, whose events are counted.
        if row is not None and row.request.uid == slurm.uid:
            self._queue.events.log(Event(self._clock(), EventKind.STATE, ACTOR, why, row.id))
        return True

    def _may_serve(self, row: QueueJob, slurm: SlurmJob, whose: CompanionOf) -> bool:
        """Whether the job is about to tell of it: its script has just submitted it."""
        if row.request.uid != slurm.uid or row.generation > whose.generation:
            return False
        waits = (one.state is CompanionState.WANTED for one in self._book.of(row.id))
        return slurm.is_pending and any(waits)

    def _cancel(self, slurm: SlurmJob) -> bool:
        now = self._clock()
        if self._tried.until(slurm.job_id, now) is not None:
            return False
        self._tried.begin(slurm.job_id, GRACE_SECONDS, now)
        try:
            self._slurm.cancel(slurm.job_id)
        except NoSuchJobError:
            return False
        except (NotPermittedError, RefusedError) as error:
            _log.warning("companion %d is not cancelled: %s", slurm.job_id, error.message)
            return False
        return True
