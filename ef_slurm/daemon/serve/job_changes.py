"""Requests to change a job of the queue: who may, and what they are told of it."""

from __future__ import annotations

import time
from dataclasses import replace

from ef_slurm.api.identity import Caller
from ef_slurm.api.messages import FailureCode, JobActedOn, JobChanged
from ef_slurm.api.routes import RequestError
from ef_slurm.daemon.plan.changes import Changed
from ef_slurm.daemon.serve.visibility import (
    Viewer,
    Visibility,
    masked_others,
    masked_reason,
    masked_text,
)
from ef_slurm.model import NEWCOMER, HeldBy, JobAction, OtherJob, QueueJob, Reason, queue_id
from ef_slurm.queue import queries
from ef_slurm.queue.store import Queue


class JobChanges:
    """One worker's view of it."""

    def __init__(self, queue: Queue, visibility: Visibility) -> None:
        self._queue = queue
        self._visibility = visibility

    def allowed(self, caller: Caller, viewer: Viewer, job_id: int) -> QueueJob:
        """The job that its owner, or an operator, wants otherwise.

        Raises:
            UnknownJobError: there is none that the caller may know of.
            RequestError: it is somebody else's.
        """
        row = queries.find_meant(self._queue, job_id)
        own = row.request.uid == caller.uid
        if own or self._visibility.is_operator(caller.uid):
            return row
        if not viewer.sees(row):
            raise queries.UnknownJobError(job_id)
        raise RequestError(
            FailureCode.DENIED,
            f"job {job_id} belongs to {row.request.owner}: only they and operators may change it",
        )

    def acts_as_owner(self, caller: Caller, row: QueueJob, action: JobAction) -> bool:
        """Whether somebody who may change a job does so as its owner; else as an operator.

        Whoever is both holds it as its owner, as in Slurm, and releases it as an operator.
        """
        if row.request.uid != caller.uid:
            return False
        theirs = action is not JobAction.RELEASE or row.held_by is HeldBy.OWNER
        return theirs or not self._visibility.is_operator(caller.uid)

    def changed(self, viewer: Viewer, job_id: int, changed: Changed) -> JobChanged:
        """What became of a change, for whoever asked."""
        verdict = changed.verdict
        words = masked_text(self._queue, viewer, changed.words)
        if verdict is None:
            return JobChanged(job_id, changed.outcome, None, words, time.time())
        others = masked_others(self._queue, viewer, others_of(self._queue, verdict.reason))
        verdict = replace(verdict, reason=masked_reason(self._queue, viewer, verdict.reason))
        return JobChanged(job_id, changed.outcome, verdict, words, time.time(), others)

    def acted(self, viewer: Viewer, job_id: int, words: str) -> JobActedOn:
        """What became of an action, for whoever asked."""
        return JobActedOn(job_id, masked_text(self._queue, viewer, words))


def others_of(queue: Queue, reason: Reason) -> tuple[OtherJob, ...]:
    """The other job that a reason speaks of, as people call it."""
    if reason.job is None or reason.job == NEWCOMER:
        return ()
    row = queue.jobs.get(queue_id(reason.job))
    return (OtherJob(row.id, row.request.slurm_job_id, row.request.owner),)
