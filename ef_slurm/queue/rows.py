"""The rows of the queue as typed values.

Times are UTC epoch seconds. Ids are the queue's own: Slurm's job ids are recycled, and change when
a job must be submitted again.
"""

from __future__ import annotations

from dataclasses import dataclass

from ef_slurm.model import (
    Block,
    PromiseState,
    Reason,
    Schedule,
)


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """What one plan gave one job."""

    job_id: int
    block: Block | None
    schedule: Schedule
    finish: float | None
    promise: PromiseState
    reason: Reason


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """One plan as it was made. `next_change` is `inf` for never."""

    id: int
    made_at: float
    next_change: float
    decisions: tuple[StoredDecision, ...]


@dataclass(frozen=True, slots=True)
class DaemonRecord:
    """The daemon that owns, or last owned, the queue."""

    pid: int
    host: str
    user: str
    version: str
    started_at: float
    seen_at: float
    stopped_at: float | None = None
