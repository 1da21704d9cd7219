"""The records of jobs beside the queue: files that only the daemon writes, or reads.

They lie below the directory of orders, on the file system that outlives the daemon's host:
`records/active/ID.json` and `records/ended/ID.json`, by the queue's own ids. Scripts in them may
hold secrets, so that nobody else reads them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Protocol

from ef_slurm.daemon.observe.own_directory import below, opened
from ef_slurm.daemon.observe.workers import Task, Workers
from ef_slurm.formats.codec import DecodeError, decode, encode
from ef_slurm.model import FINAL, RECORD_VERSION, JobRecord
from ef_slurm.slurm.errors import SlurmUnavailableError

TOP = "records"
ACTIVE_NAME, ENDED_NAME = "active", "ended"
BATCH = 256
"""Records that are written at a time: what is done of more is known before all are."""
SYNCING = 16
"""Files that are synced at the same time: a file system brings several to disk together."""
MOST_BYTES = 64 << 20
"""Of one record; Slurm takes no script of more than some megabytes."""
READ_SECONDS = 60.0
"""How long all of them may take to be read."""
SECONDS = 5.0
"""How long a batch may take."""

_MODE = 0o700
_ID = re.compile(r"[0-9]{1,18}")
_SUFFIX = ".json"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class FoundRecords:
    """What lies there.

    Args:
        records: by the queue's id; of two of one job the later.
        refused: why a file is none, by its name.
        latest: the largest id of which anything lies there, read or not; 0 for none.
    """

    records: Mapping[int, JobRecord]
    refused: Mapping[str, str]
    latest: int = 0


class Records(Protocol):
    """Where records are kept."""

    @property
    def path(self) -> Path:
        """The directory."""
        ...

    def write(self, records: Sequence[JobRecord]) -> Mapping[int, str]:
        """Replace records, durably; returns why not, by the queue's id, for those that were not."""
        ...

    def forget(self, job_ids: Iterable[int]) -> None:
        """Remove the records of jobs that the queue has forgotten. Never raises."""
        ...

    def read(self, *, ended: bool = True) -> FoundRecords:
        """All that lie there, or only those of jobs that had not ended.

        Raises:
            OSError: they cannot be read at all.
        """
        ...


class RecordFiles:
    """The real ones.

    Args:
        root: of orders (`jobs.order_root`).
        check: raises where this daemon may not write any more.
    """

    def __init__(self, root: Path, *, check: Callable[[], None] | None = None) -> None:
        self._root = root
        self._check = check
        self._workers: Workers[Mapping[int, str]] = Workers(patience=SECONDS, penance=0)
        self._readers: Workers[FoundRecords] = Workers(patience=READ_SECONDS, penance=0)

    @property
    def path(self) -> Path:
        """Where they lie."""
        return self._root / TOP

    def write(self, records: Sequence[JobRecord]) -> Mapping[int, str]:
        """Replace records, durably, some at a time.

        Raises:
            TakenOverError: another daemon keeps them now.
        """
        refused: dict[int, str] = {}
        if records and self._check is not None:
            try:
                self._check()
            except SlurmUnavailableError as error:
                return {one.job.id: error.message for one in records}
        for first in range(0, len(records), BATCH):
            batch = records[first : first + BATCH]
            try:
                write = partial(self._write, batch)
                refused |= self._workers.call(Task("records", os.geteuid(), write))
            except OSError as error:
                # What does not answer now does not answer for those that are left either.
                why = _why(error)
                return refused | {one.job.id: why for one in records[first:]}
        return refused

    def forget(self, job_ids: Iterable[int]) -> None:
        """Remove them."""
        names = [f"{job_id}{_SUFFIX}" for job_id in job_ids]

        def remove() -> Mapping[int, str]:
            for which in (ACTIVE_NAME, ENDED_NAME):
                with suppress(OSError), self._opened(which) as directory:
                    for name in names:
                        with suppress(FileNotFoundError):
                            os.unlink(name, dir_fd=directory)
            return {}

        with suppress(OSError):
            if names:
                self._workers.call(Task("records", os.geteuid(), remove))

    def read(self, *, ended: bool = True) -> FoundRecords:
        """All that lie there: any bytes are a record or a refusal."""
        work = partial(self._read_all, ended=ended)
        return self._readers.call(Task("read", os.geteuid(), work))

    def _read_all(self, *, ended: bool) -> FoundRecords:
        records: dict[int, JobRecord] = {}
        refused: dict[str, str] = {}
        for which in (ENDED_NAME, ACTIVE_NAME) if ended else (ACTIVE_NAME,):
            try:
                for name, found in self._read(which):
                    if isinstance(found, str):
                        refused[f"{which}/{name}"] = found
                        continue
                    other = records.get(found.job.id)
                    if other is None or other.written_at <= found.written_at:
                        records[found.job.id] = found
            except FileNotFoundError:
                continue  # none was ever written
        return FoundRecords(records, refused, self._latest())

    def _latest(self) -> int:
        latest = 0
        for which in (ACTIVE_NAME, ENDED_NAME):
            with suppress(FileNotFoundError), self._opened(which) as directory:
                with os.scandir(directory) as entries:
                    stems = [Path(entry.name).stem for entry in entries]
                latest = max([latest, *(int(one) for one in stems if _ID.fullmatch(one))])
        return latest

    @contextmanager
    def _opened(self, which: str, *, mode: int | None = None) -> Iterator[int]:
        with (
            opened(self._root) as root,
            below(root, TOP, mode=mode) as top,
            below(top, which, mode=mode) as directory,
        ):
            yield directory

    def _write(self, records: Sequence[JobRecord]) -> Mapping[int, str]:
        refused: dict[int, str] = {}
        with (
            self._opened(ACTIVE_NAME, mode=_MODE) as active,
            self._opened(ENDED_NAME, mode=_MODE) as ended,
            ThreadPoolExecutor(min(SYNCING, len(records) or 1)) as pool,
        ):
            staged: list[tuple[JobRecord, str]] = []

            def stage(record: JobRecord) -> str | OSError | TypeError:
                try:
                    return _stage(ended if _is_final(record) else active, record)
                except (OSError, TypeError) as error:
                    return error

            for record, temporary in zip(records, pool.map(stage, records), strict=True):
                if isinstance(temporary, str):
                    staged.append((record, temporary))
                else:
                    refused[record.job.id] = _why(temporary)
            _show(staged, active, ended)
        return refused

    def _read(self, which: str) -> Iterator[tuple[str, JobRecord | str]]:
        with self._opened(which) as directory:
            with os.scandir(directory) as entries:
                names = sorted(entry.name for entry in entries)
            for name in names:
                if name.startswith("."):
                    continue  # left by a daemon that was killed while it wrote
                try:
                    yield name, _record(directory, name)
                except (OSError, ValueError, DecodeError) as error:
                    yield name, _why(error)

    def sweep(self) -> None:
        """Remove what a daemon left that was killed while it wrote. Never raises."""
        for which in (ACTIVE_NAME, ENDED_NAME):
            with suppress(OSError), self._opened(which) as directory:
                with os.scandir(directory) as entries:
                    left = [entry.name for entry in entries if entry.name.startswith(".")]
                for name in left:
                    os.unlink(name, dir_fd=directory)


def _show(staged: Sequence[tuple[JobRecord, str]], active: int, ended: int) -> None:
    """Give the written files their names, and then take away what they replace."""
    for record, temporary in staged:
        where = ended if _is_final(record) else active
        os.rename(temporary, _name(record), src_dir_fd=where, dst_dir_fd=where)
    for directory, final in ((active, False), (ended, True)):
        if any(_is_final(record) is final for record, _ in staged):
            os.fsync(directory)
    for record, _ in staged:
        with suppress(FileNotFoundError):
            os.unlink(_name(record), dir_fd=active if _is_final(record) else ended)


def _stage(directory: int, record: JobRecord) -> str:
    """Write a record beside its name; returns what it is called there.

    Raises:
        OSError: it cannot be written, and nothing of it is left.
    """
    temporary = f".{record.job.id}.{token_hex(8)}"
    data = encode(record)
    descriptor = os.open(temporary, _NEW, 0o600, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    return temporary


def _record(directory: int, name: str) -> JobRecord:
    """The record in a file.

    Raises:
        OSError, ValueError: it is none.
    """
    descriptor = os.open(name, _READ, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ValueError("not a file of the daemon's user")
        if found.st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        data = file.read(MOST_BYTES + 1)
    record = decode(JobRecord, data)
    if not 1 <= record.version <= RECORD_VERSION:
        raise ValueError(f"version {record.version}: this ef-slurm knows {RECORD_VERSION}")
    if name != _name(record):
        raise ValueError(f"it holds job {record.job.id} of the queue")
    return record


def _name(record: JobRecord) -> str:
    return f"{record.job.id}{_SUFFIX}"


def _is_final(record: JobRecord) -> bool:
    return record.job.state in FINAL


def _why(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or str(error) or type(error).__name__
