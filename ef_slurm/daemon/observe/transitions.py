"""What happened to a job since the queue last heard of it: Slurm's word and its own reports.

Pure: a row and the facts in, the new row and what to tell out. The daemon's own doing is told from
other people's by the row's state and by the job's unfinished intent.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import isfinite

from ef_slurm.contract import Launch, LaunchState, Phase, Progress
from ef_slurm.daemon.observe.holds import (
    held_here,
    held_in_slurm,
    held_stalled,
    while_held,
)
from ef_slurm.daemon.observe.job_status import JobReports, JobStatus
from ef_slurm.daemon.observe.script_numbers import count_training, judged_anew, script_numbers
from ef_slurm.daemon.observe.settlements import (
    settle_completed,
    settle_given_up,
    settle_overdue,
    timed_out,
)
from ef_slurm.daemon.observe.slurm_changes import changed_in_slurm, noted
from ef_slurm.daemon.observe.transition import AuditEntry, Transition
from ef_slurm.formats.sentences import gpus
from ef_slurm.model import (
    EventKind,
    Fault,
    Intent,
    IntentAction,
    IntentState,
    JobState,
    PromiseState,
    QueueJob,
)
from ef_slurm.slurm.pending import (
    Holder,
    OurPart,
    holder,
    is_run_of_others,
    may_be_forgotten,
    our_part,
)
from ef_slurm.slurm.types import HoldKind, JobBaseState

MAX_FAILED_STARTS = 3
"""Runs in a row that ended badly without a newer checkpoint, after which a job is failed."""

AT_ONCE_SECONDS = 10.0
"""What a run that a node refuses lasts at most: slurmd may be busy."""

BLAMELESS_ENDS = frozenset({JobBaseState.NODE_FAIL, JobBaseState.BOOT_FAIL, JobBaseState.PREEMPTED})
"""Ends of a run that are not the job's own doing."""

SILENT_SECONDS = 300.0
"""Seconds of running, or of training, after which a job that is to be measured and has not told
what is needed for that is given up."""

ON = frozenset({JobState.STARTING, JobState.RUNNING})


def derive_transition(
    job: QueueJob,
    status: JobStatus,
    intent: Intent | None,
    now: float,
    *,
    ours: HoldKind,
    seen_at: float,
    lost_nodes: Collection[str] = (),
) -> Transition:
    """What the facts tell about an active job.

    Args:
        intent: its unfinished intent; of a job that pends or has ended without one, the last.
        ours: how we hold jobs: as an operator (ADMIN) or as their owner (USER).
        seen_at: when Slurm was asked.
        lost_nodes: nodes that Slurm cannot use now.
    """
    numbers = script_numbers(job, status.progress)
    told, void = judged_anew(numbers, now)
    updated = noted(_with_reports(told, status), status.slurm)
    changed = None if status.slurm.is_final else changed_in_slurm(updated, status, now)
    if status.slurm.is_final:
        transition = _ended(updated, status, intent, now)
    elif changed is not None:
        transition = changed
    else:
        transition = _going_on(updated, status, intent, now, ours, lost_nodes)
        overdue = settle_overdue(updated, status, seen_at)
        transition = replace(transition, settled=overdue or transition.settled or void)
    if told is job:
        return transition
    entries = tuple(AuditEntry(EventKind.USER, words) for words in numbers.words)
    return replace(transition, entries=entries + transition.entries, replan=True)


def _going_on(
    job: QueueJob,
    status: JobStatus,
    intent: Intent | None,
    now: float,
    ours: HoldKind,
    lost_nodes: Collection[str],
) -> Transition:
    if job.state is JobState.HELD:
        return while_held(job, status)
    if status.slurm.is_held_by_owner:
        return held_here(job, "held by its owner (scontrol hold)", now, by_owner=True)
    if status.slurm.is_pending:
        return _pending(job, status, intent, now, ours, lost_nodes)
    if status.slurm.is_running:
        return _running(job, status, intent, now)
    return Transition(job)


def on_missing(job: QueueJob, reports: JobReports, now: float) -> Transition:
    """What to make of a job that Slurm does not know any more."""
    updated = _iterations(job, reports)
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


def _with_reports(job: QueueJob, status: JobStatus) -> QueueJob:
    """The row with the job's own reports in it."""
    launch, progress = status.launch, status.progress
    if launch is not None and launch.generation > job.generation:
        job = replace(job, generation=launch.generation, rate=None)
    if status.slurm.is_running:
        if job.first_started_at is None:
            job = replace(job, first_started_at=status.slurm.start_time)
        if progress is not None and progress.phase is not Phase.STARTING:
            rate = progress.iterations_per_second
            job = replace(
                job,
                iteration=float(progress.iteration),
                progress_at=progress.updated_at,
                rate=job.rate if rate is None else rate,
                measuring=count_training(job, progress, _gpus(status)).measuring,
            )
        return _checkpointed(job, status.reports)
    return _iterations(job, status.reports)


def _gpus(status: JobStatus) -> int:
    return sum(count for _, count in status.gpus)


def _checkpointed(job: QueueJob, reports: JobReports) -> QueueJob:
    progress = reports.progress
    if progress is None or progress.checkpoint_iteration is None:
        return job
    safe = float(progress.checkpoint_iteration)
    if safe > job.checkpoint_iteration:
        return replace(job, checkpoint_iteration=safe, failed_starts=0)
    return job


def _iterations(job: QueueJob, reports: JobReports) -> QueueJob:
    """The row of a job that does not run: what is not in a checkpoint is gone."""
    job = _checkpointed(job, reports)
    progress = reports.progress
    if progress is None:
        return job
    if progress.phase is Phase.FINISHED:
        return replace(job, iteration=float(progress.iteration), progress_at=progress.updated_at)
    if job.iteration == job.checkpoint_iteration:
        return job  # as in most looks at it
    return replace(job, iteration=job.checkpoint_iteration)


def _running(job: QueueJob, status: JobStatus, intent: Intent | None, now: float) -> Transition:
    progress = status.progress
    if job.state not in ON | {JobState.ADMITTED, JobState.PAUSED, JobState.STOPPING}:
        return Transition(job)  # not judged yet; that it runs is for the next step to mend
    unmeasurable = _unmeasurable(job, status, now)
    if unmeasurable:
        return not_measurable(job, unmeasurable, now)
    if job.state is JobState.STOPPING and not _relaunched(status, intent):
        return Transition(job)
    if progress is None or progress.first_iteration_at is None:
        if job.state is JobState.STOPPING:
            # It may hold others that it is about to give back.
            nodes = "" if status.launch is None else status.launch.nodes
            return Transition(job, JobState.STARTING, f"launched again on {nodes}")
        return Transition(job)
    if job.state is JobState.RUNNING or progress.phase is Phase.STARTING:
        return Transition(job)
    if job.running is not None and job.running.trains_from > now:
        # It trains earlier than was counted on.
        job = replace(job, running=replace(job.running, trains_from=now))
    on = ",".join(status.slurm.nodes)
    # What kept it from starting is over, and with it what may have put its promise at risk.
    return Transition(
        replace(job, note=""),
        JobState.RUNNING,
        f"trains on {on} ({progress.world_size} GPUs)",
        replan=job.promise is PromiseState.AT_RISK,
    )


def not_measurable(job: QueueJob, why: str, now: float) -> Transition:
    """It was to be measured, and is refused since it cannot be."""
    return _given_up(job, JobState.REJECTED, Fault.JOB, why, now)


def _unmeasurable(job: QueueJob, status: JobStatus, now: float) -> str:
    """Why a job that is to be measured never will be; "" as long as it may."""
    measuring, started = job.measuring, status.slurm.start_time
    if measuring is None:
        return ""
    if job.progress_at is None and started is not None and now - started >= SILENT_SECONDS:
        return (
            f"it has not reported progress for {SILENT_SECONDS:.0f} s, so its speed cannot be "
            "measured: use ef_slurm.training in the script, or submit it with --throughput, "
            "--iterations and --global-batch-size"
        )
    if job.request.iterations is None and measuring.seconds >= SILENT_SECONDS:
        return (
            f"it trains for {measuring.seconds:.0f} s and has not said how many iterations there "
            "are: submit it with --iterations, or give iterations= to training.session"
        )
    return ""


def _relaunched(status: JobStatus, intent: Intent | None) -> bool:
    """Whether a job that was stopping goes on in the allocation that it has."""
    launch = status.launch
    requeued = intent is not None and intent.action is IntentAction.REQUEUE
    if launch is None or launch.state is not LaunchState.RUNNING or requeued:
        return False
    return status.ordered_to_stop is None and status.ordered_to_relaunch is None


def _pending(
    job: QueueJob,
    status: JobStatus,
    intent: Intent | None,
    now: float,
    ours: HoldKind,
    lost_nodes: Collection[str],
) -> Transition:
    if job.stalled and status.slurm.hold is not HoldKind.NONE:
        why = f"held until its owner releases it: {job.note}"
        return Transition(held_stalled(job), JobState.HELD, why)
    if job.state is JobState.STOPPING and job.running is None:
        return Transition(job, JobState.PAUSED, f"paused at iteration {job.iteration:.0f}")
    slurm = status.slurm
    part = our_part(job.state, intent, slurm.restarts, status.booted)
    forgotten = status.forgotten and may_be_forgotten(intent, slurm.restarts, status.booted)
    who = holder(slurm.hold, part, ours, forgotten=forgotten)
    if who in (Holder.OWNER, Holder.OPERATOR):
        return held_in_slurm(job, who, now)
    if part is OurPart.LOST and (who is Holder.WE or _was_seen_to_start(intent)):
        back = _put_back(job, status, who, lost_nodes, forgotten=forgotten, lost=True)
        return replace(back, forgotten=True)
    if part is OurPart.RAN or (part is OurPart.RELEASED and who is Holder.WE):
        return _put_back(job, status, who, lost_nodes, forgotten=forgotten)
    return Transition(job)


def _was_seen_to_start(intent: Intent | None) -> bool:
    return intent is not None and intent.state is IntentState.CLOSED


def _put_back(
    job: QueueJob,
    status: JobStatus,
    who: Holder,
    lost_nodes: Collection[str],
    *,
    forgotten: bool,
    lost: bool = False,
) -> Transition:
    """It pends again, and that is not our doing."""
    dead = [] if job.running is None else sorted(set(job.running.block.nodes) & set(lost_nodes))
    kind = EventKind.USER
    if dead:
        kind = EventKind.NODE
        why = f"Slurm took it off {','.join(dead)}, which it cannot use, and put it back"
    elif forgotten:
        kind = EventKind.ERROR
        why = "Slurm has forgotten that it ran: slurmctld came back with an older state"
    elif lost:
        kind = EventKind.ERROR
        why = "Slurm has forgotten that it was released: slurmctld came back with an older state"
    elif who is Holder.SLURM:
        kind = EventKind.ERROR
        why = f"Slurm put it back and holds it ({status.slurm.reason})"
    else:
        why = "requeued in Slurm, not by ef-slurm (scontrol requeue, preemption or node failure)"
    entry = AuditEntry(
        kind, f"{why}; goes on from iteration {job.iteration:.0f}", {"nodes": ",".join(dead)}
    )
    return Transition(
        replace(job, running=None, note=why),
        job.waiting_state,
        why,
        entries=(entry,),
        replan=True,
    )


def _training_has_finished(launch: Launch, progress: Progress | None) -> bool:
    """Whether the training of a launch said what its script could not write any more."""
    return (
        progress is not None
        and progress.generation == launch.generation
        and progress.phase is Phase.FINISHED
    )


def _ended(job: QueueJob, status: JobStatus, intent: Intent | None, now: float) -> Transition:
    slurm, launch = status.slurm, status.launch
    # Of a clock that is behind Slurm's, a job that was late would have ended in time.
    at = slurm.end_time if slurm.end_time is not None and isfinite(slurm.end_time) else now
    job = replace(job, exit_code=slurm.exit_code)
    unfinished = (
        launch is not None
        and launch.state is not LaunchState.FINISHED
        and not _training_has_finished(launch, status.progress)
    )
    match slurm.state:
        case JobBaseState.COMPLETED if not unfinished:
            return _completed(job, at, status.reports)
        case JobBaseState.CANCELLED:
            return _given_up(job, JobState.CANCELLED, Fault.OWNER, "cancelled in Slurm", at)
        case JobBaseState.TIMEOUT:
            fault, why = timed_out(job, slurm.requested.time_limit)
            return _given_up(job, JobState.FAILED, fault, why, at)
        case JobBaseState.DEADLINE:
            why = "removed by Slurm for its own --deadline, which ef-slurm never sets"
            return _given_up(job, JobState.FAILED, Fault.OWNER, why, at)
    if job.state not in ON | {JobState.STOPPING}:
        return Transition(job)  # revived before; Slurm is about to have it back
    if slurm.state in BLAMELESS_ENDS:
        return _revived(job, f"Slurm ended it: {slurm.state.value}")
    if launch is not None and launch.state is LaunchState.FAILED:
        why = _message(status.reports) or _failed(job)
        smaller = _without_size(job, why)
        if smaller is not None:
            return _revived(smaller, smaller.note)
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
        # never do that, so only by others' doing, each time, does it come to this uncounted.
        why = f"others started it, and Slurm ended it ({slurm.state.value}) before its script began"
        return _revived(job, why)
    # The batch script went without its own word on why.
    job = replace(job, failed_starts=job.failed_starts + 1)
    if job.failed_starts >= MAX_FAILED_STARTS:
        why = f"{_failed(job)} ({job.failed_starts} times without progress)"
        return _given_up(job, JobState.FAILED, Fault.JOB, why, at)
    return _revived(job, f"its batch script ended ({slurm.state.value}) before the training did")


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


def _revived(job: QueueJob, why: str) -> Transition:
    """Not the end of the job: it is put back into Slurm's queue and goes on from its checkpoint."""
    entry = AuditEntry(EventKind.NODE, f"{why}; it is requeued")
    return Transition(
        replace(job, running=None, note=why), job.waiting_state, why, entries=(entry,), replan=True
    )


def _failed(job: QueueJob) -> str:
    code = "" if job.exit_code is None else f" with exit code {job.exit_code}"
    return f"its script failed{code}: see its log"


def _message(reports: JobReports) -> str:
    progress = reports.progress
    return "" if progress is None or progress.phase is not Phase.FAILED else progress.message
