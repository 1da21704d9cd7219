"""A fence around every job: what goes wrong with one is that job's problem, never the tick's."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from ef_slurm.contract.decode import one_line
from ef_slurm.daemon.log_fields import about
from ef_slurm.model import ACTOR, Event, EventKind, PromiseState, QueueJob
from ef_slurm.queue.errors import ConflictError, QueueError, RowError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import SlurmUnavailableError

_log = logging.getLogger(__name__)

MAX_WORDS = 300
"""Characters of what went wrong that are told."""


def concerns_everybody(error: Exception) -> bool:
    """Whether an error says nothing about the job at hand: Slurm or the queue cannot be had."""
    if isinstance(error, QueueError):
        return not isinstance(error, RowError)
    return isinstance(error, SlurmUnavailableError | MemoryError)


class Around:
    """One part of a tick that is about one job. A class, since there are many in each tick."""

    __slots__ = ("_doing", "_fence", "_job")

    def __init__(self, fence: Fence, job: QueueJob, doing: str) -> None:
        self._fence = fence
        self._job = job
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None:
            self._fence.passed(self._job.id, self._doing)
            return False
        if not isinstance(error, Exception) or concerns_everybody(error):
            return False
        if isinstance(error, ConflictError) and self._fence.is_overtaken(self._job.id, self._doing):
            return True
        self._fence.tell(self._job, self._doing, error)
        return True


class Fence:
    """Ends what is done for one job in one tick, and nothing else.

    What went wrong is told once: in the log, in the job's story, and as its note. A job that has a
    promise is at risk from then on. What is to be undone with it stands in a transaction of its
    own, inside the fence.

    Attributes:
        failures: how often that has happened since the daemon started.
    """

    def __init__(self, queue: Queue, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._clock = clock
        self._told: set[tuple[int, str, str]] = set()
        self._failing: dict[int, str] = {}
        self._overtaken: set[tuple[int, str]] = set()
        self.failures = 0

    def around(self, job: QueueJob, doing: str) -> Around:
        """What is done for one job, as a context.

        Args:
            doing: what that is, as "cannot be …" says it ("planned").

        Raises:
            QueueError: the queue cannot be read or written at all.
            SlurmUnavailableError: Slurm does not answer.
        """
        return Around(self, job, doing)

    def passed(self, job_id: int, doing: str) -> None:
        """Something could be done for a job."""
        if self._failing.get(job_id) == doing:
            del self._failing[job_id]
        if self._overtaken:
            self._overtaken.discard((job_id, doing))

    def is_overtaken(self, job_id: int, doing: str) -> bool:
        """Whether a row that was changed meanwhile is no error: the next tick sees it as it is.

        It is one where that happens twice in a row.
        """
        if (job_id, doing) in self._overtaken:
            return False
        self._overtaken.add((job_id, doing))
        _log.info("job %d was changed while it was to be %s", job_id, doing)
        return True

    def fails(self, job_id: int) -> bool:
        """Whether something could not be done for the job, and has not been done since."""
        return job_id in self._failing

    def forget(self, job_id: int) -> None:
        """The job has ended."""
        self._failing.pop(job_id, None)
        self._overtaken = {key for key in self._overtaken if key[0] != job_id}
        self._told = {told for told in self._told if told[0] != job_id}

    def tell(self, job: QueueJob, doing: str, error: Exception) -> None:
        """Count an error of one job, and tell it unless it is known."""
        self.failures += 1
        self._failing[job.id] = doing
        kind = type(error).__name__
        if (job.id, doing, kind) in self._told:
            return
        self._told.add((job.id, doing, kind))
        why = f"it cannot be {doing}: {kind}: {one_line(str(error), MAX_WORDS)}"
        where = "".join(traceback.format_tb(error.__traceback__))
        slurm_id, about_it = job.request.slurm_job_id, about(job, EventKind.ERROR)
        _log.error("job %d: %s\n%s", slurm_id, why, where, extra=about_it)
        try:
            with self._queue.transaction():
                self._write(job, why)
        except Exception as second:
            if concerns_everybody(second):
                raise
            _log.exception("job %d: and that cannot be told", slurm_id, extra=about_it)

    def _write(self, job: QueueJob, why: str) -> None:
        self._queue.events.log(Event(self._clock(), EventKind.ERROR, ACTOR, why, job.id))
        row = self._queue.jobs.get(job.id)
        promised = row.promise is not PromiseState.NONE
        promise = PromiseState.AT_RISK if promised else PromiseState.NONE
        if promised and row.promise is not promise:
            change = {"from": row.promise.value, "to": promise.value}
            message = f"promise at risk: {why}"
            self._queue.events.log(
                Event(self._clock(), EventKind.PROMISE, ACTOR, message, job.id, change)
            )
        self._queue.jobs.save(replace(row, note=why, promise=promise))
