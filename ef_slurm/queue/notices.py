"""What there is to tell of jobs, and how far the telling is."""

from __future__ import annotations

from sqlite3 import Row

from ef_slurm.formats.printing import shortened
from ef_slurm.model import Notice, NoticeKind, NoticeState
from ef_slurm.queue.codec import dump
from ef_slurm.queue.database import Database

MOST_OF_A_JOB = 50
"""Notices of one job: its owner may change its deadline all day."""
LONGEST_ERROR = 500
LONGEST_MESSAGE = 1000


class Notices:
    """The tables of notices, and of the event up to which they were made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def cursor(self) -> int | None:
        """The last event that was looked at; None where none ever was."""
        row = self._database.one("SELECT event_id FROM notice_cursor")
        return None if row is None else int(row[0])

    def set_cursor(self, event_id: int | None) -> None:
        """Write it; None to forget it."""
        with self._database.transaction():
            self._database.execute("DELETE FROM notice_cursor")
            if event_id is not None:
                self._database.insert("notice_cursor", {"id": 1, "event_id": event_id})

    def last_event(self) -> int:
        """The id of the newest event, 0 for none."""
        row = self._database.one("SELECT max(id) FROM events")
        return 0 if row is None or row[0] is None else int(row[0])

    def add(
        self, job_id: int, kind: NoticeKind, *, event_id: int, at: float, wait: float, message: str
    ) -> bool:
        """A new one; False where the event's is there already, or the job has too many.

        Args:
            event_id: of the event that it is about.
            at: when that was, UTC epoch seconds.
            wait: seconds after which it may be sent.
        """
        touched = self._database.execute(
            "INSERT OR IGNORE INTO notices (job_id, event_id, kind, at, not_before, message)"
            " SELECT :job_id, :event_id, :kind, :at, :not_before, :message"
            " WHERE (SELECT count(*) FROM notices WHERE job_id = :job_id) < :most",
            {
                "job_id": job_id,
                "event_id": event_id,
                "kind": kind.value,
                "at": at,
                "not_before": at + wait,
                "message": shortened(message, LONGEST_MESSAGE),
                "most": MOST_OF_A_JOB,
            },
        )
        return bool(touched)

    def last_of(
        self, job_id: int, kinds: tuple[NoticeKind, ...]
    ) -> tuple[NoticeKind, NoticeState] | None:
        """The latest of some kinds that was not dropped, or None."""
        row = self._database.one(
            "SELECT kind, state FROM notices WHERE job_id = ? AND state <> 'dropped'"
            " AND kind IN (SELECT value FROM json_each(?)) ORDER BY id DESC LIMIT 1",
            (job_id, dump([kind.value for kind in kinds])),
        )
        return None if row is None else (NoticeKind(row["kind"]), NoticeState(row["state"]))

    def drop_open(self, job_id: int, kind: NoticeKind) -> bool:
        """Do not send what is overtaken; whether there was such."""
        return bool(
            self._database.execute(
                "UPDATE notices SET state = 'dropped'"
                " WHERE job_id = ? AND kind = ? AND state = 'open'",
                (job_id, kind.value),
            )
        )

    def next_due(self) -> float | None:
        """When the next one may be sent; None for none."""
        row = self._database.one("SELECT min(not_before) FROM notices WHERE state = 'open'")
        return None if row is None or row[0] is None else float(row[0])

    def claim(self, now: float, *, after: int = -1) -> Notice | None:
        """The next one that is due, from now on on its way; None for none. On disk on return.

        One of each owner in turn: whoever has many holds up nobody else's.

        Args:
            after: the owner, by uid, who had the last turn.
        """
        with self._database.transaction():
            row = self._database.one(
                "SELECT notices.* FROM notices JOIN jobs ON jobs.id = notices.job_id"
                " WHERE notices.state = 'open' AND not_before <= ?"
                " ORDER BY jobs.uid <= ?, jobs.uid, not_before, notices.id LIMIT 1",
                (now, after),
            )
            if row is None:
                return None
            self._database.execute(
                "UPDATE notices SET state = 'sending', tries = tries + 1 WHERE id = ?",
                (row["id"],),
            )
        return _notice(row, row["tries"] + 1)

    def sent(self, notice_id: int) -> None:
        """It was."""
        self._database.execute("UPDATE notices SET state = 'sent' WHERE id = ?", (notice_id,))

    def failed(self, notice_id: int, error: str, *, again_at: float | None) -> None:
        """It was not; to be tried again then, or never."""
        self._database.execute(
            "UPDATE notices SET state = :state, error = :error,"
            " not_before = coalesce(:again_at, not_before) WHERE id = :id",
            {
                "state": (NoticeState.FAILED if again_at is None else NoticeState.OPEN).value,
                "error": shortened(error, LONGEST_ERROR),
                "again_at": again_at,
                "id": notice_id,
            },
        )

    def recover(self, most_tries: int) -> tuple[Notice, ...]:
        """What was on its way when its sender was killed: once more, but not beyond `most_tries`.

        Returns:
            Those of which nobody will know whether they were sent.
        """
        with self._database.transaction():
            lost = self._database.query(
                "SELECT * FROM notices WHERE state = 'sending' AND tries >= ?", (most_tries,)
            )
            self._database.execute(
                "UPDATE notices SET state = 'failed', error = 'ef-schedd ended while it was sent'"
                " WHERE state = 'sending' AND tries >= ?",
                (most_tries,),
            )
            self._database.execute("UPDATE notices SET state = 'open' WHERE state = 'sending'")
        return tuple(_notice(row, row["tries"]) for row in lost)

    def counts(self) -> dict[NoticeState, int]:
        """How many there are in each state."""
        rows = self._database.query("SELECT state, count(*) FROM notices GROUP BY state")
        return {NoticeState(row[0]): int(row[1]) for row in rows}


def _notice(row: Row, tries: int) -> Notice:
    return Notice(
        id=row["id"],
        job_id=row["job_id"],
        kind=NoticeKind(row["kind"]),
        at=row["at"],
        message=row["message"],
        tries=tries,
    )
