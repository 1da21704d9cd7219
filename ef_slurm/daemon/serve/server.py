"""The daemon's sockets, UNIX for its own host and TCP for others, and their thread."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import resource
import socket
import stat
import threading
import time
from pathlib import Path

from aiohttp import web

from ef_slurm.api.client import TcpEndpoint
from ef_slurm.api.identity import Transport
from ef_slurm.api.messages import Failure, FailureCode
from ef_slurm.api.munge import Munge, MungeError
from ef_slurm.api.problems import MEDIA_TYPE, STATUS, write_problem
from ef_slurm.api.routes import VERSION, VERSION_HEADER, shown
from ef_slurm.daemon.serve import frames
from ef_slurm.daemon.serve.connections import Connections
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.exposition import Exposition
from ef_slurm.daemon.serve.gate import Gate
from ef_slurm.daemon.serve.handler import Handler
from ef_slurm.daemon.serve.limits import ServeLimits
from ef_slurm.daemon.serve.metrics_listener import ADDRESS, MetricsListener
from ef_slurm.daemon.serve.sending import NAME
from ef_slurm.daemon.serve.web.access import WebSettings

BACKLOG = 1024
FILES = 16384
"""Open files that the process wants to be allowed."""
BEAT_SECONDS = 1.0
"""Seconds between two looks at whether the event loop still turns."""
SILENT_SECONDS = 60.0
"""After how many seconds without one it does not."""
_CLOSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class ServerError(Exception):
    """A socket cannot be had; the text says which and why."""


class Server:
    """Listens from when it is made until it is closed, in a thread of its own.

    Args:
        path: of the UNIX socket.
        mode: its permissions: 0o600 for its owner alone, 0o666 for everybody on the host.
        address: host and port for TCP, or None.
        metrics_port: on the loopback, for Prometheus; 0 for none.
        pages: who may see the page for browsers.

    Raises:
        ServerError: a socket cannot be had.
    """

    def __init__(
        self,
        context: ServerContext,
        munge: Munge,
        *,
        path: Path,
        mode: int,
        address: tuple[str, int] | None = None,
        limits: ServeLimits | None = None,
        metrics_port: int = 0,
        pages: WebSettings | None = None,
    ) -> None:
        self._context = context
        self._munge = munge
        self._path = path
        self._limits = limits or ServeLimits()
        self._daemon = "" if address is None else TcpEndpoint(*address).text
        self._pages = pages or WebSettings()
        self._listeners = [(_unix(path, mode), Transport.UNIX)]
        self._metrics: socket.socket | None = None
        try:
            for where, kind in ((address, Transport.TCP), (self._pages.address, Transport.WEB)):
                if where is not None:
                    self._listeners.append((_tcp(where), kind))
            if metrics_port:
                self._metrics = _tcp((ADDRESS, metrics_port))
        except ServerError:
            self._close_sockets()
            raise
        _raise_file_limit()
        self._greeting = False
        self._beat_at = time.monotonic()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and close every connection."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_CLOSE_SECONDS)
        self._close_sockets()

    @property
    def serves(self) -> bool:
        """Whether requests are answered: its thread lives and does not hang. Any thread may ask."""
        return self._thread.is_alive() and time.monotonic() - self._beat_at < SILENT_SECONDS

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            _log.exception("nobody can be answered any more")
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        connections = Connections(self._limits, self._greet)
        context, limits = self._context, self._limits
        exposition = Exposition(context.metrics, context.open_queue, context.hanging)
        handler = Handler(
            context, self._munge, connections, limits, self._daemon, exposition, self._pages
        )
        for_prometheus = MetricsListener(exposition, limits)
        manager = web.Server(handler)
        servers = []
        for listener, kind in self._listeners:
            gates = functools.partial(self._gate, connections, manager, kind)
            if kind is not Transport.UNIX:
                server = await self._loop.create_server(gates, sock=listener, backlog=BACKLOG)
            else:
                server = await self._loop.create_unix_server(gates, sock=listener, backlog=BACKLOG)
            servers.append(server)
        if self._metrics is not None:
            servers.append(await for_prometheus.serve(self._metrics))
        try:
            while not self._stop.is_set():
                self._beat_at = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), BEAT_SECONDS)
        finally:
            for server in servers:
                server.close()
            connections.abort_all()
            handler.close()
            exposition.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(for_prometheus.close(), _CLOSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(manager.shutdown(1.0), _CLOSE_SECONDS)

    def _gate(self, connections: Connections, manager: web.Server, kind: Transport) -> Gate:
        """What a new connection is served by."""
        inner = _Protocol(
            manager,
            loop=self._loop,
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=2 * self._limits.idle_seconds,
            lingering_time=0.0,
        )
        return Gate(connections, inner, kind)

    def _greet(self, gate: Gate, _: asyncio.Transport) -> None:
        """Tell an ef-slurm from before HTTP so; over TCP one at a time, for munged's sake."""
        if gate.kind is Transport.WEB:
            gate.abort()
        elif gate.kind is Transport.UNIX:
            gate.say_last(frames.refusal(gate.kind, self._munge))
        elif self._greeting:
            gate.abort()
        else:
            self._greeting = True
            loop = asyncio.get_running_loop()
            made = loop.run_in_executor(None, frames.refusal, gate.kind, self._munge)
            made.add_done_callback(lambda done: self._greeted(gate, done))

    def _greeted(self, gate: Gate, made: asyncio.Future[bytes]) -> None:
        self._greeting = False
        try:
            gate.say_last(made.result())
        except MungeError:
            gate.abort()

    def _close_sockets(self) -> None:
        for listener, _ in self._listeners:
            listener.close()
        if self._metrics is not None:
            self._metrics.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


class _Protocol(web.RequestHandler):
    """aiohttp's, whose own refusals are problem documents as well, and no matter for the log."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """As aiohttp says."""
        if status < 500:
            failure = Failure(FailureCode.BAD_REQUEST, f"no HTTP request: {shown(message or '')}")
        else:
            _log.error("%s: %s", request.path, exc, exc_info=exc)
            words = "ef-schedd failed on this request: see its log"
            failure = Failure(FailureCode.INTERNAL, words)
        response = web.Response(
            status=STATUS[failure.code],
            body=write_problem(failure),
            headers={"Content-Type": MEDIA_TYPE, VERSION_HEADER: str(VERSION), "Server": NAME},
        )
        response.force_close()
        return response


def _raise_file_limit() -> None:
    """Connections are files: so many may be open that the scheduler's own never lack room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _unix(path: Path, mode: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whoever holds the queue's lock owns the socket: one that lies there is a dead one's.
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
        before = os.umask(0o777 & ~mode)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ServerError(f"cannot listen on {path}: {error.strerror or error}") from error
    return listener


def _tcp(address: tuple[str, int]) -> socket.socket:
    host, port = address
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        name = f"{host or '*'}:{port}"
        raise ServerError(f"cannot listen on {name}: {error.strerror or error}") from error
