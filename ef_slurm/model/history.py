"""Jobs that have ended, as the record of them is read: a little of each, many at a time."""

from __future__ import annotations

from dataclasses import dataclass

from ef_slurm.model.job import JobKind
from ef_slurm.model.job_state import JobState
from ef_slurm.model.promise import Fault, PromiseOutcome


@dataclass(frozen=True, slots=True)
class EndedJob:
    """One job that has ended. Times are UTC epoch seconds, None for not known.

    Args:
        kind: what was asked for.
        started: when it first ran; None where it never did.
        promise: how its latest promise ended, None where none was given; `fault` whose doing that
            was, None where it was kept.
        iterations: of the whole training, of which `iteration` are done.
    """

    job_id: int
    name: str
    owner: str
    account: str
    partition: str
    state: JobState
    kind: JobKind
    submitted: float
    deadline: float | None
    started: float | None
    ended: float
    promise: PromiseOutcome | None
    fault: Fault | None
    iterations: int | None
    iteration: float
    exit_code: int | None
    note: str


@dataclass(frozen=True, slots=True)
class HistoryMark:
    """How far a history has been read: up to the job of this end and queue id, and with it."""

    ended: float
    row: int


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of the record, in the order in which the jobs ended.

    Args:
        now: by the daemon's clock.
        jobs: those of the part that were asked for; there may be none in it.
        next: from where to go on; None at the end.
    """

    now: float
    jobs: tuple[EndedJob, ...]
    next: HistoryMark | None = None
