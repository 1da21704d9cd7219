"""Where the daemon leaves its orders: a directory that nobody else can write."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from ef_slurm.contract import ContractError, Order, StateDir, order_file, replace_file
from ef_slurm.contract.files import dump
from ef_slurm.daemon.observe.own_directory import DIRECTORY_MODE, below, opened
from ef_slurm.model import QueueJob


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
        with opened(self._root) as root:
            # Whatever the umask is, and also where a daemon was killed right after it was made.
            if not os.fstat(root).st_mode & stat.S_IXOTH:
                os.fchmod(root, DIRECTORY_MODE)

    def verify(self) -> None:
        """Look whether orders may be left there.

        Raises:
            OSError: the root is missing, or not this user's alone.
        """
        with opened(self._root):
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
        with (
            opened(self._root) as root,
            below(root, path.parent.name, mode=DIRECTORY_MODE) as directory,
        ):
            replace_file(directory, path.name, dump(order))

    def forget(self, job: QueueJob) -> None:
        """Remove what lies there of a job that has ended; what cannot be removed stays."""
        path = self._path(job)
        with suppress(OSError), opened(self._root) as root:
            with below(root, path.parent.name) as directory, os.scandir(directory) as entries:
                for name in [entry.name for entry in entries]:
                    os.unlink(name, dir_fd=directory)
            os.rmdir(path.parent.name, dir_fd=root)

    def _path(self, job: QueueJob) -> Path:
        return order_file(self._root, job.request.uid, job.request.state_dir)
