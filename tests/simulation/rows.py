"""A row is decoded once, whichever connection reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from sqlite3 import Row
from typing import Any

from ef_slurm.model import QueueJob
from ef_slurm.queue import job_rows
from ef_slurm.queue.errors import UnreadableRowError
from ef_slurm.queue.store import Queue
from tests.simulation.faults import ViolationError

PROGRESS = frozenset({"revision", "iteration", "progress_at", "rate"})
"""Columns that change while a job trains. They are numbers, and no invariant is about them."""


@contextmanager
def rows_decoded_once() -> Iterator[None]:
    """All connections, of the dead and the living, share what rows of the same content say."""
    plain, known = job_rows.to_job, dict[tuple[Any, ...], QueueJob]()

    def to_job(row: Row) -> QueueJob:
        content = tuple(row)
        found = known.get(content)
        if found is None:
            found = known[content] = plain(row)
        return found

    job_rows.to_job = to_job
    try:
        yield
    finally:
        job_rows.to_job = plain


@dataclass(frozen=True, slots=True)
class _Seen:
    """A row as it was last seen; `content` without its progress."""

    revision: int
    content: tuple[object, ...]
    job: QueueJob


@dataclass
class RowsSeen:
    """All rows of a queue, from look to look; their progress may be that of an earlier look."""

    _seen: dict[int, _Seen] = field(default_factory=dict)
    _columns: str = ""

    def now(self, queue: Queue) -> dict[int, QueueJob]:
        """The rows by id.

        Raises:
            ViolationError: one of them cannot be read.
        """
        database, before, self._seen = queue._database, self._seen, {}
        if not self._columns:
            names = [row["name"] for row in database.query("PRAGMA table_info(jobs)")]
            self._columns = ", ".join(name for name in names if name not in PROGRESS)
        for number, revision in database.query("SELECT id, revision FROM jobs ORDER BY id"):
            known = before.get(number)
            if known is None or known.revision != revision:
                asked = f"SELECT {self._columns} FROM jobs WHERE id = ?"
                content = tuple(database.query(asked, (number,))[0])
                same = known if known is not None and known.content == content else None
                job = _decoded(queue, number) if same is None else same.job
                known = _Seen(revision, content, job)
            self._seen[number] = known
        return {number: seen.job for number, seen in self._seen.items()}


def _decoded(queue: Queue, number: int) -> QueueJob:
    try:
        return queue.jobs.get(number)
    except UnreadableRowError as error:
        raise ViolationError(f"row {number} cannot be read: {error}") from error
