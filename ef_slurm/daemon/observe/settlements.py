"""How promises end, and whose doing that was. Pure.

Kept and broken are judged by the deadline alone. Void is only what the job or its owner did before
the deadline: it was cancelled, held by its owner, or failed by itself. Whatever else keeps a job
from its deadline breaks the promise, at the moment at which the deadline, with its grace, is seen
to have passed; the job goes on all the same.
"""

from __future__ import annotations

import math

from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.formats.durations import format_duration
from ef_slurm.formats.times import format_host_instant
from ef_slurm.model import (
    TOLERANCE_SECONDS,
    Fault,
    JobKind,
    JobState,
    Promise,
    PromiseOutcome,
    QueueJob,
    ReasonCode,
    Settlement,
    is_in_time,
)
from ef_slurm.slurm.types import JobBaseState

_FAULTS_OF_CLUSTER = frozenset(
    {
        ReasonCode.LOST_CAPACITY,
        ReasonCode.REFUSED,
        ReasonCode.NOT_STARTED,
        ReasonCode.LIMITED,  # since the promise was given: before, it would not have been
    }
)


def settle_completed(job: QueueJob, ended_at: float) -> Settlement | None:
    """What becomes of the promise to a job whose training is complete; None without a deadline.

    Args:
        ended_at: when it ended, UTC epoch seconds.
    """
    deadline, grace = job.request.deadline, job.request.grace
    if deadline is None or job.kind is JobKind.BEST_EFFORT:
        return None
    if is_in_time(ended_at, deadline):
        return Settlement(PromiseOutcome.KEPT, None, "training complete")
    if is_in_time(ended_at, deadline, grace):
        return Settlement(PromiseOutcome.KEPT_IN_GRACE, None, "training complete")
    late = ended_at - deadline - grace
    why = f"complete {math.ceil(late)} s too late"
    return Settlement(PromiseOutcome.BROKEN, _fault(job), why)


def settle_given_up(job: QueueJob, fault: Fault, why: str, at: float) -> Settlement:
    """What becomes of the promise to a job that ends, or is held, without being complete.

    Args:
        fault: whose doing that is.
        at: when, UTC epoch seconds.
    """
    deadline, grace = job.request.deadline, job.request.grace
    if deadline is not None and not is_in_time(at, deadline, grace):
        return Settlement(PromiseOutcome.BROKEN, _fault(job), f"{why}, after its deadline")
    own = fault in (Fault.OWNER, Fault.JOB)
    return Settlement(PromiseOutcome.VOID if own else PromiseOutcome.BROKEN, fault, why)


def timed_out(job: QueueJob, limit: float | None) -> tuple[Fault, str]:
    """Whose doing it is that Slurm ended a job at its time limit, and what happened.

    Args:
        limit: the job's in Slurm, seconds; None for not known.
    """
    own = job.request.max_time
    known = limit if own is None else own
    words = "" if known is None else f", {format_duration(known)}"
    whose = "--time" if own is not None else "the longest that it could have in Slurm"
    at = f"at iteration {job.iteration:.0f}; the checkpoint is kept"
    why = f"ended by its time limit ({whose}{words}) {at}"
    return (_fault(job) if own is None else Fault.JOB), why


def settle_overdue(job: QueueJob, status: JobStatus, seen_at: float) -> Settlement | None:
    """The broken promise to a job that goes on after its deadline and grace; None if it does not.

    Args:
        seen_at: when Slurm was asked for `status`, UTC epoch seconds.
    """
    due = due_at(job)
    if due is None or seen_at < due:
        return None
    slurm = status.slurm
    # While its processes end it may have ended in time; Slurm then tells when that was.
    if not (slurm.is_pending or slurm.is_running or slurm.state is JobBaseState.SUSPENDED):
        return None
    assert job.request.deadline is not None
    deadline = format_host_instant(job.request.deadline)
    done = f"{job.iteration:.0f} of {job.request.iterations} iterations"
    why = f"its deadline, {deadline}, passed at {done}; it goes on"
    return Settlement(PromiseOutcome.BROKEN, _fault(job), why)


def due_at(job: QueueJob) -> float | None:
    """When the promise to a job is broken if the job goes on then; None where it has none.

    Slurm tells the end of a job in whole seconds, rounded down: only what goes on when the second
    of the deadline is over cannot be told to have ended in time.
    """
    deadline = job.request.deadline
    unjudged = job.state in (JobState.NEW, JobState.WAITLISTED) or job.measuring is not None
    if deadline is None or job.kind is JobKind.BEST_EFFORT or unjudged:
        return None
    return overdue_from(deadline, job.request.grace)


def overdue_from(deadline: float, grace: float) -> float:
    """From when on a job that goes on is late: `due_at` says why it is a whole second."""
    return math.floor(deadline + grace + TOLERANCE_SECONDS) + 1.0


def called_too_early(promise: Promise, now: float) -> bool:
    """Whether a promise was called broken for its deadline, which is still to come.

    Only a clock that was ahead does that. A promise that was broken otherwise was so before.

    Args:
        now: by the clock as it is, or when its job ended by Slurm's; UTC epoch seconds.
    """
    late = overdue_from(promise.deadline, promise.grace)
    if promise.outcome is not PromiseOutcome.BROKEN or promise.settled_at is None:
        return False
    return promise.settled_at >= late > now


def _fault(job: QueueJob) -> Fault:
    """Why a job is late, by where it is and by what the last plan said of it."""
    if job.state is JobState.HELD:
        return Fault.OPERATOR  # its owner's hold has made the promise void
    code = None if job.reason is None else job.reason.code
    if code is ReasonCode.BEHIND:
        return Fault.JOB
    if code in (ReasonCode.BEGIN, ReasonCode.DEPENDENCY):
        return Fault.OWNER  # what it was to wait for came too late
    return Fault.CLUSTER if code in _FAULTS_OF_CLUSTER else Fault.EF_SLURM
