"""Recorded answers and promises."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ef_slurm.model.curve import ThroughputCurve
from ef_slurm.model.overhead import Overhead
from ef_slurm.model.plan import Outcome, Reason


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """An answer to a job's owner; the latest one counts.

    Args:
        explanation: the reason as a sentence, for whoever waits for the answer.
    """

    id: int
    job_id: int
    at: float
    outcome: Outcome
    reason: Reason
    share: int = 0
    finish: float | None = None
    earliest_deadline: float | None = None
    explanation: str = ""


class PromiseOutcome(enum.Enum):
    """How a promise ended."""

    OPEN = "open"
    KEPT = "kept"
    KEPT_IN_GRACE = "kept-in-grace"
    BROKEN = "broken"
    VOID = "void"  # the job did not keep its own side: cancelled, held, or failed by itself


@dataclass(frozen=True, slots=True)
class Promise:
    """A recorded promise: the deadline, and what it was based on."""

    id: int
    job_id: int
    given_at: float
    deadline: float
    grace: float
    finish: float
    share: int
    curves: tuple[tuple[str, ThroughputCurve], ...]
    overhead: Overhead
    outcome: PromiseOutcome = PromiseOutcome.OPEN
    settled_at: float | None = None
