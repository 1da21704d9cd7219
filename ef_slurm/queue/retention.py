"""Forgetting: ended jobs and what belongs to them, in pieces so small that nobody waits for one."""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Row

from ef_slurm.queue.database import Database

_RAN = "SELECT id FROM jobs INDEXED BY jobs_by_ended_at WHERE ended_at < :before"
_NEVER_RAN = (
    "SELECT id FROM jobs INDEXED BY jobs_never_run"
    " WHERE first_started_at IS NULL AND ended_at < :never_run_before"
)
_OF_A_JOB = ("companions", "decisions", "intents", "promises", "verdicts")


class Retention:
    """How long ended jobs and their events stay."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._forgotten: set[int] = set()

    def take_forgotten(self) -> frozenset[int]:
        """The jobs that were deleted since this was last asked."""
        taken, self._forgotten = frozenset(self._forgotten), set()
        return taken

    def prune(self, before: float, *, limit: int, never_run_before: float = 0.0) -> int:
        """Delete some of what ended before a moment.

        The oldest jobs go first, with their scripts, promises and events, and events of no job
        that are older. Where there are none, nothing is written.

        Args:
            before: UTC epoch seconds. It is written into the file too, where a trigger holds
                everybody to it: events of other jobs cannot be deleted.
            limit: about how many rows to delete. A job goes when its last event has gone.
            never_run_before: the same for jobs that never ran (refused, withdrawn, cancelled while
                they waited): anybody can make as many of them as they like.

        Returns:
            How many rows were deleted; less than `limit` when nothing is left to delete.
        """
        moments = {"before": before, "never_run_before": max(before, never_run_before)}
        if not self._is_due(moments):
            return 0
        with self._database.transaction(durable=False):
            self._database.execute(
                "UPDATE retention SET ended_before = :before, never_run_before = :never_run_before",
                moments,
            )
            gone = self._events("job_id IS NULL AND at < :before", before, limit)
            while gone < limit:
                row = self._oldest(moments)
                if row is None:
                    break
                gone += self._events(f"job_id = {row['id']}", before, limit - gone)
                if gone < limit:
                    gone += self._job(row["id"])
            return gone

    def _oldest(self, moments: Mapping[str, float]) -> Row | None:
        """The job that is to go next."""
        for jobs in (_RAN, _NEVER_RAN):
            row = self._database.one(f"{jobs} ORDER BY ended_at LIMIT 1", moments)
            if row is not None:
                return row
        return None

    def _is_due(self, moments: Mapping[str, float]) -> bool:
        row = self._database.one(
            f"SELECT EXISTS ({_RAN}) OR EXISTS ({_NEVER_RAN})"  # noqa: S608 - values are bound
            " OR EXISTS (SELECT 1 FROM events WHERE id = (SELECT min(id) FROM events"
            "    WHERE job_id IS NULL) AND at < :before)",
            moments,
        )
        return row is not None and bool(row[0])

    def _events(self, where: str, before: float, limit: int) -> int:
        return self._database.execute(
            "DELETE FROM events WHERE id IN"  # noqa: S608 - values are bound
            f" (SELECT id FROM events WHERE {where} ORDER BY id LIMIT :limit)",
            {"before": before, "limit": limit},
        )

    def _job(self, job_id: int) -> int:
        gone = sum(
            self._database.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))  # noqa: S608 - values are bound
            for table in _OF_A_JOB
        )
        self._forgotten.add(job_id)
        return gone + self._database.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
