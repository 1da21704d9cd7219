"""The SQLite file under the queue: opening, migrating, transactions, errors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import cache, partial
from pathlib import Path
from typing import Any

from ef_slurm.queue.errors import (
    ForbiddenTransitionError,
    QueueCorruptError,
    QueueError,
    QueueFullError,
    QueueIsBackupError,
    QueueLockedError,
    QueueMissingError,
    QueueTooNewError,
    RefusedRowError,
)
from ef_slurm.queue.filesystem import refuse_network_filesystem
from ef_slurm.queue.migrations import APPLICATION_ID, BACKUP_ID, MIGRATIONS
from ef_slurm.queue.transitions import INTENT_TRANSITIONS, TRANSITIONS
from ef_slurm.queue.views import VIEWS

_STATEMENTS = 512
"""How many stay compiled: more than there are. With fewer (128 by default) each tick would compile
some of its own anew."""


class Database:
    """One connection. Not to be shared between threads: open another.

    Args:
        path: the file.
        create: make it if it is missing.
        read_only: refuse to write.
        timeout: seconds to wait for another writer.

    Raises:
        QueueMissingError: no file and `create` is False.
        QueueOnNetworkFilesystemError: the path is not on a local disk.
        QueueTooNewError, QueueCorruptError, QueueLockedError, QueueFullError: as their names say.
    """

    def __init__(
        self, path: Path, *, create: bool = True, read_only: bool = False, timeout: float = 5.0
    ) -> None:
        self.path = path
        self._depth = 0
        self._synchronous = ""
        self._on_rollback: list[Callable[[], None]] = []
        refuse_network_filesystem(path)
        if not path.exists():
            if read_only or not create:
                raise QueueMissingError(
                    f"there is no queue at {path}: start ef-schedd, or name another"
                )
            self._make_file()
        with self._translated():
            mode = "ro" if read_only else "rw"
            uri = f"{path.absolute().as_uri()}?mode={mode}"
            # isolation_level None: transactions begin and end where `transaction` says.
            self._connection = sqlite3.connect(
                uri,
                uri=True,
                timeout=timeout,
                isolation_level=None,
                cached_statements=_STATEMENTS,
            )
        try:
            self._connection.row_factory = sqlite3.Row
            # By default one text that is no UTF-8 makes every row of an answer unreadable.
            self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
            self._prepare(read_only=read_only)
        except BaseException:
            self._connection.close()
            raise

    def _make_file(self) -> None:
        """An empty file that only its owner can read: scripts may hold secrets."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise QueueError(f"cannot make the queue {self.path}: {error.strerror}") from error

    def _prepare(self, *, read_only: bool) -> None:
        with self._translated():
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._check_identity()
            if read_only:
                if self._version() < len(MIGRATIONS):
                    raise QueueMissingError(
                        f"{self.path} is not a queue of this version yet: start ef-schedd once"
                    )
                return
            self._connection.execute("PRAGMA journal_mode = WAL")
        self._sync("FULL")
        self._migrate()

    def _check_identity(self) -> None:
        owner = self._connection.execute("PRAGMA application_id").fetchone()[0]
        version = self._version()
        tables = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if owner == BACKUP_ID:
            raise QueueIsBackupError(
                f"{self.path} is a backup, older than what was promised since: move the file "
                "elsewhere, and ef-schedd rebuild --backup=FILE makes a queue of it"
            )
        if owner != APPLICATION_ID and (tables or version):
            raise QueueCorruptError(f"{self.path} is a database, but not an ef-slurm queue")
        if version > len(MIGRATIONS):
            raise QueueTooNewError(
                f"{self.path} was written by a newer ef-slurm (schema {version}, this one knows "
                f"{len(MIGRATIONS)}): upgrade ef-slurm here"
            )

    def _version(self) -> int:
        version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
        return version

    def _migrate(self) -> None:
        if self._version() == len(MIGRATIONS) and self._follows_the_code():
            return
        # Only who migrates needs it, and commands that open a queue are to start fast.
        from sqlite_utils import Database as SqliteUtils

        with self.transaction(), self._translated():
            wrapped = SqliteUtils(self._connection, recursive_triggers=False)
            # A view that reads what a migration changes would stop it.
            for name in wrapped.view_names():
                wrapped.execute(f'DROP VIEW "{name}"')
            # Again under the lock: another process may have been faster.
            for number in range(self._version(), len(MIGRATIONS)):
                MIGRATIONS[number](wrapped)
                self.execute(f"PRAGMA user_version = {number + 1}")
            self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self.execute("DELETE FROM transitions")
            self._connection.executemany(
                "INSERT INTO transitions VALUES (?, ?, ?)", sorted(_wanted_transitions())
            )
            for name, sql in VIEWS.items():
                wrapped.create_view(name, sql)

    def _follows_the_code(self) -> bool:
        """Whether the states that may follow one another, and the views, are those of the code."""
        transitions = {tuple(row) for row in self.query("SELECT * FROM transitions")}
        views = self.query("SELECT name, sql FROM sqlite_schema WHERE type = 'view'")
        selects = {row["name"]: row["sql"].partition(" AS ")[2] for row in views}
        return transitions == _wanted_transitions() and selects.items() >= VIEWS.items()

    @property
    def total_changes(self) -> int:
        """How many rows this connection has written."""
        return self._connection.total_changes

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def on_rollback(self, forget: Callable[[], None]) -> None:
        """Call this whenever a transaction is undone: what was read inside never was."""
        self._on_rollback.append(forget)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Everything inside is written together or not at all.

        Nests: an error undoes the innermost one that it leaves, and the outermost commits.

        Args:
            durable: on disk before it returns. Without, a power cut (not a kill) may lose the
                latest such transactions, whole. The outermost one's word counts.
        """
        if self._depth:
            name = f"nested_{self._depth}"
            begin, commit = f"SAVEPOINT {name}", f"RELEASE {name}"
            undo: tuple[str, ...] = (f"ROLLBACK TO {name}", commit)
        else:
            self._sync("FULL" if durable else "NORMAL")
            begin, commit, undo = "BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",)
        self._run(begin)
        self._depth += 1
        try:
            yield
            self._run(commit)
        except BaseException:
            # A full disk makes SQLite roll everything back by itself.
            if self._connection.in_transaction:
                for statement in undo:
                    self._connection.execute(statement)
            for forget in self._on_rollback:
                forget()
            raise
        finally:
            self._depth -= 1

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Every query inside sees the file as it is at one moment. Nothing may be written."""
        if self._depth:
            yield
            return
        self._run("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def execute(self, sql: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> int:
        """Run a statement that writes; returns how many rows it touched."""
        if not self._depth:
            with self.transaction():
                return self._run(sql, values).rowcount
        return self._run(sql, values).rowcount

    def insert(self, table: str, values: Mapping[str, Any]) -> int:
        """Insert a row; returns its id."""
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - values are bound
        if not self._depth:
            with self.transaction():
                row_id = self._run(sql, values).lastrowid
        else:
            row_id = self._run(sql, values).lastrowid
        assert row_id is not None
        return row_id

    def query(
        self, sql: str, values: Mapping[str, Any] | tuple[Any, ...] = ()
    ) -> list[sqlite3.Row]:
        """All rows of a SELECT."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except _FAILURES as error:
            raise _translation(self.path, error) from error

    def one(self, sql: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> sqlite3.Row | None:
        """The first row of a SELECT, or None."""
        rows = self.query(sql, values)
        return rows[0] if rows else None

    def _run(self, sql: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except _FAILURES as error:
            raise _translation(self.path, error) from error

    def _sync(self, how: str) -> None:
        """Have commits from now on be on disk when they return (FULL), or not yet (NORMAL)."""
        if how != self._synchronous:
            self._run(f"PRAGMA synchronous = {how}")
            self._synchronous = how

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            raise _translation(self.path, error) from error


@cache
def _wanted_transitions() -> frozenset[tuple[str, str, str]]:
    tables: tuple[tuple[str, Mapping[Any, frozenset[Enum]]], ...] = (
        ("job", TRANSITIONS),
        ("intent", INTENT_TRANSITIONS),
    )
    return frozenset(
        (what, before.value, after.value)
        for what, table in tables
        for before, followers in table.items()
        for after in followers
    )


# OverflowError: a number of more than 64 bits. UnicodeEncodeError: half of a surrogate pair.
_FAILURES = (sqlite3.Error, OverflowError, UnicodeEncodeError)


def _translation(path: Path, error: Exception) -> QueueError:
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError):
        if "transition" in str(error):
            return ForbiddenTransitionError(str(error))
        return RefusedRowError(f"{path}: the queue refused the row: {error}")
    if isinstance(error, sqlite3.Error):
        return _typed(path, error)
    return RefusedRowError(f"{path}: the queue cannot hold that: {error}")


def _typed(path: Path, error: sqlite3.Error) -> QueueError:
    # The low byte of an extended result code is the primary one (sqlite3.h).
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return QueueLockedError(
            f"{path} is locked by another process; nothing was written: try again"
        )
    if code == sqlite3.SQLITE_FULL:
        return QueueFullError(
            f"no space left for {path}; nothing was written: free some and try again"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return QueueCorruptError(f"{path} is damaged or not a database ({error}): restore a backup")
    if code == sqlite3.SQLITE_READONLY:
        return QueueError(f"{path} may not be written by this user ({error})")
    if code == sqlite3.SQLITE_CANTOPEN:
        return QueueError(f"{path} cannot be opened by this user ({error})")
    return QueueError(f"{path}: {error}")
