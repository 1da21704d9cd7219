"""A row is decoded once, whichever connection reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import Row
from typing import Any

from ef_slurm.model import QueueJob
from ef_slurm.queue import job_rows


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
