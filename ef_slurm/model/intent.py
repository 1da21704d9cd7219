"""Actions on Slurm that were decided on."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from ef_slurm.model.event import Json


class IntentState(enum.Enum):
    """How far an action on Slurm has come."""

    OPEN = "open"  # written, perhaps not executed
    EXECUTED = "executed"  # Slurm accepted it
    VERIFIED = "verified"  # Slurm reports its effect
    CLOSED = "closed"  # its consequences are in the queue
    ABANDONED = "abandoned"  # undone, refused or overtaken


class IntentAction(enum.Enum):
    """One action on a job. A reshape is several, one after another."""

    ORDER_STOP = "order-stop"  # written for the job: checkpoint and stop
    ORDER_RELAUNCH = "order-relaunch"  # written for the job: go on in the same allocation
    REQUEUE = "requeue"  # end the run, back to pending and held
    SHAPE = "shape"  # nodes and GPUs of the pending job
    RELEASE = "release"
    SHRINK = "shrink"  # resize of the running job to some of its nodes
    EXTEND = "extend"  # the time limit of the running job
    HOLD = "hold"
    CANCEL = "cancel"
    ORDER_PREPARE = "order-prepare"  # written for the job: submit a companion, held
    ORDER_RESIZE = "order-resize"  # written for the job: go on at another size
    COMPANION_SHAPE = "companion-shape"  # nodes and GPUs of the held companion
    COMPANION_RELEASE = "companion-release"
    COMPANION_CANCEL = "companion-cancel"
    SUBMIT = "submit"  # again, where Slurm no longer holds the job


@dataclass(frozen=True, slots=True)
class Intent:
    """An action on Slurm that was decided on. At most one of a job is unfinished.

    Args:
        generation: of the job, when it was decided.
        arguments: of the action, as the daemon needs them to do it again.
        attempts: how often it was tried.
        error: the last thing that went wrong with it.
    """

    id: int
    job_id: int
    generation: int
    action: IntentAction
    arguments: Mapping[str, Json]
    state: IntentState
    opened_at: float
    changed_at: float
    attempts: int = 0
    error: str = ""
