"""The states of a job in the queue."""

from __future__ import annotations

import enum

from ef_slurm.model.job import Standing


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


class HeldBy(enum.Enum):
    """Whose hold keeps a held job from running."""

    OWNER = "owner"  # they end it, and so do operators
    OPERATOR = "operator"  # only operators end it


FINAL = frozenset(
    {
        JobState.REJECTED,
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.LOST,
    }
)
"""States in which a job takes no part in plans. Only a lost one goes on, submitted again."""

LOST_WINDOW_SECONDS = 3600.0
"""Seconds after which a lost job is left alone: it is not submitted again, and not waited for."""


ACTIVE = frozenset(JobState) - FINAL
"""All other states."""


_STANDING = {JobState.NEW: Standing.NEW, JobState.WAITLISTED: Standing.WAITLISTED}


def standing(state: JobState) -> Standing:
    """How the planner sees a job in this state.

    >>> standing(JobState.PAUSED)
    <Standing.ADMITTED: 'admitted'>
    """
    return _STANDING.get(state, Standing.ADMITTED)
