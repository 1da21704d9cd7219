"""What can go wrong between us and Slurm, as types. Each carries Slurm's own words."""

from __future__ import annotations

from collections.abc import Sequence


class SlurmError(Exception):
    """Slurm did not do what it was asked.

    Args:
        message: Slurm's own message, or ours where Slurm said nothing.
        command: the command that was run, for logs; empty when none was.
        returncode: its exit code, or None when it did not end by itself.
    """

    def __init__(
        self, message: str, *, command: Sequence[str] = (), returncode: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.command = tuple(command)
        self.returncode = returncode


class SlurmUnavailableError(SlurmError):
    """slurmctld, munge or the command itself cannot be reached: wait, and change nothing."""


class SlurmTimeoutError(SlurmUnavailableError):
    """No answer in time. Whether the action happened is unknown: observe before acting again."""


class NoSuchJobError(SlurmError):
    """slurmctld does not know the job: never submitted, or purged after MinJobAge."""


class NotPermittedError(SlurmError):
    """Slurm does not let this user do that to this job."""


class RefusedError(SlurmError):
    """Slurm understood and said no: limits, wrong state, wrong partition, wrong value."""


class HeldFirstError(RefusedError):
    """Somebody else holds the job, and did so before us. That hold was left as it is."""


class UpdateIncompleteError(RefusedError):
    """An update was applied in part. The job must not be released.

    Updates are not atomic: one bad field gives an error while the others are applied.

    Args:
        differences: a sentence for every field that does not hold what was asked for.
    """

    def __init__(
        self,
        message: str,
        *,
        differences: Sequence[str],
        command: Sequence[str] = (),
        returncode: int | None = None,
    ) -> None:
        super().__init__(message, command=command, returncode=returncode)
        self.differences = tuple(differences)


class UnexpectedOutputError(SlurmError):
    """Slurm answered in a form that this code does not know."""
