"""What can go wrong, as exceptions that a program can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from ef_slurm.api.client import FailureError
from ef_slurm.api.messages import FailureCode
from ef_slurm.cli.common.entry import to_command_error
from ef_slurm.cli.common.errors import ExitCode

if TYPE_CHECKING:
    from ef_slurm.python.jobs import Job


class EfSlurmError(Exception):
    """What ef-slurm or Slurm did not do, in a sentence; the base of all others."""


class WrongOptionError(EfSlurmError, ValueError):
    """An option, a script or the site's configuration is wrong. Nothing was submitted."""


class NotPromisedError(EfSlurmError):
    """The deadline cannot be promised.

    A new job leaves nothing behind in Slurm; a job whose deadline was to change keeps the one, and
    the promise, that it has.

    Attributes:
        offer: the earliest deadline that can be promised now, in local time; None where there is
            none.
    """

    def __init__(self, message: str, offer: datetime | None = None) -> None:
        super().__init__(message)
        self.offer = offer

    def __reduce__(self) -> tuple[type[NotPromisedError], tuple[str, datetime | None]]:
        return type(self), (str(self), self.offer)


class NoAnswerError(EfSlurmError):
    """The daemon did not answer (in time).

    Attributes:
        job: what was submitted all the same, and waits in Slurm or trains; None for nothing.
    """

    def __init__(self, message: str, job: Job | None = None) -> None:
        super().__init__(message)
        self.job = job

    def __reduce__(self) -> tuple[type[NoAnswerError], tuple[str, Job | None]]:
        return type(self), (str(self), self.job)


class SlurmRefusedError(EfSlurmError):
    """Slurm refused, or a file could not be written; the message is theirs."""


class NotAllowedError(EfSlurmError):
    """The job belongs to somebody else, or the daemon does not trust who asks."""


class UnknownJobError(EfSlurmError, LookupError):
    """ef-slurm's queue has no such job, or not any more."""


_BY_CODE: dict[ExitCode, type[EfSlurmError]] = {
    ExitCode.USAGE: WrongOptionError,
    ExitCode.INFEASIBLE: NotPromisedError,
    ExitCode.NO_ANSWER: NoAnswerError,
    ExitCode.DENIED: NotAllowedError,
}


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the rooms below as exceptions of this one."""
    try:
        yield
    except EfSlurmError:
        raise
    except Exception as error:
        if isinstance(error, FailureError) and error.code is FailureCode.UNKNOWN_JOB:
            raise UnknownJobError(str(error)) from None
        told = to_command_error(error)
        if told is None:
            raise
        raise _BY_CODE.get(told.code, SlurmRefusedError)(str(told)) from error
