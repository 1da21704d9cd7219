"""A server over an empty queue, without a scheduler; and raw HTTP to hurt it with."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ef_slurm.api.problems import read_problem
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.limits import ServeLimits
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from ef_slurm.daemon.serve.server import Server
from ef_slurm.daemon.serve.visibility import Visibility
from ef_slurm.model import QueueLimits
from ef_slurm.queue.store import Queue
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm
from tests.fakes.new_queue import open_queue
from tests.fakes.patience import PATIENCE
from tests.unit.api.fakes import FakeMunge

ME = os.getuid()
PING = b"GET /v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n"


class NoScheduler:
    """Has seen no cluster and never answers a what-if."""

    ticked_at = None
    gpu_types = ()
    cluster = None

    def judge(self, request: object) -> Any:  # noqa: ARG002
        raise AssertionError("nobody calls it here")

    def change(self, *_: object) -> Any:
        raise AssertionError("nobody calls it here")

    def act(self, *_: object, by_owner: bool) -> Any:  # noqa: ARG002
        raise AssertionError("nobody calls it here")

    def lose(self, job_id: int) -> None:  # noqa: ARG002
        raise AssertionError("nobody calls it here")


@dataclass
class Stub:
    """A server, and what it is made of."""

    server: Server
    calls: SchedulerCalls
    path: Path
    port: int
    munge: FakeMunge
    metrics_port: int

    def connect(self, seconds: float = PATIENCE) -> socket.socket:
        """A connection on the UNIX socket."""
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(seconds)
        stream.connect(str(self.path))
        return stream

    def connect_tcp(self, seconds: float = PATIENCE, source: str = "127.0.0.1") -> socket.socket:
        """A connection over TCP, from an address of this host's."""
        return socket.create_connection(("127.0.0.1", self.port), seconds, (source, 0))

    def ping(self) -> str:
        """What becomes of a request on a new connection."""
        with self.connect() as stream:
            return asked(stream, PING)


@contextlib.contextmanager
def serving(tmp_path: Path, limits: ServeLimits) -> Iterator[Stub]:
    """A server with these limits."""
    path = tmp_path / "queue.sqlite"
    open_queue(path).close()
    port, metrics_port = _free_port(), _free_port()
    calls, munge = SchedulerCalls(), FakeMunge(ME)
    slurm = MemorySlurm(MemoryCluster({"n1": 4}), time.time, user="me", operator=True)
    context = ServerContext(
        scheduler=NoScheduler(),
        calls=calls,
        slurm=slurm,
        open_queue=lambda: Queue.open(path, create=False),
        cluster="memory",
        partition="ef",
        limits=QueueLimits(),
        user="ef-slurm",
        version="1",
        started=0.0,
        advisory=False,
        visibility=Visibility(slurm.configuration, lambda _: None),
    )
    where = tmp_path / "s"
    address = ("127.0.0.1", port)
    with Server(
        context,
        munge,
        path=where,
        mode=0o600,
        address=address,
        limits=limits,
        metrics_port=metrics_port,
    ) as server:
        yield Stub(server, calls, where, port, munge, metrics_port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def asked(stream: socket.socket, data: bytes) -> str:
    """Send a request; "ok", or the code of the problem that is the answer."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.sendall(data)
    return answered(stream)


def answered(stream: socket.socket) -> str:
    """ "ok", or the code of the problem that comes."""
    answer = http.client.HTTPResponse(stream)
    answer.begin()
    body = answer.read()
    if answer.status < 400:
        json.loads(body)
        return "ok"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert json.loads(body)["status"] == answer.status
    return read_problem(body).code.value


def is_closed(stream: socket.socket) -> bool:
    """Whether the daemon closes the connection without another word."""
    try:
        return stream.recv(1) == b""
    except ConnectionResetError:
        return True
