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
    BROKEN = "broken"  # the deadline and its grace passed, or the job can never finish
    VOID = "void"  # the job did not keep its own side: cancelled, held, or failed by itself
    REPLACED = "replaced"  # by another one, which its owner has asked for


class Fault(enum.Enum):
    """Whose doing it was that a promise was broken or became void."""

    OWNER = "owner"  # cancelled it, or held it
    JOB = "job"  # failed by itself, ran into its own time limit, trained slower than its curve
    OPERATOR = "operator"  # held it
    CLUSTER = "cluster"  # nodes failed or went away; Slurm lost it, put it back or does not take it
    EF_SLURM = "ef-slurm"  # nothing of these: what was predicted did not come true


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a promise ended, whose doing that was (None where it was kept), and why in a sentence."""

    outcome: PromiseOutcome
    fault: Fault | None
    why: str


@dataclass(frozen=True, slots=True)
class Promise:
    """A recorded promise: the deadline, and what it was based on.

    Args:
        fault: whose doing it was that it was broken or became void; None otherwise.
        settled_at: when its outcome was known, UTC epoch seconds.
    """

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
    fault: Fault | None = None
    settled_at: float | None = None
