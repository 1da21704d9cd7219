"""Why a job is behind its plan: it trains slowly, or it lost time that its cluster took from it."""

from __future__ import annotations

from ef_slurm.daemon.observe.estimates import Estimates, slowest
from ef_slurm.model import EventKind, QueueJob
from ef_slurm.queue.store import Queue

TAKEN_BACK = (EventKind.NODE, EventKind.ERROR)
"""Kinds of events of a run that its nodes or Slurm ended; such an error names its nodes."""


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
        """Whether its nodes or Slurm have ended a run of it since its promise was given.

        One that trains more slowly than its curves say is behind for that.
        """
        rates = self._estimates.rates
        if rates.is_slow(job.id) or slowest(job.request.curves, rates.by_type(job.id)) < 1.0:
            return False
        promise = self._queue.promises.of(job.id)
        since = job.request.submitted if promise is None else promise.given_at
        events = self._queue.events.all(job_id=job.id, kinds=TAKEN_BACK)
        return any(
            event.at >= since and (event.kind is EventKind.NODE or "nodes" in event.data)
            for event in events
        )
