"""What happened to a companion since the queue last heard of it. Pure.

What a job writes of its companion is believed of a Slurm job only that can be nothing else: its
owner's, held and pending, with the comment that names this job, this launch and this change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ef_slurm.contract import Progress, companion_comment
from ef_slurm.daemon.observe.job_status import JobStatus, Member
from ef_slurm.formats.hostlist import compress
from ef_slurm.formats.sentences import gpus
from ef_slurm.model import Companion, CompanionState, QueueJob
from ef_slurm.slurm.types import HoldKind, JobBaseState, SlurmJob


@dataclass(frozen=True, slots=True)
class CompanionMove:
    """A companion's next state.

    Args:
        why: a sentence for the job's story; "" for none.
        unexpected: whether it is not what the job was to have.
        unwanted: whether somebody, or its time limit, has ended it, or has made another one of it:
            the job is not to grow again.
        over: whether its launch has ended, too.
        died: whether its launch has ended without being told to.
    """

    to: CompanionState
    why: str = ""
    unexpected: bool = False
    unwanted: bool = False
    over: bool = False
    died: bool = False


def companion_move(member: Member, status: JobStatus) -> CompanionMove | None:
    """What the facts tell of a companion that has not ended; None for nothing new.

    Args:
        member: with Slurm's word as it is now: None if Slurm does not know its id.
        status: of its job.
    """
    companion, slurm = member.companion, member.slurm
    known = companion.slurm_job_id is not None
    over = _launch_is_over(companion, status)
    told = status.ordered_to_stop or status.ordered_to_relaunch or status.relaunching
    died = bool(over) and status.slurm.holds_nodes and told is None
    if known and (slurm is None or slurm.is_final):
        return replace(_ended(companion, slurm), over=bool(over), died=died)
    if companion.state is CompanionState.LEAVING:
        return None
    if over:
        to = CompanionState.LEAVING if known else CompanionState.ENDED
        unwanted = is_cancelled(slurm)
        return CompanionMove(to, over, unexpected=True, unwanted=unwanted, over=True, died=died)
    if slurm is not None:
        return _in_slurm(companion, slurm, status)
    return None


def is_cancelled(slurm: SlurmJob | None) -> bool:
    """Whether a companion has been cancelled, though it may still have its nodes."""
    return slurm is not None and slurm.state is JobBaseState.CANCELLED


def _ended(companion: Companion, slurm: SlurmJob | None) -> CompanionMove:
    where = compress(companion.block.nodes)
    whose = f"its companion {companion.slurm_job_id} on {where}"
    unexpected = companion.state is not CompanionState.LEAVING
    if slurm is None:
        return CompanionMove(
            CompanionState.ENDED, f"Slurm no longer knows {whose}", unexpected=unexpected
        )
    why = f"{whose} has ended" + (f": {slurm.state.value}" if unexpected else "")
    unwanted = unexpected and is_cancelled(slurm)
    return CompanionMove(CompanionState.ENDED, why, unexpected=unexpected, unwanted=unwanted)


def _launch_is_over(companion: Companion, status: JobStatus) -> str:
    """Why nothing more can come of a companion; "" as long as something may."""
    if not status.slurm.holds_nodes:
        return "the job does not run any more, and its companion ends"
    if status.is_over(companion):
        return f"launch {companion.generation} is over, and its companion ends"
    return ""


def _in_slurm(companion: Companion, slurm: SlurmJob, status: JobStatus) -> CompanionMove | None:
    progress, nodes = status.progress, frozenset(companion.block.nodes)
    where, number = compress(companion.block.nodes), companion.slurm_job_id
    match companion.state:
        case CompanionState.SUBMITTED | CompanionState.RELEASED if slurm.is_pending and (
            changed := may_start(slurm, status.slurm, companion)
        ):
            why = f"Slurm job {number} is not its companion as it was: {changed}"
            return CompanionMove(CompanionState.LEAVING, why, unexpected=True, unwanted=True)
        case CompanionState.SUBMITTED if slurm.is_running:
            why = f"its companion {number} was started by others"
            return CompanionMove(CompanionState.LEAVING, why, unexpected=True, unwanted=True)
        case CompanionState.RELEASED if slurm.is_running:
            if frozenset(slurm.nodes) != nodes:
                # Another one would be, too, and have them for as long as it takes to end it.
                why = f"its companion {number} was started on {compress(slurm.nodes)}"
                return CompanionMove(CompanionState.LEAVING, why, unexpected=True, unwanted=True)
            if slurm.is_configuring:
                return None  # its script is yet to begin
            return CompanionMove(
                CompanionState.RUNNING, f"its companion {number} starts on {where}"
            )
        case CompanionState.RUNNING | CompanionState.READY | CompanionState.JOINED if (
            slurm.is_pending
        ):
            why = f"Slurm has forgotten that its companion {number} ran"
            return CompanionMove(CompanionState.LEAVING, why, unexpected=True)
        case CompanionState.RUNNING | CompanionState.READY if trains(progress, companion):
            assert progress is not None
            still = progress.change_seconds
            stood = "" if still is None else f"; training stood still for {still:.1f} s"
            return CompanionMove(
                CompanionState.JOINED,
                f"trains on {gpus(progress.world_size)}, {where} among them{stood}",
            )
        case CompanionState.RUNNING if progress is not None and nodes <= _named(progress.ready):
            return CompanionMove(CompanionState.READY)
        case CompanionState.JOINED if has_left(progress, companion):
            return CompanionMove(
                CompanionState.LEAVING, f"trains on without {where}", unexpected=True, unwanted=True
            )
    return None


def trains(progress: Progress | None, companion: Companion) -> bool:
    """Whether a companion's ranks train, as the launch says."""
    if progress is None or progress.generation != companion.generation:
        return False
    return set(companion.block.nodes) <= _named(progress.nodes)


def has_left(progress: Progress | None, companion: Companion) -> bool:
    """Whether they do not any more, and are not kept for later."""
    if progress is None or not progress.nodes:
        return False
    return _named(progress.nodes + "," + progress.ready).isdisjoint(companion.block.nodes)


def _named(names: str) -> frozenset[str]:
    return frozenset(name for name in names.split(",") if name)


def disbelief(
    job: QueueJob, first: SlurmJob, companion: Companion, slurm: SlurmJob | None, known: bool
) -> str:
    """Why a Slurm job is not taken for the companion that a job says it is; "" where it is.

    Args:
        first: the job's first Slurm job.
        slurm: the one that is named; None if Slurm does not know it.
        known: whether it is in the queue already, as a job or as anybody's companion.
    """
    if slurm is None or slurm.uid != job.request.uid:
        return "its owner has no such job"  # whether others have one may be private
    if slurm.requested.partition != first.requested.partition:
        return f"it is in partition {slurm.requested.partition}"
    wanted = companion_comment(first.job_id, companion.generation, companion.change)
    if not is_companion(slurm, wanted):
        return "its comment does not say so"
    if known or slurm.job_id == first.job_id or slurm.array or slurm.heterogeneous:
        return "it is another job"
    if not slurm.is_pending or slurm.hold is HoldKind.NONE:
        return "it is not held"
    return other_account(slurm, first)


def may_start(slurm: SlurmJob, first: SlurmJob, companion: Companion) -> str:
    """Why a companion that was believed is not to be started as it is now; "" where it is.

    Its owner may change it, until it starts and after that. Once it runs it is as it is.
    """
    wanted = companion_comment(first.job_id, companion.generation, companion.change)
    if not is_companion(slurm, wanted):
        return "its comment does not say so any more"
    return other_account(slurm, first)


def other_account(slurm: SlurmJob, first: SlurmJob) -> str:
    """On whose limits a companion would run, where these are not its job's; "" where they are.

    What is promised to others of an account counts with what this one's jobs hold.
    """
    known, asked = dict(first.settings), dict(slurm.settings)
    pairs = [
        ("account", first.account, slurm.account),
        ("partition", first.requested.partition, slurm.requested.partition),
    ]
    pairs += [(name, known.get(name, ""), asked.get(name, "")) for name in ("QOS", "reservation")]
    for name, wanted, given in pairs:
        if wanted != given:
            return f"its {name} is {given or 'none'}, not {wanted or 'none'}"
    return ""


def is_companion(slurm: SlurmJob, comment: str) -> bool:
    """Whether a Slurm job bears a companion's comment, perhaps with its owner's hold on it."""
    return slurm.requested.comment == comment or slurm.is_held_by_owner
