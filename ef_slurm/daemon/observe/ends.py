"""A run is over: whether the job has ended with it, how, and whose doing that was.

Pure, as `transitions`, which asks it.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from ef_slurm.contract import Launch, LaunchState, Phase, Progress
from ef_slurm.daemon.observe.holds import released
from ef_slurm.daemon.observe.job_status import JobReports, JobStatus
from ef_slurm.daemon.observe.reported import at_checkpoint
from ef_slurm.daemon.observe.settlements import settle_completed, settle_given_up, timed_out
from ef_slurm.daemon.observe.transition import AuditEntry, Transition
from ef_slurm.formats.sentences import gpus
from ef_slurm.model import (
    PUT_BACK,
    EventKind,
    Fault,
    Intent,
    IntentAction,
    IntentState,
    JobState,
    PromiseState,
    QueueJob,
)
from ef_slurm.slurm.pending import OurPart, is_run_of_others, our_part
from ef_slurm.slurm.types import JobBaseState

MAX_FAILED_STARTS = 3
"""Runs in a row that ended badly without a newer checkpoint, after which a job is failed."""

MAX_UNBEGUN_STARTS = 20
"""Starts in a row that Slurm took and in which the script never began, after which a job is failed.
They are not the training's doing: many more, as a node that comes back ends most such rows."""

AT_ONCE_SECONDS = 10.0
"""What a run that a node refuses lasts at most: slurmd may be busy."""

BLAMELESS_ENDS = frozenset({JobBaseState.NODE_FAIL, JobBaseState.BOOT_FAIL, JobBaseState.PREEMPTED})
"""Ends of a run that are not the job's own doing."""

_UNDER_WAY = frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING})


def ended(job: QueueJob, status: JobStatus, intent: Intent | None, now: float) -> Transition:
    """What to make of a job whose run is over, by Slurm's word.

    Args:
        intent: its unfinished intent, or the last.
    """
    slurm, launch = status.slurm, status.launch
    # Of a clock that is behind Slurm's, a job that was late would have ended in time.
    at = slurm.end_time if slurm.end_time is not None and isfinite(slurm.end_time) else now
    job = replace(job, exit_code=slurm.exit_code)
    match slurm.state:
        case JobBaseState.COMPLETED if not _is_unfinished(status):
            return _completed(job, at, status.reports)
        case JobBaseState.CANCELLED:
            return _given_up(job, JobState.CANCELLED, Fault.OWNER, "cancelled in Slurm", at)
        case JobBaseState.TIMEOUT:
            fault, why = timed_out(job, slurm.requested.time_limit)
            return _given_up(job, JobState.FAILED, fault, why, at)
        case JobBaseState.DEADLINE:
            why = "removed by Slurm for its own --deadline, which ef-slurm never sets"
            return _given_up(job, JobState.FAILED, Fault.OWNER, why, at)
    if job.is_held_in_slurm and not job.stalled:
        # It pended when its hold was seen: somebody has ended that, and it has run since.
        return released(job, f"released in Slurm, where it has ended since ({slurm.state.value})")
    leaves = job.state is JobState.HELD and job.held_here
    if leaves and launch is not None and launch.state is LaunchState.FAILED:
        why = _message(status.reports) or _failed(job)
        return _given_up(job, JobState.FAILED, Fault.JOB, why, at)
    if job.state not in _UNDER_WAY:
        return Transition(job)  # revived before; Slurm is about to have it back
    if slurm.state in BLAMELESS_ENDS:
        why = f"Slurm ended it: {slurm.state.value}"
        never_booted = slurm.state is JobBaseState.BOOT_FAIL and launch is None
        if never_booted or _never_began(status):
            return _unbegun(job, why, at)
        return _revived(job, why)
    if launch is not None and launch.state is LaunchState.FAILED:
        why = _message(status.reports) or _failed(job)
        smaller = _without_size(job, why)
        if smaller is not None:
            return _revived(smaller, smaller.note, own=True)
        return _given_up(job, JobState.FAILED, Fault.JOB, why, at)
    if _requeued_by_us(intent, slurm.restarts):
        why = "its processes were ended for our requeue, which Slurm has forgotten"
        return _revived(job, f"{why}: slurmctld came back with an older state")
    if our_part(job.state, intent, slurm.restarts, status.booted) is OurPart.LOST:
        # A node on which it runs still refuses to start it again, and so it fails at once.
        why = "slurmctld, which came back with an older state, had forgotten that it ran"
        return _revived(job, f"{why}: {slurm.state.value}")
    if is_run_of_others(intent, slurm.restarts) and _never_began(status):
        # Started in the second in which its last run was ended, a job is refused by its node. We
        # never do that, so only by others' doing, each time, is it no failed start.
        why = f"others started it, and Slurm ended it ({slurm.state.value}) before its script began"
        return _unbegun(job, why, at)
    # The batch script went without its own word on why.
    job = replace(job, failed_starts=job.failed_starts + 1)
    if job.failed_starts >= MAX_FAILED_STARTS:
        why = f"{_failed(job)} ({job.failed_starts} times without progress)"
        return _given_up(job, JobState.FAILED, Fault.JOB, why, at)
    why = f"its batch script ended ({slurm.state.value}) before the training did"
    return _revived(job, why, own=True)


def is_over(status: JobStatus) -> bool:
    """Whether a run that has ended was its job's last, whatever the row says.

    Such a job is not put back, though nobody could write down yet that it has ended.
    """
    match status.slurm.state:
        case JobBaseState.COMPLETED:
            return not _is_unfinished(status)
        case JobBaseState.CANCELLED | JobBaseState.TIMEOUT | JobBaseState.DEADLINE:
            return True
    return False


def count_unbegun(job: QueueJob, why: str, at: float) -> tuple[QueueJob, Transition | None]:
    """The row with one more start in which the job's script never began; and its end, if it is one.

    Args:
        why: what became of the start, a sentence.
        at: when that was, UTC epoch seconds.
    """
    job = replace(job, unbegun_starts=job.unbegun_starts + 1)
    if job.unbegun_starts < MAX_UNBEGUN_STARTS:
        return job, None
    words = (
        f"it was started {job.unbegun_starts} times in a row, and its script never began (the last "
        f"time: {why}): what its nodes say of Slurm job {job.request.slurm_job_id} is for an "
        "administrator to see; ef-sbatch --continue goes on from its checkpoint"
    )
    return job, _given_up(job, JobState.FAILED, Fault.CLUSTER, words, at)


def _unbegun(job: QueueJob, why: str, at: float) -> Transition:
    """Its script never began: it is put back, but not for ever."""
    job, end = count_unbegun(job, why, at)
    return _revived(job, why) if end is None else end


def on_missing(job: QueueJob, reports: JobReports, now: float) -> Transition:
    """What to make of a job that Slurm does not know any more."""
    updated = at_checkpoint(job, reports)
    launch = reports.launch
    if launch is not None and launch.state is LaunchState.FINISHED:
        return _completed(updated, launch.updated_at, reports)
    if launch is not None and launch.state is LaunchState.FAILED:
        why = _message(reports) or "its training failed"
        return _given_up(updated, JobState.FAILED, Fault.JOB, why, now)
    where = f"checkpoint of iteration {updated.checkpoint_iteration:.0f} in {job.request.state_dir}"
    why = f"Slurm no longer knows job {job.request.slurm_job_id} ({where})"
    # Its promise stands until it is known whether it can be submitted again.
    return replace(_given_up(updated, JobState.LOST, Fault.CLUSTER, why, now), settled=None)


def not_measurable(job: QueueJob, why: str, now: float) -> Transition:
    """It was to be measured, and is refused since it cannot be."""
    return _given_up(job, JobState.REJECTED, Fault.JOB, why, now)


def _is_unfinished(status: JobStatus) -> bool:
    """Whether the training says that more is to be done than Slurm knows of."""
    launch = status.launch
    return (
        launch is not None
        and launch.state is not LaunchState.FINISHED
        and not _training_has_finished(launch, status.progress)
    )


def _training_has_finished(launch: Launch, progress: Progress | None) -> bool:
    """Whether the training of a launch said what its script could not write any more."""
    return (
        progress is not None
        and progress.generation == launch.generation
        and progress.phase is Phase.FINISHED
    )


def _never_began(status: JobStatus) -> bool:
    """Whether an ended run was over at once, and there is no report of its batch script."""
    began, ended = status.slurm.start_time, status.slurm.end_time
    at_once = began is not None and ended is not None and ended - began <= AT_ONCE_SECONDS
    return status.launch is None and at_once


def _requeued_by_us(intent: Intent | None, restarts: int) -> bool:
    """Whether the last that we did was to requeue it, and Slurm does not count that."""
    if intent is None or intent.action is not IntentAction.REQUEUE:
        return False
    done = intent.state in (IntentState.EXECUTED, IntentState.VERIFIED, IntentState.CLOSED)
    return done and intent.arguments.get("restarts") == restarts


def _without_size(job: QueueJob, why: str) -> QueueJob | None:
    """A job that trained on one size and fails on another goes on without that one.

    Only while it is measured: nothing was promised on that size.
    """
    measuring, running = job.measuring, job.running
    if measuring is None or running is None or not measuring.rates:
        return None
    size = running.active_gpus
    if size in dict(measuring.rates) or size in measuring.unusable:
        return None
    words = f"it does not run on {gpus(size)}, and is not measured there: {why}"
    unusable = (*measuring.unusable, size)
    return replace(job, note=words, measuring=replace(measuring, unusable=unusable))


def _completed(job: QueueJob, at: float, reports: JobReports) -> Transition:
    """Its command has ended well: after all iterations, or before as its script wanted."""
    whole = job.request.iterations
    iteration, why, note = float(whole or job.iteration), "training complete", ""
    settled = settle_completed(job, at)
    last = _last_word(reports)
    if last is None and job.progress_at is None:
        why = note = (
            "its command ended well and never reported progress: whether it trained is not known "
            "(ef_slurm.training reports)"
        )
    if last is not None and whole is not None and last.iteration < whole:
        iteration = float(last.iteration)
        why = note = last.message or f"finished early at iteration {last.iteration}"
        if last.phase is not Phase.FINISHED:
            why = note = (
                f"its command left its loop at iteration {last.iteration} of {whole}: "
                "session.stop() ends a training early"
            )
            settled = settle_given_up(job, Fault.JOB, why, at)
    done = replace(
        job,
        running=None,
        iteration=iteration,
        measuring=None,
        promise=PromiseState.NONE,
        note=note,
    )
    return Transition(done, JobState.COMPLETED, why, settled=settled, ended_at=at, replan=True)


def _last_word(reports: JobReports) -> Progress | None:
    """What the training of the last launch reported last."""
    launch, progress = reports.launch, reports.progress
    if launch is None or progress is None or progress.generation != launch.generation:
        return None
    return progress


def _given_up(job: QueueJob, to: JobState, fault: Fault, why: str, at: float) -> Transition:
    """It has ended without being complete."""
    return Transition(
        replace(job, running=None, note=why, promise=PromiseState.NONE, measuring=None),
        to,
        why,
        actor_is_owner=to is JobState.CANCELLED,
        settled=settle_given_up(job, fault, why, at),
        ended_at=at,
        replan=True,
    )


def _revived(job: QueueJob, why: str, *, own: bool = False) -> Transition:
    """Not the end of the job: it is put back into Slurm's queue and goes on from its checkpoint.

    Args:
        own: whether its script itself has failed, with a word on that or without: what its owner
            can have at will excuses no job that is late.
    """
    entry = AuditEntry(EventKind.NODE, f"{why}; it is requeued", {PUT_BACK: not own})
    return Transition(
        replace(job, running=None, note=why), job.waiting_state, why, entries=(entry,), replan=True
    )


def _failed(job: QueueJob) -> str:
    code = "" if job.exit_code is None else f" with exit code {job.exit_code}"
    return f"its script failed{code}: see its log (StdOut of ef-scontrol show job)"


def _message(reports: JobReports) -> str:
    progress = reports.progress
    return "" if progress is None or progress.phase is not Phase.FAILED else progress.message
