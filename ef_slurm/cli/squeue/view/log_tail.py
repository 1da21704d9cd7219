"""The end of a job's log: of a regular file, of bounded size, without power over a terminal."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ef_slurm.formats.printing import printable

MOST_BYTES = 64 * 1024
"""Of the end of the file."""
MOST_LINES = 500
_TAB = 8


class LogError(Exception):
    """It cannot be read; the message says why."""


def read_tail(path: Path) -> list[str]:
    """The last lines of a file, each harmless.

    Opened with the rights of whoever looks, and never waited for: a pipe or a device is refused,
    and not opened, since a job may name any path (/dev/watchdog, to root). Of a line that was
    written over with carriage returns (a progress bar) the last state is kept.

    Raises:
        LogError: it is not there, may not be read, or is no regular file.
    """
    try:
        begin, data = _end_of(path)
    except OSError as error:
        raise LogError(f"{path}: {error.strerror}") from None
    lines = data.decode("utf-8", "replace").split("\n")
    if begin:
        del lines[0]  # it began before
    if lines and not lines[-1]:
        del lines[-1]
    return [_harmless(line) for line in lines[-MOST_LINES:]]


def _end_of(path: Path) -> tuple[int, bytes]:
    """Where the end of the file begins, and its bytes."""
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise LogError(f"{path}: no regular file")
        # Opened only here: it is what was looked at, whatever the path leads to by now.
        handle = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)
    try:
        begin = max(0, os.fstat(handle).st_size - MOST_BYTES)
        return begin, os.pread(handle, MOST_BYTES, begin)
    finally:
        os.close(handle)


def _harmless(line: str) -> str:
    shown = line.rstrip("\r").rpartition("\r")[2]
    return printable(shown.expandtabs(_TAB))
