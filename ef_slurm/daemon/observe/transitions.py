"""What happened to a job since the queue last heard of it: Slurm's word and its own reports.

Pure: a row and the facts in, the new row and what to tell out. The daemon's own doing is told from
other people's by the row's state and by the job's unfinished intent.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ef_slurm.contract import Launch, LaunchState, Phase
from ef_slurm.daemon.observe.ends import count_unbegun, ended, not_measurable
from ef_slurm.daemon.observe.holds import held_here, held_in_slurm, held_stalled, while_held
from ef_slurm.daemon.observe.job_status import JobReports, JobStatus
from ef_slurm.daemon.observe.reported import with_reports
from ef_slurm.daemon.observe.script_numbers import judged_anew, script_numbers
from ef_slurm.daemon.observe.settlements import settle_overdue
from ef_slurm.daemon.observe.slurm_changes import changed_in_slurm, noted
from ef_slurm.daemon.observe.transition import AuditEntry, Transition
from ef_slurm.model import (
    FINAL,
    PUT_BACK,
    EventKind,
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
    may_be_forgotten,
    our_part,
)
from ef_slurm.slurm.types import HoldKind, SlurmJob

SILENT_SECONDS = 300.0
"""Seconds of running, or of training, after which a job that is to be measured and has not told
what is needed for that is given up."""

LATE_SECONDS = 10.0
"""Seconds by which a job that starts to train is later than the plan counted on, and too late."""

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
    updated = noted(with_reports(told, status), status.slurm)
    changed = None if status.slurm.is_final else changed_in_slurm(updated, status, now)
    if status.slurm.is_final:
        transition = ended(updated, status, intent, now)
    elif changed is not None:
        transition = changed
    else:
        transition = _going_on(updated, status, intent, now, ours, lost_nodes)
        settled = settle_overdue(updated, status, seen_at) or transition.settled or void
        if settled is not transition.settled:
            transition = replace(transition, settled=settled)
    if told is job:
        return transition
    entries = tuple(AuditEntry(EventKind.USER, words) for words in numbers.words)
    return replace(transition, entries=entries + transition.entries, replan=True)


def derive_end(
    job: QueueJob, slurm: SlurmJob, reports: JobReports, now: float, *, ours: HoldKind
) -> Transition | None:
    """How a job ended of which Slurm knows nothing more; None where it is to go on.

    Args:
        slurm: its last, of slurmctld or of accounting, which does not count requeues.
    """
    launch = reports.launch
    if launch is not None and launch.slurm_job_id == slurm.job_id:
        slurm = replace(slurm, restarts=max(slurm.restarts, launch.restart_count))
    status = JobStatus(slurm, reports)
    transition = derive_transition(job, status, None, now, ours=ours, seen_at=now)
    return transition if transition.to in FINAL - {JobState.LOST} else None


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
            nodes = ",".join(status.launched_on)
            return Transition(job, JobState.STARTING, f"launched again on {nodes}")
        return Transition(job)
    if job.state is JobState.RUNNING or progress.phase is Phase.STARTING:
        return Transition(job)
    late = job.running is not None and now - job.running.trains_from >= LATE_SECONDS
    if job.running is not None and job.running.trains_from > now:
        # It trains earlier than was counted on.
        job = replace(job, running=replace(job.running, trains_from=now))
    on = ",".join(status.slurm.nodes)
    # What kept it from starting is over, and with it what may have put its promise at risk.
    return Transition(
        replace(job, note=""),
        JobState.RUNNING,
        f"trains on {on} ({progress.world_size} GPUs)",
        # Started anew where it was, or much later than was planned, it ends later: others, whom the
        # plan has behind it, are to know.
        replan=late or job.promise is PromiseState.AT_RISK,
    )


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
    slurm = status.slurm
    part = our_part(job.state, intent, slurm.restarts, status.booted)
    forgotten = status.forgotten and may_be_forgotten(intent, slurm.restarts, status.booted)
    who = holder(slurm.hold, part, ours, forgotten=forgotten)
    if who in (Holder.OWNER, Holder.OPERATOR):
        return held_in_slurm(job, who, now)
    if job.state is JobState.STOPPING and job.running is None:
        return Transition(job, JobState.PAUSED, f"paused at iteration {job.iteration:.0f}")
    if part is OurPart.LOST and (who is Holder.WE or _was_seen_to_start(intent)):
        back = _put_back(job, status, who, now, lost_nodes, forgotten=forgotten, lost=True)
        return replace(back, forgotten=True)
    if part is OurPart.RAN or (part is OurPart.RELEASED and who is Holder.WE):
        return _put_back(job, status, who, now, lost_nodes, forgotten=forgotten)
    return Transition(job)


def _was_seen_to_start(intent: Intent | None) -> bool:
    return intent is not None and intent.state is IntentState.CLOSED


def _began(job: QueueJob, status: JobStatus) -> bool:
    """Whether the script of its last run began, as far as anybody has told."""
    return job.state is not JobState.STARTING or _last_launch(status) is not None


def _last_launch(status: JobStatus) -> Launch | None:
    """The launch of the run that is over, as far as its script has told of it."""
    launch, slurm = status.reports.launch, status.slurm
    if launch is None or launch.slurm_job_id != slurm.job_id:
        return None
    return launch if launch.restart_count >= slurm.restarts - 1 else None


def _put_back(
    job: QueueJob,
    status: JobStatus,
    who: Holder,
    now: float,
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
    if not (forgotten or lost or _began(job, status)):
        job, end = count_unbegun(job, why, now)
        if end is not None:
            return end
    # Where a site has Slurm requeue by exit code, a script that fails puts its job back itself.
    launch = _last_launch(status)
    own = launch is not None and launch.state is LaunchState.FAILED
    entry = AuditEntry(
        kind,
        f"{why}; goes on from iteration {job.iteration:.0f}",
        {"nodes": ",".join(dead), PUT_BACK: not own},
    )
    return Transition(
        replace(job, running=None, note=why),
        job.waiting_state,
        why,
        entries=(entry,),
        replan=True,
    )
