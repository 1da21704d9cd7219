"""What announces a step in the queue, and by what its effect is recognised among the facts.

And what stands for its effect until the next look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ef_slurm.contract import Action
from ef_slurm.daemon.act.steps import (
    CancelCompanion,
    CancelOrphan,
    Extend,
    ExtendCompanion,
    GiveBack,
    Hold,
    OrderPrepare,
    OrderRelaunch,
    OrderResize,
    OrderStop,
    Release,
    ReleaseCompanion,
    Requeue,
    Resize,
    ShapeCompanion,
    Step,
    Update,
    WantCompanion,
)
from ef_slurm.daemon.observe.job_status import JobStatus, layout, layout_of
from ef_slurm.model import Block, Intent, IntentAction, JobState, Json, QueueJob
from ef_slurm.slurm.pending import BOOTED, ENDED
from ef_slurm.slurm.types import HoldKind, JobBaseState, SlurmJob


def action_of(step: Step) -> IntentAction:
    """The kind of intent that announces a step."""
    match step:
        case Hold():
            return IntentAction.HOLD
        case OrderStop():
            return IntentAction.ORDER_STOP
        case OrderRelaunch():
            return IntentAction.ORDER_RELAUNCH
        case Requeue():
            return IntentAction.REQUEUE
        case Update():
            return IntentAction.SHAPE
        case Release():
            return IntentAction.RELEASE
        case Resize() | GiveBack():
            return IntentAction.SHRINK
        case Extend() | ExtendCompanion():
            return IntentAction.EXTEND
        case CancelOrphan():
            return IntentAction.CANCEL
        case WantCompanion() | OrderPrepare():
            return IntentAction.ORDER_PREPARE
        case OrderResize():
            return IntentAction.ORDER_RESIZE
        case ShapeCompanion():
            return IntentAction.COMPANION_SHAPE
        case ReleaseCompanion():
            return IntentAction.COMPANION_RELEASE
        case CancelCompanion():
            return IntentAction.COMPANION_CANCEL


def arguments_of(step: Step, status: JobStatus) -> Mapping[str, Json]:
    """All that is needed to recognise the step's effect."""
    arguments: dict[str, Json] = {"restarts": status.slurm.restarts}
    match step:
        case OrderStop(generation):
            arguments["launch"] = generation
        case OrderRelaunch(generation, gpus, iterations):
            arguments |= {"launch": generation, "gpus": gpus, "iterations": iterations}
        case Requeue(ended):
            arguments[ENDED] = ended
        case Extend(seconds):
            arguments["seconds"] = seconds
        case ExtendCompanion(one, seconds):
            arguments |= {"seconds": seconds, "companion": one.id}
        case OrderPrepare(one) | ShapeCompanion(one) | ReleaseCompanion(one) | CancelCompanion(one):
            arguments |= {
                "launch": one.generation,
                "change": one.change,
                "companion": one.id,
                "nodes": list(one.block.nodes),
            }
        case OrderResize(generation, change, nodes, gpus, leave, sizes):
            arguments |= {
                "launch": generation,
                "change": change,
                "nodes": list(nodes),
                "gpus": gpus,
                "leave": leave,
                "sizes": list(sizes),
            }
        case Update(block) | Release(block) | Resize(block) | GiveBack(block):
            arguments["nodes"] = list(block.nodes)
            arguments["gpus_per_node"] = block.gpus_per_node
            arguments["gpu_type"] = block.gpu_type
    if isinstance(step, Release):
        arguments[BOOTED] = status.booted
    return arguments


def state_during(job: QueueJob, step: Step) -> JobState | None:
    """The state that goes with the step, where the job is in another one.

    It is written together with the intent, so that what is seen next can be told from other
    people's doing: a job that is STARTING and held was held by somebody else.
    """
    match step:
        case Hold() | Update() if job.state is JobState.STARTING:
            return job.waiting_state
        case Release() if job.state in (JobState.ADMITTED, JobState.PAUSED, JobState.STOPPING):
            return JobState.STARTING
        case OrderStop() | OrderRelaunch() | Requeue() | Resize() if job.state in (
            JobState.STARTING,
            JobState.RUNNING,
        ):
            return JobState.STOPPING
    return None


def effect_seen(intent: Intent, status: JobStatus) -> bool:
    """Whether the facts show what the intent wanted, or that it is overtaken for good."""
    job, launch = status.slurm, status.launch
    if intent.action is IntentAction.SUBMIT:
        return False  # what that made has another id
    if job.is_final:
        return True
    later = job.restarts != intent.arguments.get("restarts")
    match intent.action:
        case IntentAction.HOLD:
            return job.is_pending and job.hold is not HoldKind.NONE
        case IntentAction.SHAPE:
            return later or status.requests(_block(intent)) or not job.is_pending
        case IntentAction.RELEASE:
            return later or job.is_running
        case IntentAction.REQUEUE:
            return later or job.is_pending
        case IntentAction.SHRINK:
            return later or layout(job) == layout_of(_block(intent))
        case IntentAction.EXTEND:
            extended = _member(intent, status) if "companion" in intent.arguments else job
            limit = None if extended is None else extended.requested.time_limit
            wanted = intent.arguments.get("seconds")
            assert isinstance(wanted, float)
            return later or limit is None or limit >= wanted
        case IntentAction.ORDER_STOP | IntentAction.ORDER_RELAUNCH:
            wanted = intent.arguments.get("launch")
            order = status.reports.order
            stop = intent.action is IntentAction.ORDER_STOP
            action = Action.STOP if stop else Action.RELAUNCH
            written = order is not None and (order.generation, order.action, order.gpus) == (
                wanted,
                action,
                intent.arguments.get("gpus"),
            )
            iterations = intent.arguments.get("iterations")
            written &= order is not None and iterations in (None, order.iterations)
            return later or written or (launch is not None and launch.generation != wanted)
        case IntentAction.ORDER_PREPARE | IntentAction.ORDER_RESIZE:
            order, change = status.reports.order, intent.arguments.get("change")
            over = launch is not None and launch.generation != intent.arguments.get("launch")
            return later or over or (order is not None and order.change == change)
        case IntentAction.COMPANION_SHAPE:
            one = _member(intent, status)
            return one is None or not one.is_pending or set(one.requested.nodes) == _nodes(intent)
        case IntentAction.COMPANION_RELEASE:
            one = _member(intent, status)
            return one is None or not one.is_pending or one.hold is HoldKind.NONE
        case IntentAction.COMPANION_CANCEL:
            one = _member(intent, status)
            return one is None or not (one.is_pending or one.is_running)
        case _:
            return False


def _member(intent: Intent, status: JobStatus) -> SlurmJob | None:
    """What Slurm says of the companion that an intent is about; None where it knows none."""
    for member in status.members:
        if member.companion.id == intent.arguments.get("companion"):
            return member.slurm
    return None


def _nodes(intent: Intent) -> set[str]:
    nodes = intent.arguments.get("nodes")
    assert isinstance(nodes, list)
    return {str(node) for node in nodes}


def _block(intent: Intent) -> Block:
    nodes = intent.arguments.get("nodes")
    per_node = intent.arguments.get("gpus_per_node")
    assert isinstance(nodes, list)
    assert isinstance(per_node, int)
    kind = intent.arguments.get("gpu_type")
    return Block(str(kind), tuple(str(node) for node in nodes), per_node)


def being_requeued(job: SlurmJob) -> SlurmJob:
    """Until the next look: that its run is over only that can tell, half a second later or more."""
    return replace(job, state=JobBaseState.PENDING, flags=job.flags | {"COMPLETING"})


def just_released(job: SlurmJob) -> SlurmJob:
    """Until the next look: what Slurm makes of it only that can tell."""
    return replace(job, hold=HoldKind.NONE, reason="")
