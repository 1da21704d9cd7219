"""What a hold does to a job, and its release. Pure.

A job is held in Slurm (`scontrol hold` where that reaches it), or here: by `ef-scontrol hold`, or
by the mark that the job_submit plugin leaves in place of its owner's `scontrol hold`. Held here, it
saves a checkpoint, leaves its GPUs, and stays away until somebody asks for it.

As in Slurm, its owner ends their own hold only, and operators end either. Where both hold it, it is
the operator's hold, whoever was first; its end is the end of both.
"""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.settlements import settle_given_up
from ef_slurm.daemon.observe.transition import AuditEntry, Transition
from ef_slurm.model import (
    EventKind,
    Fault,
    HeldBy,
    IfInfeasible,
    JobKind,
    JobState,
    PromiseState,
    QueueJob,
)
from ef_slurm.slurm.pending import Holder
from ef_slurm.slurm.types import HoldKind

UNJUDGED = frozenset({JobState.NEW, JobState.WAITLISTED})


def held_in_slurm(job: QueueJob, who: Holder, now: float) -> Transition:
    """Somebody has held it in Slurm."""
    why = f"held in Slurm by {who.value}"
    return _held(job, why, now, by_owner=who is Holder.OWNER, here=False)


def held_here(job: QueueJob, why: str, now: float, *, by_owner: bool) -> Transition:
    """Somebody does not want it to run now, and ef-slurm sees to that.

    Args:
        why: a sentence that names who it is.
    """
    return _held(job, why, now, by_owner=by_owner, here=True)


def _held(job: QueueJob, why: str, now: float, *, by_owner: bool, here: bool) -> Transition:
    """The owner's hold makes the promise void.

    An operator's does not: released early enough, the job may still be in time, and else the
    promise is broken.
    """
    entries = [AuditEntry(EventKind.USER, f"{why}: it takes no part in plans until it is released")]
    held_by = HeldBy.OWNER if by_owner else HeldBy.OPERATOR
    held = replace(job, running=None, note=_note(why, held_by), held_here=here, held_by=held_by)
    settled = None
    if by_owner:
        settled = settle_given_up(job, Fault.OWNER, why, now)
        held = replace(held, promise=PromiseState.NONE)
    elif job.promise is not PromiseState.NONE:
        held = replace(held, promise=PromiseState.AT_RISK)
        change = {"from": job.promise.value, "to": PromiseState.AT_RISK.value}
        entries.append(AuditEntry(EventKind.PROMISE, f"promise at risk: {why}", change))
    return Transition(
        held,
        JobState.HELD,
        why,
        actor_is_owner=by_owner,
        entries=tuple(entries),
        settled=settled,
        replan=True,
    )


def held_stalled(job: QueueJob) -> QueueJob:
    """One that has stopped training has left its GPUs: it is its owner's to let go on."""
    return replace(job, note=_note(job.note, HeldBy.OWNER), held_by=HeldBy.OWNER)


def held_too(job: QueueJob, why: str, *, here: bool) -> Transition:
    """An operator holds what its owner holds already: its owner's release is not enough any more.

    Args:
        why: a sentence that names who it is.
        here: whether with `ef-scontrol`.
    """
    entry = AuditEntry(EventKind.USER, f"{why}, and not by its owner alone any more")
    note = _note(why, HeldBy.OPERATOR)
    here = here or job.held_here
    held = replace(job, note=note, held_here=here, held_by=HeldBy.OPERATOR)
    return Transition(held, entries=(entry,))


def _note(why: str, held_by: HeldBy) -> str:
    whose = "" if held_by is HeldBy.OWNER else "an operator's "
    return f"{why}: {whose}ef-scontrol release lets it go on"


def while_held(job: QueueJob, status: JobStatus) -> Transition:
    """What Slurm's word means for a job that is held."""
    slurm = status.slurm
    if slurm.is_released_by_owner and slurm.is_pending and job.held_by is HeldBy.OWNER:
        return released(job, "released in Slurm by its owner")
    # Held here, or since it has stalled, it has our own hold, which looks like an operator's.
    by_owner = job.held_by is HeldBy.OWNER and not (job.held_here or job.stalled)
    if by_owner and slurm.is_pending and slurm.hold is HoldKind.ADMIN:
        return held_too(job, f"held in Slurm by {Holder.OPERATOR.value}", here=False)
    if job.held_here or (slurm.is_pending and slurm.hold is not HoldKind.NONE):
        return Transition(job)
    return released(job, "released in Slurm")


def released(job: QueueJob, why: str) -> Transition:
    """It may go on.

    A promise that has survived its hold stands. A job that has none is judged anew; once it had
    been admitted it is not turned away any more, and goes on as best effort at the worst.
    """
    free = replace(job, note="", held_here=False, held_by=None, failed_starts=0, unbegun_starts=0)
    if job.stalled:
        free = replace(free, reason=None)
    words = why
    if job.held_from in UNJUDGED:
        back = job.held_from
    elif job.request.kind is JobKind.BEST_EFFORT or job.promise is not PromiseState.NONE:
        back = job.waiting_state
    else:
        back = JobState.NEW
        words = f"{why}: its deadline is judged anew"
        request = job.request
        if request.if_infeasible is IfInfeasible.REJECT:
            request = replace(request, if_infeasible=IfInfeasible.BEST_EFFORT)
            words += ", and if it cannot be promised it goes on as best effort"
        free = replace(free, request=request, best_effort=False, plan=(), finish=None)
    return Transition(
        free,
        back,
        words,
        actor_is_owner=True,
        entries=(AuditEntry(EventKind.USER, words),),
        replan=True,
    )
