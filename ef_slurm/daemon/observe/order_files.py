"""Where the daemon leaves its orders: a directory that nobody else can write."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ef_slurm.contract import ContractError, Order, StateDir, order_file, replace_file
from ef_slurm.contract.files import dump
from ef_slurm.model import QueueJob

DIRECTORY_MODE = 0o711
"""Everybody may open what they know the name of; nobody may list what there is."""

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class OrderFiles:
    """The orders of all jobs, each in a directory of its own below `root`.

    Nothing is written unless the root belongs to this process's user and nobody else may write it,
    so that no link in it can lead elsewhere.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def make_root(self) -> None:
        """Make the root if it is missing.

        Raises:
            OSError: it cannot be made, or is not this user's alone.
        """
        with suppress(FileExistsError):
            self._root.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._root.mkdir(mode=0o700)
        with self._opened() as root:
            # Whatever the umask is, and also where a daemon was killed right after it was made.
            if not os.fstat(root).st_mode & stat.S_IXOTH:
                os.fchmod(root, DIRECTORY_MODE)

    def verify(self) -> None:
        """Look whether orders may be left there.

        Raises:
            OSError: the root is missing, or not this user's alone.
        """
        with self._opened():
            pass

    def read(self, job: QueueJob) -> Order | None:
        """The order in force, or None where none was ever given.

        Raises:
            OSError: it cannot be read.
        """
        path = self._path(job)
        try:
            return StateDir(path.parent, path).read_order()
        except ContractError as error:
            raise OSError(str(error)) from None

    def write(self, job: QueueJob, order: Order) -> None:
        """Replace the order, durably.

        Raises:
            OSError: it cannot be written; the one before is in force.
        """
        path = self._path(job)
        with self._opened() as root:
            name = path.parent.name
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=root)
                os.fsync(root)
            directory = os.open(name, _OPEN, dir_fd=root)
            try:
                # Not only when it was made: a daemon may be killed right after.
                if stat.S_IMODE(os.fstat(directory).st_mode) != DIRECTORY_MODE:
                    os.fchmod(directory, DIRECTORY_MODE)
                replace_file(directory, path.name, dump(order))
            finally:
                os.close(directory)

    def forget(self, job: QueueJob) -> None:
        """Remove what lies there of a job that has ended; what cannot be removed stays."""
        path = self._path(job)
        with suppress(OSError), self._opened() as root:
            directory = os.open(path.parent.name, _OPEN, dir_fd=root)
            try:
                with os.scandir(directory) as entries:
                    for name in [entry.name for entry in entries]:
                        os.unlink(name, dir_fd=directory)
            finally:
                os.close(directory)
            os.rmdir(path.parent.name, dir_fd=root)

    def _path(self, job: QueueJob) -> Path:
        return order_file(self._root, job.request.uid, job.request.state_dir)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self._root, _OPEN)
        try:
            found = os.fstat(descriptor)
            if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise PermissionError(
                    f"{self._root} belongs to uid {found.st_uid} with mode "
                    f"{stat.S_IMODE(found.st_mode):o}: orders are left only where uid "
                    f"{os.geteuid()} alone may write (mode {DIRECTORY_MODE:o})"
                )
            yield descriptor
        finally:
            os.close(descriptor)
