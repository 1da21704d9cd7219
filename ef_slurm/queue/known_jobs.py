"""Rows of the table of jobs as values, each decoded once for each of its revisions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from sqlite3 import Row
from typing import Any

from ef_slurm.model import QueueJob
from ef_slurm.queue import codec, job_rows
from ef_slurm.queue.database import Database
from ef_slurm.queue.errors import UnreadableRowError

_MOST_DECODED = 20_000


class KnownJobs:
    """The jobs that one connection has read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._decoded: dict[int, QueueJob] = {}
        self.unreadable: dict[int, str] = {}
        """Rows that were left out of an answer because they hold what nobody can have meant: id →
        what is wrong with it."""
        # A revision that is taken back comes again with other values.
        database.on_rollback(self._decoded.clear)

    def of(self, job_id: int, revision: int) -> QueueJob | None:
        """A job at that revision, if it is known."""
        known = self._decoded.get(job_id)
        return known if known is not None and known.revision == revision else None

    def keep(self, job: QueueJob) -> None:
        """A job as its row holds it now."""
        self._decoded[job.id] = job

    def found(self, which: str, values: Mapping[str, Any]) -> tuple[QueueJob, ...]:
        """The jobs that the rest of a SELECT picks: only rows that are new or changed are read.

        Which index to use is said in it: by its statistics SQLite would take few states for most
        of the table, where most of the table has ended.
        """
        wanted = f"SELECT id, revision FROM jobs {which}"  # noqa: S608 - values are bound
        found = self._database.query(wanted, values)
        if all(self.of(*row) is not None for row in found):
            return tuple(self._decoded[job_id] for job_id in sorted(row[0] for row in found))
        with self._database.snapshot():  # rows of one moment
            found = self._database.query(wanted, values)
            jobs = {row[0]: known for row in found if (known := self.of(*row)) is not None}
            changed = [row[0] for row in found if row[0] not in jobs]
            if changed:
                rows = self._database.query(
                    "SELECT * FROM jobs WHERE id IN (SELECT value FROM json_each(?))",
                    (codec.dump(changed),),
                )
                for row in rows:
                    with suppress(UnreadableRowError):
                        jobs[row["id"]] = self.value(row)
        return tuple(jobs[job_id] for job_id in sorted(jobs))

    def value(self, row: Row) -> QueueJob:
        """The row as a value; decoded again only when its revision has grown.

        Raises:
            UnreadableRowError: it is none.
        """
        known = self.of(row["id"], row["revision"])
        if known is not None:
            return known
        if len(self._decoded) >= _MOST_DECODED:
            self._decoded.clear()
        try:
            job = self._decoded[row["id"]] = job_rows.to_job(row)
        except Exception as error:
            problem = f"job {row['id']} of the queue (Slurm job {row['slurm_job_id']}): {error}"
            self.unreadable[row["id"]] = problem
            raise UnreadableRowError(problem) from error
        self.unreadable.pop(row["id"], None)
        return job
