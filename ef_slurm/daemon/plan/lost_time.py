"""Why a job is behind its plan: it trains slowly, or a run was taken from it."""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.daemon.observe.estimates import Estimates, slowest
from ef_slurm.daemon.observe.held_up import waiting_for_gpus
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.transition import Transition
from ef_slurm.model import PUT_BACK, Fault, PromiseOutcome, QueueJob, ReasonCode
from ef_slurm.queue.store import Queue


class LostTime:
    """Looks at what is known of a job that is behind.

    Args:
        queue: has the events of jobs.
        estimates: what was measured of them.
        observer: what Slurm says of them now.
    """

    def __init__(self, queue: Queue, estimates: Estimates, observer: Observer) -> None:
        self._queue = queue
        self._estimates = estimates
        self._observer = observer

    def explains(self, job: QueueJob) -> bool:
        """Whether time was taken from it by others since its promise was given, or is now.

        By nodes that went away, by Slurm, or by whoever had Slurm put it back: Slurm does not tell
        who that was. Or it was kept waiting, for Slurm's answer or for GPUs that it was given. One
        that trains more slowly than its curves say is behind for that.
        """
        if self._is_slow(job):
            return False
        promise = self._queue.promises.of(job.id)
        since = job.request.submitted if promise is None else promise.given_at
        return self._queue.events.lost_a_run(job.id, since) or self._waits(job)

    def _is_slow(self, job: QueueJob) -> bool:
        rates = self._estimates.rates
        return rates.is_slow(job.id) or slowest(job.request.curves, rates.by_type(job.id)) < 1.0

    def _waits(self, job: QueueJob) -> bool:
        """Whether it is being kept from GPUs that it was given."""
        status, now = self._observer.status(job), self._observer.observation.at
        if status is None or not status.slurm.is_pending or job.running is None:
            return False
        return waiting_for_gpus(self._queue, job, status, now) is not None

    def settled(self, job: QueueJob, transition: Transition) -> Transition:
        """The transition; a promise that is laid to a job which has lost time is not its fault.

        That may have come after the last plan, which took it for slow.

        Args:
            job: the row before the transition.
        """
        settled, reason = transition.settled, job.reason
        if settled is None or settled.outcome is not PromiseOutcome.BROKEN:
            return transition
        if settled.fault is not Fault.JOB or reason is None or reason.code is not ReasonCode.BEHIND:
            return transition
        put_back = any(entry.data.get(PUT_BACK) for entry in transition.entries)
        if self._is_slow(job) or not (put_back or self.explains(job)):
            return transition
        return replace(transition, settled=replace(settled, fault=Fault.CLUSTER))
