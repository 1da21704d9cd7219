"""The table of companions: the further Slurm jobs of jobs that grow while they train."""

from __future__ import annotations

from sqlite3 import Row

from ef_slurm.formats.codec import decode
from ef_slurm.formats.printing import shortened
from ef_slurm.model import (
    ACTOR,
    COMPANION_TRANSITIONS,
    Block,
    Companion,
    CompanionState,
    Event,
    EventKind,
)
from ef_slurm.queue.codec import dump_block
from ef_slurm.queue.database import Database
from ef_slurm.queue.errors import ForbiddenTransitionError, NoSuchRowError
from ef_slurm.queue.events import Events
from ef_slurm.queue.rows import readable

LONGEST_NOTE = 500
"""Characters."""
MOST_ENDED = 500
"""Companions of one job that have ended; of more the oldest go."""


class Companions:
    """Rows of companions. Every move of one is a line of the job's story."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    def want(
        self, job_id: int, generation: int, change: int, block: Block, *, at: float
    ) -> Companion:
        """Write down that a companion is wanted, before anybody is told.

        Args:
            job_id: the queue's.
            generation, change: what it is for.
            block: the nodes that it is to bring.
        """
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM companions WHERE job_id = :job AND state = 'ended' AND id <="
                " (SELECT id FROM companions WHERE job_id = :job AND state = 'ended'"
                " ORDER BY id DESC LIMIT 1 OFFSET :kept)",
                {"job": job_id, "kept": MOST_ENDED},
            )
            row_id = self._database.insert(
                "companions",
                {
                    "job_id": job_id,
                    "generation": generation,
                    "change": change,
                    "block": dump_block(block),
                    "ordered_at": at,
                    "changed_at": at,
                },
            )
            return self.get(row_id)

    def move(
        self,
        companion: Companion,
        to: CompanionState,
        *,
        at: float,
        slurm_job_id: int | None = None,
        why: str = "",
    ) -> Companion:
        """Move a companion on. Moving to the state that it has does nothing.

        Args:
            slurm_job_id: where it is known only now.
            why: a sentence for the job's story; "" for none.

        Raises:
            ForbiddenTransitionError: `to` may not follow the state that it has in the queue.
        """
        with self._database.transaction():
            known = self.get(companion.id)
            if known.state is to:
                return known
            if to not in COMPANION_TRANSITIONS[known.state]:
                raise ForbiddenTransitionError(
                    f"companion {known.id} is {known.state.value}: it cannot become {to.value}"
                )
            self._database.execute(
                "UPDATE companions SET state = ?, changed_at = ?, note = ?,"
                " slurm_job_id = coalesce(?, slurm_job_id) WHERE id = ?",
                (to.value, at, shortened(why, LONGEST_NOTE), slurm_job_id, known.id),
            )
            if why:
                data = {"companion": known.id, "companion_state": to.value}
                self._events.log(Event(at, EventKind.STATE, ACTOR, why, known.job_id, data))
            return self.get(known.id)

    def get(self, companion_id: int) -> Companion:
        """One companion.

        Raises:
            NoSuchRowError: there is none of that id.
        """
        row = self._database.one("SELECT * FROM companions WHERE id = ?", (companion_id,))
        if row is None:
            raise NoSuchRowError(f"the queue has no companion {companion_id}")
        return _companion(row)

    def present(self) -> tuple[Companion, ...]:
        """Those that have not ended, oldest first."""
        rows = self._database.query("SELECT * FROM companions WHERE state <> 'ended' ORDER BY id")
        return readable(rows, _companion)

    def of(self, job_id: int, *, ended: bool = True) -> tuple[Companion, ...]:
        """Those of a job, oldest first.

        Args:
            ended: all that it ever had; else those that have not ended.
        """
        rows = self._database.query(
            "SELECT * FROM companions WHERE job_id = ? AND (? OR state <> 'ended') ORDER BY id",
            (job_id, ended),
        )
        return readable(rows, _companion)

    def of_slurm(self, slurm_job_id: int) -> Companion | None:
        """The latest companion that is this Slurm job; None for none."""
        row = self._database.one(
            "SELECT * FROM companions WHERE slurm_job_id = ? ORDER BY id DESC LIMIT 1",
            (slurm_job_id,),
        )
        return None if row is None else _companion(row)


def _companion(row: Row) -> Companion:
    return Companion(
        id=row["id"],
        job_id=row["job_id"],
        generation=row["generation"],
        change=row["change"],
        state=CompanionState(row["state"]),
        block=decode(Block, row["block"]),
        ordered_at=row["ordered_at"],
        changed_at=row["changed_at"],
        slurm_job_id=row["slurm_job_id"],
        note=row["note"],
    )
