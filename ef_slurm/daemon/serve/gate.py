"""One connection: what aiohttp is given to read, and for how long the peer may take over it.

aiohttp bounds lines and header fields, but neither how long a request may take to arrive nor how
many are sent ahead. So a request is collected here until it is whole, within bounds of size and
time, and handed over as one piece; the next one waits until it is answered.
"""

from __future__ import annotations

import asyncio
import enum
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from ef_slurm.api.identity import Transport
from ef_slurm.api.messages import Failure, FailureCode
from ef_slurm.api.problems import MEDIA_TYPE, STATUS, TITLES, write_problem
from ef_slurm.api.routes import BODY_LIMIT, VERSION, VERSION_HEADER, RequestError, shown
from ef_slurm.daemon.serve.limits import ServeLimits

HEAD_LIMIT = 24 << 10
"""Bytes of the longest request line and header fields together."""
FIELD_LIMIT = 8000
"""Bytes of the longest header field; aiohttp takes 8190."""
LINGER_SECONDS = 1.0
"""For how long a peer that is refused may still send, so that it sees why."""
_LINGER_BYTES = 4 << 20
_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb"([A-Z]{1,10}) ([\x21-\x7e]+) HTTP/1\.[01]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t\x80-\xff]*)")
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_REFUSED_FIELDS: Mapping[bytes, str] = MappingProxyType(
    {
        b"transfer-encoding": "a body needs a Content-Length, not a Transfer-Encoding",
        b"upgrade": "this daemon speaks HTTP/1.1 and upgrades to nothing else",
        b"content-encoding": "a body is sent as it is, without a Content-Encoding",
    }
)


class _Phase(enum.Enum):
    READING = "reading"  # a request arrives, or none yet
    ANSWERING = "answering"
    LINGERING = "lingering"  # refused; what still comes is thrown away
    CLOSED = "closed"


class Doorkeeper(Protocol):
    """Who is told of connections, and decides about them."""

    @property
    def limits(self) -> ServeLimits:
        """How long a peer may take."""
        ...

    def admit(self, gate: Gate, transport: asyncio.Transport) -> Failure | None:
        """A connection was made; None where it may stay."""
        ...

    def may_linger(self, gate: Gate) -> bool:
        """It is refused; whether it may stay for a moment to see why."""
        ...

    def gone(self, gate: Gate) -> None:
        """A connection is over."""
        ...

    def greet_frames(self, gate: Gate, transport: asyncio.Transport) -> None:
        """An ef-slurm from before HTTP is there: tell it so, and close."""
        ...


class Gate(asyncio.Protocol):
    """Between the socket and aiohttp's own protocol.

    Args:
        inner: aiohttp's.

    Attributes:
        uid, gid: whose connection it is; None until a TCP peer has shown a credential.
        address: as what a TCP peer is counted; "" on the UNIX socket.
    """

    def __init__(self, keeper: Doorkeeper, inner: asyncio.Protocol, kind: Transport) -> None:
        self.kind = kind
        self.uid: int | None = None
        self.gid: int | None = None
        self.address = ""
        self._keeper = keeper
        self._inner = inner
        self._phase = _Phase.CLOSED
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._needed = 0  # bytes of the whole request, once its head is there
        self._thrown_away = 0
        self._timer: asyncio.TimerHandle | None = None
        self._made = False
        self._ended = False  # the peer sends no more

    @property
    def inner(self) -> asyncio.Protocol:
        """aiohttp's protocol, which its requests name."""
        return self._inner

    @property
    def is_reading(self) -> bool:
        """Whether no whole request has come that is not answered yet."""
        return self._phase is _Phase.READING

    def answered(self) -> None:
        """The request that was handed over has its answer."""
        if self._phase is _Phase.ANSWERING:
            self._phase = _Phase.READING
            self._needed = 0
            if self._ended and not self._buffer and self._transport is not None:
                self._transport.close()
            limits = self._keeper.limits
            self._arm(limits.request_seconds if self._buffer else limits.idle_seconds)
            if self._buffer:
                asyncio.get_running_loop().call_soon(self._look)

    def refuse(self, failure: Failure, retry_after: int | None = 1) -> None:
        """Answer in aiohttp's place, and close."""
        if self._phase in (_Phase.LINGERING, _Phase.CLOSED) or self._transport is None:
            return
        self.say_last(write_refusal(failure, retry_after))

    def say_last(self, data: bytes) -> None:
        """Send something, and close once the peer had time to see it."""
        transport = self._transport
        if transport is None or self._phase in (_Phase.LINGERING, _Phase.CLOSED):
            return
        self._phase = _Phase.LINGERING
        self._buffer.clear()
        if not self._keeper.may_linger(self):
            transport.abort()
            return
        transport.write(data)
        if transport.can_write_eof():
            transport.write_eof()
        self._arm(LINGER_SECONDS)

    def abort(self) -> None:
        """Close without another word."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio says."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._phase = _Phase.READING
        failure = self._keeper.admit(self, transport)
        if failure is not None:
            self.refuse(failure)
            return
        self._made = True
        self._inner.connection_made(transport)
        self._arm(self._keeper.limits.request_seconds)

    def data_received(self, data: bytes) -> None:
        """As asyncio says."""
        if self._phase is _Phase.LINGERING:
            self._thrown_away += len(data)
            if self._thrown_away > _LINGER_BYTES:
                self.abort()
            return
        if not self._buffer and self._phase is _Phase.READING:
            self._arm(self._keeper.limits.request_seconds)
        self._buffer += data
        if self._phase is _Phase.READING:
            self._look()
        elif len(self._buffer) > HEAD_LIMIT + BODY_LIMIT:
            self.abort()  # sends ahead what nobody has asked for

    def eof_received(self) -> bool | None:
        """As asyncio says: whoever sends no more may still want the answer."""
        if self._phase is _Phase.ANSWERING:
            self._ended = True
            return True
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio says."""
        if self._timer is not None:
            self._timer.cancel()
        self._keeper.gone(self)
        self._phase = _Phase.CLOSED
        self._transport = None
        self._buffer.clear()
        if self._made:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """As asyncio says."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """As asyncio says."""
        self._inner.resume_writing()

    def _look(self) -> None:
        """Hand over a request if it is whole."""
        if self._phase is not _Phase.READING or not self._buffer:
            return
        if self._buffer[0] < 0x20 and self._buffer[0] not in b"\r\n":
            assert self._transport is not None
            self._keeper.greet_frames(self, self._transport)
            return
        try:
            if not self._needed:
                self._needed = whole_size(self._buffer)
        except RequestError as error:
            self.refuse(error.failure, None)
            return
        if not self._needed or len(self._buffer) < self._needed:
            return
        data = bytes(self._buffer[: self._needed])
        del self._buffer[: self._needed]
        self._phase = _Phase.ANSWERING
        if self._timer is not None:
            self._timer.cancel()
        self._inner.data_received(data)

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._late)

    def _late(self) -> None:
        if self._phase is _Phase.READING and self._buffer:
            seconds = self._keeper.limits.request_seconds
            late = f"the request did not arrive in full within {seconds:g} s"
            self.refuse(Failure(FailureCode.TOO_SLOW, late), None)
        else:
            self.abort()


def whole_size(data: bytes | bytearray) -> int:
    """Bytes of the request that `data` begins with; 0 while its head is not whole.

    Raises:
        RequestError: too large, or no HTTP/1.1 of the kind that is served here.
    """
    end = data.find(_END, 0, HEAD_LIMIT + len(_END))
    if end < 0:
        if len(data) > HEAD_LIMIT:
            raise RequestError(
                FailureCode.TOO_LARGE,
                f"a request's head has {HEAD_LIMIT} bytes at most, this one has more",
            )
        return 0
    line, *lines = bytes(data[:end]).split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        said = shown(line.decode("latin-1"))
        raise RequestError(FailureCode.BAD_REQUEST, f"expected METHOD PATH HTTP/1.1, got {said!r}")
    if match[1] not in _METHODS:
        raise RequestError(FailureCode.NO_SUCH_METHOD, f"there is no method {match[1].decode()}")
    return end + len(_END) + _body_size(lines)


def _body_size(lines: list[bytes]) -> int:
    """Bytes of the body, by the header fields, which are checked for what aiohttp may differ on."""
    size: int | None = None
    hosts = 0
    for line in lines:
        match = _FIELD.fullmatch(line) if len(line) <= FIELD_LIMIT else None
        if match is None:
            said = shown(line.decode("latin-1"))
            raise RequestError(FailureCode.BAD_REQUEST, f"{said!r} is no header field")
        name, value = match[1].lower(), match[2].strip()
        hosts += name == b"host"
        if name in _REFUSED_FIELDS:
            raise RequestError(FailureCode.BAD_REQUEST, _REFUSED_FIELDS[name])
        if name == b"content-length":
            if size is not None or not re.fullmatch(rb"[0-9]{1,18}", value):
                said = shown(value.decode("latin-1"))
                raise RequestError(FailureCode.BAD_REQUEST, f"Content-Length: got {said!r}")
            size = int(value)
    if hosts != 1:
        raise RequestError(FailureCode.BAD_REQUEST, f"expected one Host field, got {hosts}")
    if size is not None and size > BODY_LIMIT:
        raise RequestError(
            FailureCode.TOO_LARGE, f"a body of {size} bytes, at most {BODY_LIMIT} are accepted"
        )
    return size or 0


def write_refusal(failure: Failure, retry_after: int | None) -> bytes:
    """A whole answer that says why there is no other one."""
    body = write_problem(failure)
    status = STATUS[failure.code]
    again = "" if retry_after is None else f"Retry-After: {retry_after}\r\n"
    head = (
        f"HTTP/1.1 {status} {TITLES[failure.code]}\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n{VERSION_HEADER}: {VERSION}\r\n{again}"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
