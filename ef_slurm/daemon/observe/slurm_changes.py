"""What somebody has changed of a job in Slurm since it was judged.

On a held job its owner may change memory, account, dependency, working directory and much else
(`scontrol update`), and an operator may at any time. What was promised was promised to the job as
it was submitted: what differs is a new request, judged anew, with the promise before void.
"""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.ownership import no_single_job
from ef_slurm.daemon.observe.settlements import settle_given_up
from ef_slurm.daemon.observe.transition import AuditEntry, Transition
from ef_slurm.formats.printing import shortened
from ef_slurm.model import EventKind, Fault, JobState, PromiseState, QueueJob
from ef_slurm.slurm.types import SlurmJob

RELEASE = "Slurm"
"""The field that names the Slurm that wrote the others: another one may spell them otherwise."""

LONGEST_VALUE = 100
"""Characters of a value in the sentence that tells of its change."""

_WAITING = frozenset({JobState.NEW, JobState.WAITLISTED, JobState.ADMITTED, JobState.PAUSED})


def changes(job: QueueJob, slurm: SlurmJob) -> tuple[str, ...]:
    """A few words for every field that is not as it was when the job was judged.

    What either of the two does not tell is not compared.
    """
    before, now = dict(job.slurm_settings), dict(slurm.settings)
    if before.get(RELEASE) != now.get(RELEASE):
        return ()
    # ef-slurm itself lowers it where the owner's --time counts from the first start, and raises it
    # where its owner has changed what the job needs.
    lowered = job.request.max_time is not None and job.first_started_at
    ours = {"time limit"} if lowered or job.time_limit is not None else set()
    return tuple(
        f"{name} from {_shown(before[name])} to {_shown(now[name])}"
        for name in sorted((before.keys() & now.keys()) - ours)
        if before[name] != now[name]
    )


def noted(job: QueueJob, slurm: SlurmJob) -> QueueJob:
    """The row with what Slurm says that the job asks for, where that is not known yet."""
    before, now = dict(job.slurm_settings), dict(slurm.settings)
    if not slurm.is_pending or (before and before.get(RELEASE) == now.get(RELEASE)):
        return job
    return replace(job, slurm_settings=slurm.settings)


def changed_in_slurm(job: QueueJob, status: JobStatus, now: float) -> Transition | None:
    """What follows where somebody has changed the job; None where nobody has.

    Looked at while the job waits, and again as soon as it has been released: what was changed in
    between runs on as a request of its own, or is stopped.
    """
    slurm = status.slurm
    released = job.state is JobState.STARTING and (slurm.is_pending or slurm.is_running)
    if not released and not (job.state in _WAITING and slurm.is_pending):
        return None
    if slurm.array or slurm.heterogeneous:
        return _given_up(job, no_single_job(slurm), now)
    found = changes(job, slurm)
    if not found:
        return None
    why = f"changed in Slurm since it was judged: {'; '.join(found)}"
    if job.request.partition not in ("", slurm.requested.partition):
        return _given_up(job, f"{why}; ef-slurm schedules {job.request.partition} only", now)
    fresh = replace(
        job,
        request=replace(job.request, account=slurm.account or job.request.account),
        running=None,
        plan=(),
        finish=None,
        best_effort=False,
        promise=PromiseState.NONE,
        reason=None,
        note=f"{why}; judged anew",
        slurm_settings=slurm.settings,
    )
    return Transition(
        fresh,
        None if job.state is JobState.NEW else JobState.NEW,
        f"{why}: it is judged anew",
        entries=(AuditEntry(EventKind.USER, why),) if job.state is JobState.NEW else (),
        settled=None if job.state is JobState.NEW else settle_given_up(job, Fault.OWNER, why, now),
        replan=True,
    )


def _given_up(job: QueueJob, why: str, now: float) -> Transition:
    return Transition(
        replace(job, running=None, note=why, promise=PromiseState.NONE),
        JobState.FAILED,
        why,
        settled=settle_given_up(job, Fault.OWNER, why, now),
        replan=True,
    )


def _shown(value: str) -> str:
    return repr(shortened(value, LONGEST_VALUE)) if value else "none"
