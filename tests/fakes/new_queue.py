"""A new queue without making one: its tables take as long as many a test."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from ef_slurm.queue.store import Queue


def open_queue(path: Path) -> Queue:
    """Open a queue; one that is missing is as `Queue.open` would make it."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_bytes(empty())
    return Queue.open(path)


@cache
def empty() -> bytes:
    """The file of a new queue."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "queue.sqlite"
        Queue.open(path).close()
        return path.read_bytes()
