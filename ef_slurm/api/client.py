"""How a command reaches the queue: through the daemon's socket, or the SQLite file itself.

One person's own daemon on the same host needs nobody's permission: its owner's commands write the
queue file, and a submission is safe there even while the daemon is down. A site's daemon is asked
through its UNIX socket, or over TCP with a MUNGE credential in every request.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar

from ef_slurm.api import wire
from ef_slurm.api.messages import (
    MAX_WAIT_SECONDS,
    Await,
    Failure,
    Request,
    Response,
    Until,
)
from ef_slurm.api.munge import Munge, MungeError
from ef_slurm.api.wire import Envelope, Transport, WireError
from ef_slurm.model import FINAL, JobDetail

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 15.0
"""How long an answer may take beyond what was asked to wait for."""

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
    """A daemon on this host."""

    path: Path

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


class SocketClient:
    """Asks a daemon over a socket; connects when first asked, and again when the connection broke.

    Args:
        cluster: Slurm's name of it, for the daemon to check; "" for not known.
    """

    def __init__(self, endpoint: Endpoint, munge: Munge, cluster: str = "") -> None:
        self._endpoint = endpoint
        self._munge = munge
        self._cluster = cluster
        self._stream: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A later request opens another one."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def ask(self, request: Request) -> Response:
        """The answer. Every request may be asked twice, so a broken connection is tried again."""
        fresh = self._stream is None
        try:
            return self._ask(request)
        except UnreachableError:
            if fresh:
                raise
            return self._ask(request)

    def _ask(self, request: Request) -> Response:
        transport = Transport.TCP if isinstance(self._endpoint, TcpEndpoint) else Transport.UNIX
        nonce = wire.new_nonce()
        wait_seconds = request.seconds if isinstance(request, Await) else 0.0
        try:
            stream = self._connected()
            stream.settimeout(ANSWER_SECONDS + wait_seconds)
            envelope = Envelope(nonce, time.time(), self._cluster, request)
            wire.write_request(stream, transport, envelope, self._munge)
            response, signer = wire.read_response(stream, transport, nonce, self._munge)
        except (OSError, wire.DisconnectedError) as error:
            self.close()
            raise UnreachableError(f"{self._endpoint.text}: {_words(error)}") from None
        except (MungeError, WireError) as error:
            self.close()
            raise UnreachableError(f"{self._endpoint.text}: {error}") from None
        if isinstance(self._endpoint, TcpEndpoint) and signer not in self._endpoint.users | {0}:
            self.close()
            raise UnreachableError(
                f"{self._endpoint.text}: the answer is signed by uid {signer}, not by ef-schedd"
            )
        if isinstance(response, Failure):
            raise FailureError(response)
        return response

    def _connected(self) -> socket.socket:
        if self._stream is None:
            if isinstance(self._endpoint, TcpEndpoint):
                address = (self._endpoint.host, self._endpoint.port)
                self._stream = socket.create_connection(address, CONNECT_SECONDS)
                self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            else:
                stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                stream.settimeout(CONNECT_SECONDS)
                try:
                    stream.connect(str(self._endpoint.path))
                except OSError:
                    stream.close()
                    raise
                self._stream = stream
        return self._stream


def reached(status: JobDetail, until: Until) -> bool:
    """Whether a job has what an `Await` waits for."""
    if status.job.state in FINAL:
        return True
    if until is Until.MEASURING and status.job.measuring is not None:
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


def _words(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{error.strerror} (if ef-schedd runs on another host, [daemon] host must name it)"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
