"""A directory in which nobody but this process's user can put anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DIRECTORY_MODE = 0o711
"""Everybody may open what they know the name of; nobody may list what there is."""

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(root: Path) -> Iterator[int]:
    """The directory as a descriptor, once it is known to be this user's alone.

    Raises:
        OSError: it is missing, or somebody else may write it: a link in it could lead elsewhere.
    """
    descriptor = os.open(root, _OPEN)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(
                f"{root} belongs to uid {found.st_uid} with mode "
                f"{stat.S_IMODE(found.st_mode):o}: orders are left only where uid "
                f"{os.geteuid()} alone may write (mode {DIRECTORY_MODE:o})"
            )
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def below(directory: int, name: str, *, mode: int | None = None) -> Iterator[int]:
    """A directory in one that is this user's alone.

    Args:
        mode: make it with this mode where it is missing; None: it has to be there.

    Raises:
        OSError: it is missing, cannot be made, or is no directory.
    """
    if mode is not None:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=directory)
            os.fsync(directory)
    descriptor = os.open(name, _OPEN, dir_fd=directory)
    try:
        # Not only when it was made: a daemon may be killed right after.
        if mode is not None and stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.fchmod(descriptor, mode)
        yield descriptor
    finally:
        os.close(descriptor)
