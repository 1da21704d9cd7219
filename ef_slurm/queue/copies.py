"""Copies of the queue: backups while the daemon writes, and queues made of them."""

from __future__ import annotations

import glob
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from ef_slurm.queue.errors import QueueError
from ef_slurm.queue.migrations import APPLICATION_ID, BACKUP_ID

_SIDES = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps of one database."""

_UNFINISHED = ".unfinished"
_LEFT_SECONDS = 86400.0
"""Age at which what a backup began is not another one's that goes on."""


def back_up(queue: Path, target: Path) -> int:
    """Copy a queue, as it is at one moment, while others write it.

    Args:
        queue: of this version, or an older one.
        target: is replaced when the copy is whole, if it is a backup or not there.

    Returns:
        Its size in bytes.

    Raises:
        QueueError: it cannot be read or written, or the target is something else.
    """
    _refuse_odd(queue, target)
    if not queue.exists():
        raise QueueError(f"there is no queue at {queue}: nothing to back up")
    begins = f".{target.name}."
    try:
        _remove_left(target.parent, begins)
        # A directory of our own: where others may write, they could lay a journal beside the copy,
        # which SQLite would take for its own.
        with TemporaryDirectory(
            prefix=begins, suffix=_UNFINISHED, dir=target.parent, ignore_cleanup_errors=True
        ) as own:
            copy = Path(own) / "copy.sqlite"
            _copy(queue, copy, BACKUP_ID, changes=True)
            size = copy.stat().st_size
            copy.replace(target)
            _sync(target.parent)
    except (sqlite3.Error, OSError) as error:
        raise QueueError(f"{target}: cannot be written: {_why(error)}") from None
    return size


def _remove_left(directory: Path, begins: str) -> None:
    """Remove what backups to the same target left that were killed long ago."""
    for path in directory.glob(f"{glob.escape(begins)}*{_UNFINISHED}"):
        with suppress(OSError):
            found = path.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if ours and time.time() - found.st_mtime > _LEFT_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _refuse_odd(queue: Path, target: Path) -> None:
    """Raise for a target that is none that a backup may replace."""
    own = target.name.startswith(queue.name) and target.parent.resolve() == queue.parent.resolve()
    try:
        found = target.lstat()
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise QueueError(f"{target}: there is no directory {target.parent}") from None
        found = None
    except OSError as error:
        raise QueueError(f"{target}: {error.strerror}") from None
    with suppress(FileNotFoundError):
        if found is not None and os.path.samestat(target.stat(), queue.stat()):
            raise QueueError(f"{target} is the queue itself: name another file")
    if own:  # an empty log of SQLite's is in use, too
        raise QueueError(f"{target}: give it another name than the queue's own files")
    if found is None:
        return
    if not stat.S_ISREG(found.st_mode):
        raise QueueError(f"{target} is no file: name one that may be replaced")
    if found.st_size and not is_backup(target):
        raise QueueError(f"{target} is there and no backup of a queue: name another file")


def is_backup(path: Path) -> bool:
    """Whether a file is a backup of a queue."""
    with suppress(OSError), path.open("rb") as file:
        header = file.read(72)
        return header.startswith(b"SQLite format 3\0") and header[68:72] == BACKUP_ID.to_bytes(4)
    return False


def _refuse_others(backup: Path) -> None:
    """Raise for a backup that somebody else could have written: it would promise what they like.

    Raises:
        QueueError: it, or its directory, belongs to somebody else, or others may write there.
    """
    trusted = {0, os.geteuid()}
    for path in (backup.resolve(), backup.resolve().parent):
        found = path.stat()
        if found.st_uid not in trusted:
            raise QueueError(
                f"{path} belongs to uid {found.st_uid}: a queue is made only of a backup that root "
                f"or uid {os.geteuid()} has written; chown it, if it is what you mean"
            )
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
            raise QueueError(
                f"{path} can be written by others, who could have put another queue there: "
                f"chmod go-w '{path}', if it is what you mean"
            )


def _copy(source: Path, target: Path, application_id: int, *, changes: bool) -> None:
    """One consistent copy, on disk when this returns; `target` is one file.

    Args:
        changes: whether others write the source. What does not change is one file, too: where
            others may lay a log beside it (`/tmp`), they would write it.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
    reading = f"{source.absolute().as_uri()}?mode=ro{'' if changes else '&immutable=1'}"
    # Nobody else knows the copy, and it may lie where SQLite's locks do not work.
    writing = f"{target.absolute().as_uri()}?mode=rw&vfs=unix-none"
    with closing(sqlite3.connect(reading, uri=True, timeout=30.0)) as there:
        owner = there.execute("PRAGMA application_id").fetchone()[0]
        if owner not in (APPLICATION_ID, BACKUP_ID):
            raise QueueError(f"{source} is not a queue of ef-slurm")
        with closing(sqlite3.connect(writing, uri=True)) as here:
            here.execute("PRAGMA locking_mode = EXCLUSIVE")
            there.backup(here)
            here.execute("PRAGMA journal_mode = DELETE")
            here.execute(f"PRAGMA application_id = {application_id}")
            here.commit()
            found = here.execute("PRAGMA quick_check").fetchone()[0]
            if found != "ok":
                raise QueueError(f"{source} is damaged: {found}")
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_queue(path: Path, *, backup: Path | None = None) -> Iterator[Path]:
    """A file beside a queue's place, in which one is made; `install` puts it there.

    Nothing of it is left when this is over, or was left by somebody who was killed in it.

    Args:
        path: the queue's place.
        backup: what it begins with; None: empty.

    Raises:
        QueueError: it cannot be made, or the backup is none.
    """
    place = path.with_name(f"{path.name}.rebuild")
    _remove(place)
    try:
        if backup is not None:
            if not is_backup(backup):
                raise QueueError(f"{backup} is no backup of a queue (ef-schedd backup makes one)")
            _refuse_others(backup)
            try:
                _copy(backup, place, APPLICATION_ID, changes=False)
            except (sqlite3.Error, OSError) as error:
                raise QueueError(f"{backup}: cannot be copied: {_why(error)}") from None
        yield place
    finally:
        _remove(place)


def install(place: Path, path: Path, *, aside: str) -> Path | None:
    """Put a queue that was made, and is closed, into its place.

    Args:
        place: where it was made; `path` where it goes.
        aside: what is appended to the names of the files that are there.

    Returns:
        Where the queue is now that was there; None where there was none.

    Raises:
        QueueError: it cannot be put there.
    """
    if place.with_name(f"{place.name}-wal").exists():
        raise QueueError(f"{place} is still open elsewhere")
    kept = None
    try:
        # What SQLite left beside a file that is gone must not be taken for the new one's. The file
        # goes first: beside an empty one SQLite removes such a log by itself.
        for side in _SIDES:
            there = path.with_name(path.name + side)
            if there.exists() or there.is_symlink():
                there.rename(path.with_name(f"{path.name}{aside}{side}"))
                kept = path.with_name(f"{path.name}{aside}") if not side else kept
        place.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise QueueError(f"{path}: cannot be put there: {error.strerror}") from None
    return kept


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    for side in _SIDES:
        with suppress(OSError):
            path.with_name(path.name + side).unlink(missing_ok=True)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
