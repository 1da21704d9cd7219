"""Which daemon owns the queue. The lock says it for sure; the row says it to people."""

from __future__ import annotations

import fcntl
import getpass
import os
import socket
from pathlib import Path

from ef_slurm.queue.database import Database
from ef_slurm.queue.errors import DaemonRunningError, QueueError
from ef_slurm.queue.filesystem import refuse_network_filesystem
from ef_slurm.queue.rows import DaemonRecord


class DaemonLock:
    """Held by the daemon for as long as it owns the queue. The kernel ends it with the process.

    Raises:
        DaemonRunningError: another process holds it.
        QueueOnNetworkFilesystemError: the lock would protect nothing there.
    """

    def __init__(self, queue: Path) -> None:
        self.path = queue.with_name(queue.name + ".lock")
        refuse_network_filesystem(self.path)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise QueueError(f"cannot make {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 200, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise DaemonRunningError(
                f"the queue {queue} has a daemon already ({holder or 'starting'}): "
                "stop it first, or give this one another queue"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def close(self) -> None:
        """Give the queue up. The file stays: removing it would let two daemons lock two files."""
        os.close(self._file)

    def __enter__(self) -> DaemonLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Owner:
    """The row that tells others which daemon owns the queue, and when it was last alive."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def started(self, *, at: float, version: str) -> DaemonRecord:
        """Write this process, of that version of ef-slurm, as the owner. Only under the lock."""
        record = DaemonRecord(
            pid=os.getpid(),
            host=socket.gethostname(),
            user=getpass.getuser(),
            version=version,
            started_at=at,
            seen_at=at,
        )
        self._database.execute(
            "INSERT OR REPLACE INTO daemon VALUES (1, ?, ?, ?, ?, ?, ?, NULL)",
            (record.pid, record.host, record.user, record.version, at, at),
        )
        return record

    def seen(self, *, at: float) -> None:
        """The owner is alive."""
        with self._database.transaction(durable=False):
            self._database.execute("UPDATE daemon SET seen_at = ?", (at,))

    def stopped(self, *, at: float) -> None:
        """The owner ends as it should."""
        self._database.execute("UPDATE daemon SET seen_at = ?, stopped_at = ?", (at, at))

    def record(self) -> DaemonRecord | None:
        """The present or last owner, or None if there never was one."""
        row = self._database.one("SELECT * FROM daemon")
        if row is None:
            return None
        return DaemonRecord(
            pid=row["pid"],
            host=row["host"],
            user=row["user"],
            version=row["version"],
            started_at=row["started_at"],
            seen_at=row["seen_at"],
            stopped_at=row["stopped_at"],
        )
