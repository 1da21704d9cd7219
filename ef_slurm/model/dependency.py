"""Jobs that wait for others: what was asked for, and what has come of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class DependencyKind(enum.Enum):
    """What another job has to have come to (sbatch(1), --dependency)."""

    AFTER = "after"  # it has begun, or has ended without
    AFTER_ANY = "afterany"  # it has ended
    AFTER_OK = "afterok"  # it is complete
    AFTER_NOT_OK = "afternotok"  # it has ended otherwise
    SINGLETON = "singleton"  # all earlier jobs of the same name and owner have ended


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that has to be so before a job may begin.

    Args:
        job_id: the other job, by Slurm's id; None for a singleton.
        minutes: after its start (`AFTER` only).
        row: the other job's own id in the queue; None for one that is not ef-slurm's. Filled in
            when the job that waits is registered: Slurm's id of a job may change, and come again.
    """

    kind: DependencyKind
    job_id: int | None = None
    minutes: int = 0
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Dependency:
    """What has to be so before a job may begin; no conditions: nothing.

    Args:
        any_of: whether one of the conditions is enough.
        kill: whether the job is cancelled once that can never be; None: as the site has it.
    """

    conditions: tuple[Condition, ...] = ()
    any_of: bool = False
    kill: bool | None = None


class GateState(enum.Enum):
    """Whether a job may begin, as far as others are concerned."""

    OPEN = "open"  # it may
    UNTIL = "until"  # it may at `Gate.begin`, by what was promised to the others
    UNKNOWN = "unknown"  # nobody can say when: it is judged when it may
    NEVER = "never"  # what it waits for can never be


@dataclass(frozen=True, slots=True)
class Gate:
    """What has come of a job's dependency.

    Args:
        begin: when it may begin at the latest, UTC epoch seconds; None where nobody knows.
        words: what it waits for, or why it waits for ever.
        met: which of its conditions are met, by their place; they stay met.
    """

    state: GateState
    begin: float | None = None
    words: str = ""
    met: tuple[int, ...] = ()
