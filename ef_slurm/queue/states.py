"""The life of a job in the queue: named states and the transitions between them."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from ef_slurm.model import Standing


class JobState(enum.Enum):
    """Where a job is. Its Slurm job may lag behind: intents carry it there."""

    NEW = "new"  # submitted and held, not judged yet
    WAITLISTED = "waitlisted"  # judged, not promised, tested again whenever capacity appears
    ADMITTED = "admitted"  # promised or best effort, has not run yet
    STARTING = "starting"  # released to Slurm, no training progress yet in this generation
    RUNNING = "running"  # trains
    STOPPING = "stopping"  # ordered to checkpoint and stop, for a reshape or a pause
    PAUSED = "paused"  # has run, holds no GPUs, goes on later
    HELD = "held"  # by its owner or an operator: not in the plan until they release it
    REJECTED = "rejected"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # Slurm no longer knows it and nothing tells how it ended


FINAL = frozenset(
    {
        JobState.REJECTED,
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.LOST,
    }
)
"""States in which a job takes no part in plans. Only somebody's requeue brings it back."""

ACTIVE = frozenset(JobState) - FINAL
"""All other states."""

_S = JobState
_ENDS = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED, _S.LOST})

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    _S.NEW: _ENDS | {_S.WAITLISTED, _S.ADMITTED, _S.REJECTED, _S.HELD},
    _S.WAITLISTED: _ENDS | {_S.ADMITTED, _S.REJECTED, _S.HELD},
    _S.ADMITTED: _ENDS | {_S.STARTING, _S.RUNNING, _S.HELD},
    _S.STARTING: _ENDS | {_S.ADMITTED, _S.RUNNING, _S.STOPPING, _S.PAUSED, _S.HELD},
    _S.RUNNING: _ENDS | {_S.STARTING, _S.STOPPING, _S.PAUSED, _S.HELD},
    _S.STOPPING: _ENDS | {_S.STARTING, _S.RUNNING, _S.PAUSED, _S.HELD},
    _S.PAUSED: _ENDS | {_S.STARTING, _S.RUNNING, _S.HELD},
    _S.HELD: _ENDS | {_S.NEW, _S.WAITLISTED, _S.ADMITTED, _S.STARTING, _S.RUNNING, _S.PAUSED},
    # A requeue by its owner or an operator within MinJobAge brings an ended job back to be judged
    # again; a lost one is found again when slurmctld recovers.
    _S.COMPLETED: frozenset({_S.NEW}),
    _S.FAILED: frozenset({_S.NEW}),
    _S.CANCELLED: frozenset({_S.NEW}),
    _S.LOST: frozenset(
        {_S.NEW, _S.ADMITTED, _S.RUNNING, _S.PAUSED, _S.COMPLETED, _S.FAILED, _S.CANCELLED}
    ),
    _S.REJECTED: frozenset({_S.CANCELLED}),
}
"""State → states that may follow it. The database enforces the same table."""

_STANDING = {_S.NEW: Standing.NEW, _S.WAITLISTED: Standing.WAITLISTED}


def standing(state: JobState) -> Standing:
    """How the planner sees a job in this state.

    >>> standing(JobState.PAUSED)
    <Standing.ADMITTED: 'admitted'>
    """
    return _STANDING.get(state, Standing.ADMITTED)


class IntentState(enum.Enum):
    """How far an action on Slurm has come."""

    OPEN = "open"  # written, perhaps not executed
    EXECUTED = "executed"  # Slurm accepted it
    VERIFIED = "verified"  # Slurm reports its effect
    CLOSED = "closed"  # its consequences are in the queue
    ABANDONED = "abandoned"  # undone, refused or overtaken


INTENT_TRANSITIONS: Mapping[IntentState, frozenset[IntentState]] = {
    IntentState.OPEN: frozenset({IntentState.EXECUTED, IntentState.ABANDONED}),
    IntentState.EXECUTED: frozenset({IntentState.VERIFIED, IntentState.ABANDONED}),
    IntentState.VERIFIED: frozenset({IntentState.CLOSED, IntentState.ABANDONED}),
    IntentState.CLOSED: frozenset(),
    IntentState.ABANDONED: frozenset(),
}


class IntentAction(enum.Enum):
    """One action on a job. A reshape is several, one after another."""

    ORDER_STOP = "order-stop"  # order.json: checkpoint and stop
    ORDER_RELAUNCH = "order-relaunch"  # order.json: go on in the same allocation
    REQUEUE = "requeue"  # end the run, back to pending and held
    SHAPE = "shape"  # nodes and GPUs of the pending job
    RELEASE = "release"
    SHRINK = "shrink"  # resize of the running job to some of its nodes
    HOLD = "hold"
    SIGNAL = "signal"
    CANCEL = "cancel"
    UPDATE = "update"  # time limit, comment
    SUBMIT = "submit"  # again, where Slurm no longer holds the job


class EventKind(enum.Enum):
    """What the audit log tells."""

    SUBMITTED = "submitted"
    STATE = "state"  # data: from, to
    VERDICT = "verdict"
    PROMISED = "promised"
    PROMISE = "promise"  # its state changed; data: from, to
    SHARE = "share"  # GPUs changed; data: from, to, nodes
    INTENT = "intent"  # data: intent, action, state
    PROGRESS = "progress"
    CHECKPOINT = "checkpoint"
    NODE = "node"  # lost or back
    MEASURED = "measured"  # data: job_id's seconds per change, or iterations/s at a share
    USER = "user"  # somebody acted on the Slurm job behind our back
    DAEMON = "daemon"  # started, stopped, recovered
    ERROR = "error"
    NOTE = "note"


class PromiseOutcome(enum.Enum):
    """How a promise ended."""

    OPEN = "open"
    KEPT = "kept"
    KEPT_IN_GRACE = "kept-in-grace"
    BROKEN = "broken"
    RELEASED = "released"  # the owner cancelled or held the job, or it failed by itself
