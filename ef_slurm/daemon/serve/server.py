"""The daemon's sockets: UNIX for its own host, TCP with MUNGE for others; a thread a connection."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import socketserver
import stat
import threading
import time
from pathlib import Path

from ef_slurm.api import wire
from ef_slurm.api.messages import Failure, FailureCode
from ef_slurm.api.munge import Munge, MungeError
from ef_slurm.api.wire import DisconnectedError, ReplayGuard, Transport, WireError
from ef_slurm.daemon.serve.requests import Dispatch, ServerContext

MAX_CONNECTIONS = 200
IDLE_SECONDS = 30.0
"""How long a connection may say nothing."""

_log = logging.getLogger(__name__)


class ServerError(Exception):
    """A socket cannot be had; the text says which and why."""


class Server:
    """Listens until it is closed.

    Args:
        path: of the UNIX socket.
        mode: its permissions: 0o600 for its owner alone, 0o666 for everybody on the host.
        address: host and port for TCP, or None.
    """

    def __init__(
        self,
        context: ServerContext,
        munge: Munge,
        *,
        path: Path,
        mode: int,
        address: tuple[str, int] | None = None,
    ) -> None:
        self._context = context
        self._munge = munge
        self._path = path
        self._guard = ReplayGuard()
        self._guard_lock = threading.Lock()
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._listeners: list[socketserver.BaseServer] = [self._unix(path, mode)]
        if address is not None:
            try:
                self._listeners.append(self._tcp(address))
            except ServerError:
                self._listeners[0].server_close()
                path.unlink()
                raise
        for listener in self._listeners:
            threading.Thread(
                target=listener.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True
            ).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening. Connections end with the process."""
        for listener in self._listeners:
            listener.shutdown()
            listener.server_close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def serve(self, stream: socket.socket, transport: Transport) -> None:
        """Answer one connection until it ends."""
        if not self._places.acquire(blocking=False):
            busy = Failure(FailureCode.BUSY, f"{MAX_CONNECTIONS} connections already: try again")
            with contextlib.suppress(OSError, MungeError):
                wire.write_response(stream, transport, "", busy, self._munge)
            return
        dispatch = Dispatch(self._context)
        try:
            stream.settimeout(IDLE_SECONDS)
            while self._serve_one(stream, transport, dispatch):
                pass
        except (OSError, DisconnectedError, MungeError) as error:
            _log.debug("connection ended: %s", error)
        finally:
            dispatch.close()
            self._places.release()

    def _serve_one(self, stream: socket.socket, transport: Transport, dispatch: Dispatch) -> bool:
        nonce = ""
        try:
            received = wire.read_request(stream, transport, self._munge)
            if received is None:
                return False
            caller, envelope = received
            nonce = envelope.nonce
            if transport is Transport.TCP:
                with self._guard_lock:
                    self._guard.check(nonce, envelope.sent, time.time())
        except WireError as error:
            _log.warning("request refused: %s", error)
            wire.write_response(stream, transport, nonce, error.failure(), self._munge)
            return False
        try:
            response = dispatch.answer(caller, envelope.cluster, envelope.request)
        except Exception:
            _log.exception("request %s of %s", type(envelope.request).__name__, caller.name)
            response = Failure(
                FailureCode.INTERNAL, "ef-schedd failed on this request: see its log"
            )
        wire.write_response(stream, transport, nonce, response, self._munge)
        return True

    def _unix(self, path: Path, mode: int) -> socketserver.BaseServer:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Whoever holds the queue's lock owns the socket: one that lies there is a dead one's.
            if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
                path.unlink()
            before = os.umask(0o777 & ~mode)
            try:
                return _UnixListener(self, str(path))
            finally:
                os.umask(before)
        except OSError as error:
            raise ServerError(f"cannot listen on {path}: {error.strerror or error}") from error

    def _tcp(self, address: tuple[str, int]) -> socketserver.BaseServer:
        try:
            return _TcpListener(self, address)
        except OSError as error:
            name = f"{address[0] or '*'}:{address[1]}"
            raise ServerError(f"cannot listen on {name}: {error.strerror or error}") from error


class _Handler(socketserver.BaseRequestHandler):
    server: _UnixListener | _TcpListener

    def handle(self) -> None:
        self.server.owner.serve(self.request, self.server.transport)


class _UnixListener(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    transport = Transport.UNIX

    def __init__(self, owner: Server, path: str) -> None:
        self.owner = owner
        super().__init__(path, _Handler)


class _TcpListener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    transport = Transport.TCP

    def __init__(self, owner: Server, address: tuple[str, int]) -> None:
        self.owner = owner
        super().__init__(address, _Handler)
