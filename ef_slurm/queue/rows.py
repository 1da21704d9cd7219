"""The rows of the queue as typed values.

Times are UTC epoch seconds. Ids are the queue's own: Slurm's job ids are recycled, and change when
a job must be submitted again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from sqlite3 import Row
from typing import TypeVar

from ef_slurm.model import (
    Block,
    PromiseState,
    Reason,
    Schedule,
)

_log = logging.getLogger(__name__)
Value = TypeVar("Value")


def readable(rows: Iterable[Row], decode: Callable[[Row], Value]) -> tuple[Value, ...]:
    """The values of those rows that hold one; the others are set aside, and told by their ids."""
    values = []
    for row in rows:
        try:
            values.append(decode(row))
        except Exception as error:
            _log.warning("row %s of the queue is set aside: %s", row["id"], error)
    return tuple(values)


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
