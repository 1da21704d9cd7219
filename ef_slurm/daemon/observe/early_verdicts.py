"""Promises that were called broken while the daemon's clock was ahead: that is taken back.

A deadline is over when the clock says so, and the clock of a host may be set: forward by mistake,
and back to the truth. What was said of a deadline that is still to come cannot stand.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.observe.settlements import called_too_early
from ef_slurm.formats.times import format_host_instant
from ef_slurm.model import (
    EventKind,
    Fault,
    JobKind,
    JobState,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    Settlement,
)
from ef_slurm.queue.store import Queue

_log = logging.getLogger(__name__)

_IN_TIME = frozenset({PromiseOutcome.KEPT, PromiseOutcome.KEPT_IN_GRACE})


class EarlyVerdicts:
    """Looks for them where there may be any: after the clock was set back, and at the start."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._last = math.inf

    def review(self, jobs: Iterable[QueueJob], now: float) -> bool:
        """Take back what was said of active jobs whose deadlines are still to come.

        Args:
            now: the clock, UTC epoch seconds.

        Returns:
            Whether there was any: the job is one to be in time again.
        """
        last, self._last = self._last, now
        if now >= last:
            return False
        found = False
        for job in jobs:
            if job.request.deadline is not None:
                found |= self._take_back(job, now, now)
        return found

    def settle(self, job: QueueJob, settlement: Settlement, at: float) -> None:
        """Write how a job's promise ended, also where it was called broken before its time.

        Slurm's word on when the job ended counts more than what our clock said before.

        Args:
            at: when that became known, UTC epoch seconds.
        """
        with self._queue.transaction():
            if settlement.outcome in _IN_TIME:
                self._take_back(job, -math.inf, at)
            self._queue.promises.settle(job.id, settlement, at=at)

    def _take_back(self, job: QueueJob, now: float, at: float) -> bool:
        promise = self._queue.promises.of(job.id)
        if promise is None or not called_too_early(promise, now):
            return False
        if promise.deadline != job.request.deadline:
            return False  # its owner has another one since: of this one nothing is known
        deadline = format_host_instant(promise.deadline)
        why = f"it was called broken by a clock that was ahead of its deadline, {deadline}"
        _log.warning(
            "job %d: %s", job.request.slurm_job_id, why, extra=about(job, EventKind.PROMISE)
        )
        with self._queue.transaction():
            taken_back = self._queue.promises.take_back(job.id, at=at, why=why)
            given_up = _given_up(job)
            if taken_back and given_up is not None:
                self._queue.promises.settle(job.id, given_up, at=at)
        return taken_back


def _given_up(job: QueueJob) -> Settlement | None:
    """What a promise became while it was taken for broken; None where it stands."""
    if job.state is JobState.HELD and job.promise is PromiseState.NONE:
        return Settlement(PromiseOutcome.VOID, Fault.OWNER, "held by its owner meanwhile")
    if job.kind is JobKind.BEST_EFFORT:
        return Settlement(PromiseOutcome.VOID, Fault.JOB, "it runs as best effort meanwhile")
    return None
