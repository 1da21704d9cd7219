"""The life of a job in the queue: named states and the transitions between them."""

from __future__ import annotations

from collections.abc import Mapping

from ef_slurm.model import IntentState, JobState

_ENDS = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.LOST})

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.NEW: _ENDS
    | {JobState.WAITLISTED, JobState.ADMITTED, JobState.REJECTED, JobState.HELD},
    JobState.WAITLISTED: _ENDS | {JobState.ADMITTED, JobState.REJECTED, JobState.HELD},
    JobState.ADMITTED: _ENDS | {JobState.STARTING, JobState.RUNNING, JobState.HELD},
    JobState.STARTING: _ENDS
    | {JobState.ADMITTED, JobState.RUNNING, JobState.STOPPING, JobState.PAUSED, JobState.HELD},
    JobState.RUNNING: _ENDS
    | {JobState.STARTING, JobState.STOPPING, JobState.PAUSED, JobState.HELD},
    JobState.STOPPING: _ENDS
    | {JobState.STARTING, JobState.RUNNING, JobState.PAUSED, JobState.HELD},
    JobState.PAUSED: _ENDS | {JobState.STARTING, JobState.RUNNING, JobState.HELD},
    JobState.HELD: _ENDS
    | {
        JobState.NEW,
        JobState.WAITLISTED,
        JobState.ADMITTED,
        JobState.STARTING,
        JobState.RUNNING,
        JobState.PAUSED,
    },
    # A requeue by its owner or an operator within MinJobAge brings an ended job back to be judged
    # again; a lost one is found again when slurmctld recovers.
    JobState.COMPLETED: frozenset({JobState.NEW}),
    JobState.FAILED: frozenset({JobState.NEW}),
    JobState.CANCELLED: frozenset({JobState.NEW}),
    JobState.LOST: frozenset(
        {
            JobState.NEW,
            JobState.ADMITTED,
            JobState.RUNNING,
            JobState.PAUSED,
            JobState.COMPLETED,
            JobState.FAILED,
            JobState.CANCELLED,
        }
    ),
    JobState.REJECTED: frozenset({JobState.CANCELLED}),
}
"""State → states that may follow it. The database enforces the same table."""


INTENT_TRANSITIONS: Mapping[IntentState, frozenset[IntentState]] = {
    IntentState.OPEN: frozenset({IntentState.EXECUTED, IntentState.ABANDONED}),
    IntentState.EXECUTED: frozenset({IntentState.VERIFIED, IntentState.ABANDONED}),
    IntentState.VERIFIED: frozenset({IntentState.CLOSED, IntentState.ABANDONED}),
    IntentState.CLOSED: frozenset(),
    IntentState.ABANDONED: frozenset(),
}
