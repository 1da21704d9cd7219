"""The audit log: append-only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from sqlite3 import Row

from ef_slurm.formats.printing import shortened
from ef_slurm.model import PUT_BACK, Event, EventKind
from ef_slurm.queue.codec import dump, load
from ef_slurm.queue.database import Database
from ef_slurm.queue.rows import readable

MOST_EVENTS = 5000
"""Events of one job."""
LONGEST_MESSAGE = 2000
"""Characters of an event's sentence."""

_ALWAYS = frozenset({EventKind.VERDICT, EventKind.PROMISED, EventKind.PROMISE})


class Events:
    """The table of events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def log(self, event: Event) -> Event:
        """Append an event; returns it with its id, or without one where it was not written.

        A job whose owner holds and releases it all day does not fill the disk: beyond
        `MOST_EVENTS` only verdicts and promises are written, and once that it is so.
        """
        message = shortened(event.message, LONGEST_MESSAGE)
        if event.job_id is not None and event.kind not in _ALWAYS:
            present = self._count(event.job_id)
            if present > MOST_EVENTS:
                return event
            if present == MOST_EVENTS:
                message = f"too much has happened to this job: not all of it is logged ({message})"
        row_id = self._database.insert(
            "events",
            {
                "at": event.at,
                "job_id": event.job_id,
                "kind": event.kind.value,
                "actor": event.actor,
                "message": message,
                "data": dump(dict(event.data)),
            },
        )
        return replace(event, message=message, id=row_id)

    def _count(self, job_id: int) -> int:
        """How many events a job has, as far as that matters."""
        row = self._database.one(
            "SELECT count(*) FROM (SELECT 1 FROM events WHERE job_id = ? LIMIT ?)",
            (job_id, MOST_EVENTS + 1),
        )
        assert row is not None
        number: int = row[0]
        return number

    def all(
        self,
        *,
        job_id: int | None = None,
        after: int = 0,
        kinds: Iterable[EventKind] | None = None,
        limit: int | None = None,
    ) -> tuple[Event, ...]:
        """Events in the order in which they were written.

        Args:
            job_id: of one job only.
            after: only those with a larger id.
            kinds: of these kinds only.
            limit: at most so many.
        """
        where = ["id > :after"]
        values: dict[str, object] = {"after": after, "limit": -1 if limit is None else limit}
        if job_id is not None:
            where.append("job_id = :job_id")
            values["job_id"] = job_id
        if kinds is not None:
            where.append("kind IN (SELECT value FROM json_each(:kinds))")
            values["kinds"] = dump([kind.value for kind in kinds])
        rows = self._database.query(
            f"SELECT * FROM events WHERE {' AND '.join(where)}"  # noqa: S608 - values are bound
            " ORDER BY id LIMIT :limit",
            values,
        )
        return readable(rows, _event)

    def lost_a_run(self, job_id: int, since: float) -> bool:
        """Whether something has taken a run from a job since a moment, as far as that was logged.

        Nodes that went away, whatever else put it back, or kept it from its GPUs, that was not its
        own doing.
        """
        # Not by `all`: of one job there may be thousands.
        row = self._database.one(
            "SELECT 1 FROM events INDEXED BY events_by_job WHERE job_id = :job_id AND at >= :since"
            " AND coalesce(CASE WHEN json_valid(data) THEN json_extract(data, :put_back) END,"
            " kind = :node) LIMIT 1",
            {
                "job_id": job_id,
                "since": since,
                "node": EventKind.NODE.value,
                "put_back": f"$.{PUT_BACK}",
            },
        )
        return row is not None

    def given_gpus_at(self, job_id: int) -> float | None:
        """When a plan last gave a job GPUs that had none; None where none has, as far as is known.

        UTC epoch seconds. Other GPUs since are no such moment.
        """
        row = self._database.one(
            "SELECT max(at) AS at FROM events INDEXED BY events_by_job WHERE job_id = :job_id"
            " AND kind = :share AND json_valid(data) AND json_extract(data, '$.from') = 0",
            {"job_id": job_id, "share": EventKind.SHARE.value},
        )
        return None if row is None else row["at"]

    def last(self, kind: EventKind, limit: int) -> tuple[Event, ...]:
        """The latest events of a kind, at most `limit`, oldest first."""
        rows = self._database.query(
            "SELECT * FROM events WHERE kind = ? ORDER BY id DESC LIMIT ?", (kind.value, limit)
        )
        return readable(reversed(rows), _event)


def _event(row: Row) -> Event:
    return Event(
        at=row["at"],
        kind=EventKind(row["kind"]),
        actor=row["actor"],
        message=row["message"],
        job_id=row["job_id"],
        data=load(row["data"]),
        id=row["id"],
    )
