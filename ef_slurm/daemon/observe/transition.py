"""What is new of a job: the answer of `transitions`, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ef_slurm.model import EventKind, JobState, Json, QueueJob, Settlement


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something for the audit log that is not a change of state."""

    kind: EventKind
    message: str
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transition:
    """What is new.

    Args:
        job: the row with its new values (its state is the old one).
        to: the state that it moves to, or None.
        why: a sentence on that.
        actor_is_owner: whether its owner did it.
        entries: what else to log.
        settled: how its promise ended, if it did.
        ended_at: when the job ended by Slurm's clock, if it did.
        replan: whether the plan in force does not fit any more.
        forgotten: whether Slurm has forgotten that it was released: it may have started since.
    """

    job: QueueJob
    to: JobState | None = None
    why: str = ""
    actor_is_owner: bool = False
    entries: tuple[AuditEntry, ...] = ()
    settled: Settlement | None = None
    ended_at: float | None = None
    replan: bool = False
    forgotten: bool = False

    def is_little_progress(self, before: QueueJob, seconds: float) -> bool:
        """Whether nothing is new but progress, which the next report will tell again.

        Args:
            before: the row as it is in the queue.
            seconds: of training that need not be written.
        """
        new = self.job
        if self.to is not None or new.progress_at is None or before.progress_at is None:
            return False
        if not 0 <= new.progress_at - before.progress_at < seconds:
            return False
        same = replace(
            new,
            iteration=before.iteration,
            progress_at=before.progress_at,
            rate=before.rate,
            measuring=before.measuring,
        )
        return same == before
