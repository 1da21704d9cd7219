"""How a command reaches the queue: through the daemon's socket, or the SQLite file itself.

One person's own daemon on the same host needs nobody's permission: its owner's commands write the
queue file, and a submission is safe there even while the daemon is down. A site's daemon is asked
through its UNIX socket, or over TCP with a MUNGE credential in every request (`http_client`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from ef_slurm.api.messages import (
    MAX_WAIT_SECONDS,
    Await,
    Failure,
    Request,
    Response,
    Until,
)
from ef_slurm.model import FINAL, JobDetail

R = TypeVar("R")


class UnreachableError(Exception):
    """Nobody answers there."""


class FailureError(Exception):
    """The daemon answered with a `Failure`; `code` is its kind."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.code = failure.code


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A daemon on this host.

    Args:
        users: uids that may listen there, beside root and whoever asks.
    """

    path: Path
    users: frozenset[int] = frozenset()

    @property
    def text(self) -> str:
        """How to name it to a person."""
        return str(self.path)


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A daemon on another host.

    Args:
        users: uids whose signature is the daemon's (root is always believed).
    """

    host: str
    port: int
    users: frozenset[int] = frozenset()

    @property
    def text(self) -> str:
        """How to name it to a person."""
        return f"{self.host}:{self.port}"


Endpoint = UnixEndpoint | TcpEndpoint


class Client(Protocol):
    """Something that answers requests."""

    def ask(self, request: Request) -> Response:
        """The answer, never a `Failure`.

        Raises:
            UnreachableError: nobody answers.
            FailureError: the daemon says no.
        """
        ...

    def close(self) -> None:
        """Let go of the connection or file."""
        ...


def reached(status: JobDetail, until: Until) -> bool:
    """Whether a job has what an `Await` waits for."""
    if status.job.state in FINAL:
        return True
    if until is Until.MEASURING and (status.job.measuring is not None or status.job.set_apart):
        return True
    return until is not Until.END and status.job.verdict is not None


def await_status(client: Client, job_id: int, until: Until, seconds: float) -> JobDetail:
    """`Await` over any length of time: the job as soon as it is there, or as it is at the end."""
    end = time.monotonic() + seconds
    while True:
        left = max(0.0, end - time.monotonic())
        status = expect(JobDetail, client.ask(Await(job_id, until, min(left, MAX_WAIT_SECONDS))))
        if reached(status, until) or time.monotonic() >= end:
            return status


def expect(kind: type[R], response: Response) -> R:
    """The response, which must be of one type."""
    if not isinstance(response, kind):
        raise UnreachableError(f"the daemon answered with a {type(response).__name__}")
    return response
