"""What can go wrong with the queue, as types with sentences that a person can act on."""

from __future__ import annotations

from pathlib import Path


class QueueError(Exception):
    """The queue cannot do what it was asked."""


class QueueMissingError(QueueError):
    """There is no queue at this path."""


class QueueOnNetworkFilesystemError(QueueError):
    """The path is on a file system that SQLite's locks do not protect.

    Args:
        path: where the queue was to be.
        filesystem: the type of its file system ("nfs4", "lustre", …).
    """

    def __init__(self, path: Path, filesystem: str) -> None:
        super().__init__(
            f"{path} is on a network file system ({filesystem}): SQLite in WAL mode loses data "
            "there as soon as two hosts write. Put the queue on a local disk of the daemon's host"
        )
        self.path = path
        self.filesystem = filesystem


class QueueLockedError(QueueError):
    """Somebody else kept the queue locked for longer than we were ready to wait."""


class QueueFullError(QueueError):
    """No space left to write. Nothing of the transaction was written."""


class QueueCorruptError(QueueError):
    """The file is damaged or no queue of ours."""


class QueueIsBackupError(QueueError):
    """The file is a copy that `ef-schedd backup` made, in a queue's place."""


class QueueTooNewError(QueueError):
    """A newer ef-slurm has migrated the queue further than this one knows."""


class DaemonRunningError(QueueError):
    """Another daemon owns the queue."""


class TakenOverError(QueueError):
    """A daemon of another host, or of another queue, acts now: this one must not any more."""


class RowError(QueueError):
    """One row cannot be had, or not be written so. The queue itself is well."""


class UnreadableRowError(RowError):
    """A row holds what nobody can have meant; it is set aside, and told by its id."""


class RefusedRowError(RowError):
    """The database does not take these values for a row."""


class NoSuchRowError(RowError):
    """No job, plan or intent of that id."""


class DuplicateJobError(RowError):
    """The Slurm job is already in the queue."""


class LimitError(QueueError):
    """A user or an account has as much in the queue as the site allows."""


class ForbiddenTransitionError(RowError):
    """A state may not follow another."""


class ConflictError(RowError):
    """The row changed since it was read. Read it again."""
