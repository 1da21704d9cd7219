"""How a command reaches the queue: through the daemon's socket, or the SQLite file itself.

One person's own daemon on the same host needs nobody's permission: its owner's commands write the
queue file, and a submission is safe there even while the daemon is down. A site's daemon is asked
through its UNIX socket, or over TCP with a MUNGE credential in every request.
"""

from __future__ import annotations

import os
import pwd
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from ef_slurm.daemon import queries, wire
from ef_slurm.daemon.messages import (
    LONGEST_WAIT,
    Await,
    Cancel,
    Cancelled,
    Explain,
    Failure,
    FailureCode,
    JobStatus,
    ListJobs,
    NotCancelled,
    Ping,
    Register,
    Registered,
    Request,
    Response,
    Until,
    Withdraw,
    Withdrawn,
)
from ef_slurm.daemon.munge import Munge, MungeError
from ef_slurm.daemon.wire import Envelope, Transport, WireError
from ef_slurm.model import FINAL, JobState
from ef_slurm.queue.errors import DuplicateJobError
from ef_slurm.queue.filesystem import refuse_network_filesystem
from ef_slurm.queue.store import Queue

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 15.0
"""How long an answer may take beyond what was asked to wait for."""
POLL_SECONDS = 0.05

R = TypeVar("R")


class UnreachableError(Exception):
    """Nobody answers there."""


class FailureError(Exception):
    """The daemon answered with a `Failure`."""

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
        patience = request.seconds if isinstance(request, Await) else 0.0
        try:
            stream = self._connected()
            stream.settimeout(ANSWER_SECONDS + patience)
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


class QueueClient:
    """The owner's own queue file, and his daemon's socket for what the file cannot answer.

    Args:
        path: of the SQLite file.
        daemon: asked where only the daemon knows (a verdict without a submission).
        cancelled: whether Slurm says that a job was cancelled or is gone.
    """

    def __init__(self, path: Path, daemon: Client, cancelled: Callable[[int], bool]) -> None:
        self._path = path
        self._daemon = daemon
        self._cancelled = cancelled
        self._open: Queue | None = None

    def close(self) -> None:
        """Close the file and the daemon's connection."""
        self._daemon.close()
        if self._open is not None:
            self._open.close()
            self._open = None

    def ask(self, request: Request) -> Response:
        """The answer out of the file. Raises QueueError beside what `Client.ask` does."""
        try:
            return self._answer(request)
        except queries.UnknownJobError as error:
            raise FailureError(Failure(FailureCode.UNKNOWN_JOB, str(error))) from None

    def _answer(self, request: Request) -> Response:
        match request:
            case Register():
                return self._register(request)
            case Await():
                return self._await(request)
            case ListJobs():
                return queries.list_jobs(self._queue(), request, time.time())
            case Explain(job_id):
                return queries.story(self._queue(), job_id)
            case Cancel(job_ids):
                return self._cancel(job_ids)
            case Withdraw(job_id):
                if queries.find(self._queue(), job_id).state is JobState.NEW:
                    self._move_to_cancelled(job_id, "submission given up by its owner")
                return Withdrawn(job_id)
            case Ping():
                # Asked first: better to learn now than after sbatch that the queue cannot be here.
                refuse_network_filesystem(self._path)
                return self._daemon.ask(request)
            case _:
                return self._daemon.ask(request)

    def _queue(self, *, create: bool = False) -> Queue:
        if self._open is None:
            self._open = Queue.open(self._path, create=create)
        return self._open

    def _register(self, request: Register) -> Registered:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._queue(create=True).jobs.add(request.job, actor=request.job.owner)
        except DuplicateJobError:
            return Registered(request.job.slurm_job_id, created=False)
        return Registered(request.job.slurm_job_id, created=True)

    def _await(self, request: Await) -> JobStatus:
        queue = self._queue()
        end = time.monotonic() + request.seconds
        while True:
            version = queue.data_version()
            status = queries.status(queue, request.job_id)
            if reached(status, request.until) or time.monotonic() >= end:
                return status
            while queue.data_version() == version and time.monotonic() < end:
                time.sleep(POLL_SECONDS)

    def _cancel(self, job_ids: tuple[int, ...]) -> Cancelled:
        done, refused = [], []
        for job_id in job_ids:
            job = queries.find(self._queue(), job_id)
            if job.state in FINAL:
                done.append(job_id)
            elif self._cancelled(job_id):
                self._move_to_cancelled(job_id, "cancelled by its owner")
                done.append(job_id)
            else:
                refused.append(NotCancelled(job_id, "Slurm has not cancelled it"))
        return Cancelled(tuple(done), tuple(refused))

    def _move_to_cancelled(self, job_id: int, why: str) -> None:
        queue = self._queue()
        user = pwd.getpwuid(os.getuid()).pw_name
        job = queries.find(queue, job_id)
        queue.jobs.move(job.id, JobState.CANCELLED, at=time.time(), actor=user, why=why)


def reached(status: JobStatus, until: Until) -> bool:
    """Whether a job has what an `Await` waits for."""
    if status.job.state in FINAL:
        return True
    return until is Until.VERDICT and status.job.verdict is not None


def await_status(client: Client, job_id: int, until: Until, seconds: float) -> JobStatus:
    """`Await` over any length of time: the job as soon as it is there, or as it is at the end."""
    end = time.monotonic() + seconds
    while True:
        left = max(0.0, end - time.monotonic())
        status = expect(JobStatus, client.ask(Await(job_id, until, min(left, LONGEST_WAIT))))
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
