"""Intents: what was decided on, written before Slurm is asked, so that a crash loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Row

from ef_slurm.model import ACTOR, Event, EventKind, Intent, IntentAction, IntentState, Json
from ef_slurm.queue.codec import dump, load
from ef_slurm.queue.database import Database
from ef_slurm.queue.errors import ConflictError, ForbiddenTransitionError, NoSuchRowError
from ef_slurm.queue.events import Events
from ef_slurm.queue.rows import readable
from ef_slurm.queue.transitions import INTENT_TRANSITIONS

MOST_INTENTS = 2000
"""Of one job; of more the oldest go."""


class Intents:
    """The table of intents."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    def open(
        self,
        job_id: int,
        generation: int,
        action: IntentAction,
        arguments: Mapping[str, Json],
        *,
        at: float,
        why: str,
    ) -> Intent:
        """Write an intent before its action.

        Args:
            generation: the job's, now.
            arguments: all that is needed to do the action again after a crash.
            why: a sentence for the log.

        Raises:
            ConflictError: the job has another one unfinished.
        """
        with self._database.transaction():
            other = self.unfinished_of(job_id)
            if other is not None:
                raise ConflictError(
                    f"job {job_id} has intent {other.id} ({other.action.value}) unfinished"
                )
            # None of them is unfinished.
            self._database.execute(
                "DELETE FROM intents WHERE job_id = :job AND id <= (SELECT id FROM intents"
                " INDEXED BY intents_by_job_id WHERE job_id = :job"
                " ORDER BY id DESC LIMIT 1 OFFSET :kept)",
                {"job": job_id, "kept": MOST_INTENTS - 1},
            )
            intent_id = self._database.insert(
                "intents",
                {
                    "job_id": job_id,
                    "generation": generation,
                    "action": action.value,
                    "arguments": dump(dict(arguments)),
                    "opened_at": at,
                    "changed_at": at,
                },
            )
            intent = self.get(intent_id)
            self._log(intent, at, why)
            return intent

    def advance(self, intent_id: int, to: IntentState, *, at: float, why: str = "") -> Intent:
        """Move an intent on. Moving to the state that it has does nothing.

        Args:
            why: a sentence for the log; without, only closing and abandoning are logged.

        Raises:
            ForbiddenTransitionError: `to` may not follow its state.
        """
        with self._database.transaction():
            intent = self.get(intent_id)
            if intent.state is to:
                return intent
            if to not in INTENT_TRANSITIONS[intent.state]:
                raise ForbiddenTransitionError(
                    f"intent {intent_id} is {intent.state.value}: it cannot become {to.value}"
                )
            self._database.execute(
                "UPDATE intents SET state = ?, changed_at = ? WHERE id = ?",
                (to.value, at, intent_id),
            )
            intent = self.get(intent_id)
            if why or to is IntentState.ABANDONED:
                self._log(intent, at, why or f"{intent.action.value} abandoned")
            return intent

    def tried(self, intent_id: int, *, at: float, error: str = "") -> Intent:
        """Count an attempt, with what went wrong."""
        self._database.execute(
            "UPDATE intents SET attempts = attempts + 1, error = ?, changed_at = ? WHERE id = ?",
            (error, at, intent_id),
        )
        return self.get(intent_id)

    def get(self, intent_id: int) -> Intent:
        """One intent.

        Raises:
            NoSuchRowError: there is none of that id.
        """
        row = self._database.one("SELECT * FROM intents WHERE id = ?", (intent_id,))
        if row is None:
            raise NoSuchRowError(f"the queue has no intent {intent_id}")
        return _intent(row)

    def unfinished(self) -> tuple[Intent, ...]:
        """Intents that are neither closed nor abandoned, oldest first."""
        rows = self._database.query(
            "SELECT * FROM intents WHERE state IN ('open', 'executed', 'verified') ORDER BY id"
        )
        return readable(rows, _intent)

    def unfinished_of(self, job_id: int) -> Intent | None:
        """The unfinished intent of a job, or None."""
        row = self._database.one(
            "SELECT * FROM intents WHERE job_id = ? AND state IN ('open', 'executed', 'verified')",
            (job_id,),
        )
        return None if row is None else _intent(row)

    def last_of(self, job_id: int) -> Intent | None:
        """The latest intent of a job, however it ended; None if it has none."""
        row = self._database.one(
            "SELECT * FROM intents INDEXED BY intents_by_job_id WHERE job_id = ?"
            " ORDER BY id DESC LIMIT 1",
            (job_id,),
        )
        return None if row is None else _intent(row)

    def _log(self, intent: Intent, at: float, why: str) -> None:
        self._events.log(
            Event(
                at=at,
                kind=EventKind.INTENT,
                actor=ACTOR,
                message=why,
                job_id=intent.job_id,
                data={
                    "intent": intent.id,
                    "action": intent.action.value,
                    "state": intent.state.value,
                    "generation": intent.generation,
                },
            )
        )


def _intent(row: Row) -> Intent:
    return Intent(
        id=row["id"],
        job_id=row["job_id"],
        generation=row["generation"],
        action=IntentAction(row["action"]),
        arguments=load(row["arguments"]),
        state=IntentState(row["state"]),
        opened_at=row["opened_at"],
        changed_at=row["changed_at"],
        attempts=row["attempts"],
        error=row["error"],
    )
