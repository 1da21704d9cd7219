"""State directories as their owner's own commands see them: what they hold, and their removal.

Nobody but the owner removes what lies there: the daemon neither writes nor deletes where a user can
write, and root purges root's own. Nothing is followed that is a link.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ef_slurm.api.messages import Register
from ef_slurm.formats.codec import DecodeError, decode
from ef_slurm.model import FINAL, JobView

REQUEST_NAME = "request.json"
"""The job's request, in its state directory."""
MOST_ENTRIES = 200_000
"""Files of one directory that are counted at most."""
LEFTOVER = ".purged."
"""Before the name of a directory that is being removed."""
SIGNS_OF_LIFE = ("progress.json", "launch.json", "generation", REQUEST_NAME)
"""Files whose newest time says when a job that the queue has forgotten last did something."""


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """One that may be removed.

    Args:
        job_id: of the job that it belongs to; None where that is not known.
        ended: when it ended, UTC epoch seconds.
        held: bytes on disk.
    """

    path: Path
    job_id: int | None
    ended: float
    held: int


def bytes_held(path: Path) -> int | None:
    """What a directory takes on disk, files with several names once; None if it cannot be read."""
    total, seen, left = 0, set[tuple[int, int]](), [path]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if len(seen) >= MOST_ENTRIES:
                        return total
                    key = (found.st_dev, found.st_ino)
                    if key not in seen:
                        seen.add(key)
                        total += found.st_blocks * 512
                    if stat.S_ISDIR(found.st_mode):
                        left.append(Path(entry.path))
        except FileNotFoundError:
            if not seen:
                return None
        except OSError:
            return None
    return total


def is_mine(path: Path) -> bool:
    """Whether it is a directory, no link, of this process's user."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def expired(
    jobs: Iterable[JobView], root: Path, before: float, wanted: Iterable[int] = ()
) -> Iterator[StateDirectory]:
    """The caller's directories whose jobs have ended before `before`.

    Args:
        jobs: all of the caller's that the queue knows.
        root: where directories are by default; also those of jobs that the queue has forgotten.
        wanted: job ids; of these however long ago, and of no others. None: all.
    """
    named, known = frozenset(wanted), set[Path]()
    for job in jobs:
        path = Path(job.state_dir)
        known.add(path)
        chosen = job.job_id in named if named else (job.ended or before) < before
        if job.state in FINAL and chosen and is_mine(path):
            yield StateDirectory(path, job.job_id, job.ended or before, bytes_held(path) or 0)
    for path in _mine_below(root) if not named else ():
        if path in known:
            continue
        ended, job_id = _last_sign(path), _job_of(path)
        leftover = path.name.startswith(LEFTOVER)
        if leftover or (ended is not None and job_id is not None and ended < before):
            yield StateDirectory(path, job_id, ended or 0.0, bytes_held(path) or 0)


def remove(path: Path) -> None:
    """Remove a directory of the caller's and all in it. Killed on the way, the rest goes next time.

    Raises:
        OSError: not all of it could be removed.
    """
    aside = path
    if not path.name.startswith(LEFTOVER):
        with suppress(OSError):  # it stands where it may not be renamed
            aside = path.rename(path.with_name(LEFTOVER + path.name))
    shutil.rmtree(aside)


def _mine_below(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return sorted(path for entry in entries if is_mine(path := Path(entry.path)))
    except OSError:
        return []


def _job_of(path: Path) -> int | None:
    """The job that ef-sbatch made the directory for."""
    file = path / REQUEST_NAME
    try:
        return decode(Register, file.read_bytes(), str(file)).job.slurm_job_id
    except (OSError, DecodeError):
        return None


def _last_sign(path: Path) -> float | None:
    times = []
    for name in SIGNS_OF_LIFE:
        with suppress(OSError):
            times.append((path / name).lstat().st_mtime)
    return max(times, default=None)
