"""Why a job is behind its plan: it trains slowly, or nodes took a run from it."""

from __future__ import annotations

from ef_slurm.daemon.observe.estimates import Estimates, slowest
from ef_slurm.model import EventKind, QueueJob
from ef_slurm.queue.store import Queue


class LostTime:
    """Looks at what is known of a job that is behind.

    Args:
        queue: has the events of jobs.
        estimates: what was measured of them.
    """

    def __init__(self, queue: Queue, estimates: Estimates) -> None:
        self._queue = queue
        self._estimates = estimates

    def explains(self, job: QueueJob) -> bool:
        """Whether nodes that went away have ended a run of it since its promise was given.

        One that trains more slowly than its curves say is behind for that.
        """
        rates = self._estimates.rates
        if rates.is_slow(job.id) or slowest(job.request.curves, rates.by_type(job.id)) < 1.0:
            return False
        promise = self._queue.promises.of(job.id)
        since = job.request.submitted if promise is None else promise.given_at
        events = self._queue.events.all(job_id=job.id, kinds=[EventKind.NODE])
        return any(event.at >= since for event in events)
