"""What is not believed or cannot be read: told once, and not in every tick."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ef_slurm.contract.decode import one_line
from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.metrics import Metrics
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.model import ACTOR, Event, EventKind, QueueJob
from ef_slurm.queue.store import Queue

MAX_WORDS = 300
"""Characters of what is wrong that are told."""

_log = logging.getLogger(__name__)


class Complaints:
    """Says of each job once that a report was refused, and of each bad row that it is set aside."""

    def __init__(
        self, queue: Queue, observer: Observer, clock: Callable[[], float], metrics: Metrics
    ) -> None:
        self._metrics = metrics
        self._queue = queue
        self._observer = observer
        self._clock = clock
        self._unreadable: frozenset[int] = frozenset()
        self._refused: set[int] = set()

    def tell(self, jobs: Iterable[QueueJob]) -> None:
        """Say what is new.

        Args:
            jobs: whose reports were read.
        """
        unreadable = self._queue.jobs.unreadable
        for job_id in sorted(unreadable.keys() - self._unreadable):
            self._log(f"a row is set aside: {one_line(unreadable[job_id], MAX_WORDS)}", None)
        self._unreadable = frozenset(unreadable)
        for job in jobs:
            trouble = self._observer.trouble(job)
            # Whatever its owner does: one line for one job.
            if trouble and job.id not in self._refused:
                self._refused.add(job.id)
                self._metrics.reports_refused.inc()
                self._log(f"what it reports is not taken as it is: {trouble}", job)

    def forget(self, job_id: int) -> None:
        """The job has ended."""
        self._refused.discard(job_id)

    def _log(self, what: str, job: QueueJob | None) -> None:
        kind = EventKind.DAEMON if job is None else EventKind.ERROR
        whose = "" if job is None else f"job {job.request.slurm_job_id}: "
        _log.warning("%s%s", whose, what, extra=about(job, kind))
        job_id = None if job is None else job.id
        self._queue.events.log(Event(self._clock(), kind, ACTOR, what, job_id))
