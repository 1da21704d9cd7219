"""Asks the daemon over HTTP: on its UNIX socket, or over TCP with a MUNGE credential."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
from typing import Self

from ef_slurm.api import credentials, routes
from ef_slurm.api.client import (
    Endpoint,
    FailureError,
    TcpEndpoint,
    UnixEndpoint,
    UnreachableError,
)
from ef_slurm.api.credentials import CredentialError, SignedRequest
from ef_slurm.api.identity import peer_of, user_name
from ef_slurm.api.messages import Await, Failure, FailureCode, Request, Response
from ef_slurm.api.munge import Munge, MungeError
from ef_slurm.api.problems import read_problem
from ef_slurm.api.routes import HttpRequest
from ef_slurm.formats.codec import DecodeError, decode

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 15.0
"""How long an answer may take beyond what was asked to wait for."""
PATIENCE_SECONDS = 30.0
"""For how long a daemon that says "too many requests" or "busy" is asked again."""
_WAIT_SECONDS = 0.5
_NO_ROOM = frozenset({FailureCode.TOO_MANY, FailureCode.BUSY})


class _BrokenError(Exception):
    """The connection broke before there was an answer."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP on a UNIX socket."""

    def __init__(self, endpoint: UnixEndpoint) -> None:
        super().__init__("localhost", timeout=CONNECT_SECONDS)
        self._endpoint = endpoint

    def connect(self) -> None:
        """Connect, and see who listens.

        Raises:
            UnreachableError: somebody who is not the daemon.
        """
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.settimeout(CONNECT_SECONDS)
            stream.connect(str(self._endpoint.path))
            uid, _ = peer_of(stream)
            if uid not in self._endpoint.users | {0, os.getuid()}:
                raise UnreachableError(
                    f"{self._endpoint.text}: {user_name(uid)} listens there, who is neither root"
                    " nor the user of ef-schedd ([daemon] user)"
                )
        except BaseException:
            stream.close()
            raise
        self.sock = stream


class HttpClient:
    """Asks a daemon; connects when first asked, and again when the connection broke.

    Args:
        cluster: Slurm's name of it, for the daemon to check; "" for not known.
        patience: seconds for which a daemon that has no room now is asked again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        munge: Munge,
        cluster: str = "",
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._endpoint = endpoint
        self._munge = munge
        self._cluster = cluster
        self._patience = patience
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A later request opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, request: Request) -> Response:
        """The answer. Every request may be asked twice, so a broken connection is tried again."""
        end = time.monotonic() + self._patience
        while True:
            try:
                return self._ask_connected(request)
            except FailureError as error:
                if error.code not in _NO_ROOM:
                    raise
                # Not all at the same moment again.
                pause = _WAIT_SECONDS * (0.5 + os.urandom(1)[0] / 256)
                if time.monotonic() + pause >= end:
                    raise
                time.sleep(pause)

    def _ask_connected(self, request: Request) -> Response:
        fresh = self._connection is None
        try:
            return self._ask(request)
        except _BrokenError as error:
            if fresh:
                raise UnreachableError(f"{self._endpoint.text}: {error}") from None
        try:
            return self._ask(request)
        except _BrokenError as error:
            raise UnreachableError(f"{self._endpoint.text}: {error}") from None

    def _ask(self, request: Request) -> Response:
        sent, nonce = routes.write(request), credentials.new_nonce()
        seconds = ANSWER_SECONDS + (request.seconds if isinstance(request, Await) else 0.0)
        try:
            answer = self._exchange(sent, nonce, seconds)
            body = answer.read(routes.RESPONSE_LIMIT + 1)
            self._check(answer, body, nonce)
            if answer.status >= 400:
                raise FailureError(_failure(answer.status, body))
            return decode(routes.route_of(request).response, body, "answer")  # type: ignore[no-any-return]
        except BlockingIOError:  # so many wait to be connected that the kernel takes no more
            self.close()
            raise FailureError(Failure(FailureCode.BUSY, "ef-schedd is busy: try again")) from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise _BrokenError(_words(error)) from None
        except (MungeError, CredentialError, DecodeError) as error:
            self.close()
            raise UnreachableError(f"{self._endpoint.text}: {error}") from None
        except UnreachableError:
            self.close()
            raise

    def _exchange(self, sent: HttpRequest, nonce: str, seconds: float) -> http.client.HTTPResponse:
        headers = {
            "Accept": "application/json",
            routes.VERSION_HEADER: str(routes.VERSION),
            routes.CLUSTER_HEADER: self._cluster,
        }
        if sent.body:
            headers["Content-Type"] = "application/json"
        if isinstance(self._endpoint, TcpEndpoint):
            digest = credentials.request_digest(sent.method, sent.target, sent.body)
            signed = SignedRequest(
                digest, int(time.time()), nonce, self._endpoint.text, self._cluster
            )
            headers["Authorization"] = credentials.authorization(signed, self._munge)
        connection = self._connected()
        connection.sock.settimeout(seconds)
        # A daemon that refuses the connection does not wait for the request, but says why.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(sent.method, sent.target, sent.body or None, headers)
        # What else could begin with the length of a frame, and break off before a line ends?
        if connection.sock.recv(1, socket.MSG_PEEK) == b"\0":
            raise UnreachableError(
                f"{self._endpoint.text}: the ef-schedd there is older than this command, and "
                "speaks no HTTP yet: install the same release on both hosts"
            )
        return connection.getresponse()

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            if isinstance(self._endpoint, TcpEndpoint):
                host, port = self._endpoint.host, self._endpoint.port
                connection = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
            else:
                connection = _UnixConnection(self._endpoint)
            self._connection = connection
            connection.connect()
        return self._connection

    def _check(self, answer: http.client.HTTPResponse, body: bytes, nonce: str) -> None:
        """Whether the daemon answered, and one that says the same with the same words."""
        if len(body) > routes.RESPONSE_LIMIT:
            raise UnreachableError(f"{self._endpoint.text}: the answer is too long")
        if isinstance(self._endpoint, TcpEndpoint):
            credential = answer.getheader(credentials.ANSWER_HEADER)
            if credential is None and answer.status >= 400:
                failure = _failure(answer.status, body)
                if failure.code in _NO_ROOM:
                    raise FailureError(failure)
                raise UnreachableError(
                    f"{self._endpoint.text}: somebody says, without a credential: {failure.message}"
                )
            uid = credentials.check_answer(credential, answer.status, body, nonce, self._munge)
            if uid not in self._endpoint.users | {0}:
                raise UnreachableError(
                    f"{self._endpoint.text}: the answer is signed by uid {uid}, not by ef-schedd"
                )
        version = answer.getheader(routes.VERSION_HEADER)
        if version is None:
            raise UnreachableError(f"{self._endpoint.text}: whoever answers is not ef-schedd")
        if version != str(routes.VERSION) and answer.status < 400:
            raise UnreachableError(
                f"{self._endpoint.text}: ef-schedd is of another release than this command "
                f"(protocol {routes.shown(version)}, the command's is {routes.VERSION}): install "
                "the same one on both hosts; jobs go on meanwhile"
            )


def _failure(status: int, body: bytes) -> Failure:
    try:
        return read_problem(body)
    except DecodeError:
        return Failure(FailureCode.INTERNAL, f"the daemon answered with status {status}")


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionResetError | http.client.BadStatusLine):
        return "the daemon closed the connection without an answer"
    if isinstance(error, FileNotFoundError):
        return f"{error.strerror} (if ef-schedd runs on another host, [daemon] host must name it)"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"no HTTP answer: {error}"
