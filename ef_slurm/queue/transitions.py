"""The life of a job in the queue: named states and the transitions between them."""

from __future__ import annotations

from collections.abc import Mapping

from ef_slurm.model import IntentState, JobState

# What was measured while it trained may be judged in any of these: refused, or to wait.
_REFUSED = frozenset({JobState.WAITLISTED, JobState.REJECTED})
_ENDS = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.LOST})

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.NEW: _ENDS
    | {JobState.WAITLISTED, JobState.ADMITTED, JobState.REJECTED, JobState.HELD},
    # Changed in Slurm while it waited, a job is judged anew.
    JobState.WAITLISTED: _ENDS
    | {JobState.NEW, JobState.ADMITTED, JobState.REJECTED, JobState.HELD},
    JobState.ADMITTED: _ENDS
    | _REFUSED
    | {JobState.NEW, JobState.STARTING, JobState.RUNNING, JobState.HELD},
    JobState.STARTING: _ENDS
    | _REFUSED
    | {
        JobState.NEW,
        JobState.ADMITTED,
        JobState.RUNNING,
        JobState.STOPPING,
        JobState.PAUSED,
        JobState.HELD,
    },
    JobState.RUNNING: _ENDS | _REFUSED | {JobState.STOPPING, JobState.PAUSED, JobState.HELD},
    JobState.STOPPING: _ENDS
    | _REFUSED
    | {JobState.STARTING, JobState.RUNNING, JobState.PAUSED, JobState.HELD},
    JobState.PAUSED: _ENDS
    | _REFUSED
    | {JobState.NEW, JobState.STARTING, JobState.RUNNING, JobState.HELD},
    JobState.HELD: _ENDS | {JobState.NEW, JobState.WAITLISTED, JobState.ADMITTED, JobState.PAUSED},
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    # Submitted again, it goes on; one that had no promise yet is judged again.
    JobState.LOST: frozenset({JobState.NEW, JobState.ADMITTED, JobState.PAUSED}),
    JobState.REJECTED: frozenset(),
}
"""State → states that may follow it. The database enforces the same table.

Every arrow is performed by some code, and a test walks each of them with the daemon.
"""


INTENT_TRANSITIONS: Mapping[IntentState, frozenset[IntentState]] = {
    IntentState.OPEN: frozenset({IntentState.EXECUTED, IntentState.ABANDONED}),
    IntentState.EXECUTED: frozenset({IntentState.VERIFIED, IntentState.ABANDONED}),
    IntentState.VERIFIED: frozenset({IntentState.CLOSED}),
    IntentState.CLOSED: frozenset(),
    IntentState.ABANDONED: frozenset(),
}
