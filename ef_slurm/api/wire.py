"""Frames between a command and the daemon, and who is believed to have sent them.

A frame is four bytes of length (big-endian) and that many bytes of UTF-8 JSON. Requests and
responses alternate on a connection; each response repeats its request's nonce.

- Over a UNIX socket the kernel says who the peer is (SO_PEERCRED, unix(7)).
- Over TCP every frame carries a MUNGE credential over the SHA-256 of its message. munged refuses a
  credential that is replayed, expired or made with another cluster's key; `ReplayGuard` refuses a
  message that was seen before or is older than `FRESH_SECONDS` by itself. The daemon signs its
  answers the same way, so that nobody else can answer on its port.
"""

from __future__ import annotations

import enum
import hashlib
import pwd
import secrets
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from ef_slurm.api.messages import (
    REQUESTS,
    RESPONSES,
    Failure,
    FailureCode,
    Request,
    Response,
)
from ef_slurm.api.munge import Identity, Munge, MungeError, MungeProblem
from ef_slurm.formats.codec import DecodeError, decode, encode, from_plain, to_plain
from ef_slurm.model import Json

VERSION = 3
"""Rises when an older reader would misread a message: a field without a default, a new word."""
REQUEST_LIMIT = 1 << 20
"""Bytes of the longest request."""
RESPONSE_LIMIT = 1 << 26
"""Bytes of the longest response."""
FRESH_SECONDS = 300.0
"""How old a TCP message may be, and how far clocks may differ."""
_LENGTH = struct.Struct("!I")
_PEER = struct.Struct("3i")  # pid, uid, gid: struct ucred
_SEAL = "ef-slurm/1"


class Transport(enum.Enum):
    """How a peer is connected, and so how it proves who it is."""

    UNIX = "unix"
    TCP = "tcp"


class WireError(Exception):
    """A frame that is not as agreed, or not believed.

    Args:
        code: what the peer is told.
    """

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def failure(self) -> Failure:
        """What to answer, where an answer makes sense."""
        return Failure(self.code, str(self))


class DisconnectedError(Exception):
    """The peer went away in the middle of a frame, or took too long over one."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the kernel's or munged's word, never the message's.

    Args:
        uid, gid: of the process at the other end.
        transport: how it is connected.
    """

    uid: int
    gid: int
    transport: Transport

    @property
    def name(self) -> str:
        """The user's name here, or the uid as text where this host knows none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


@dataclass(frozen=True, slots=True)
class Envelope:
    """One request as it came.

    Args:
        nonce: the sender's name for it, repeated in the answer.
        sent: by the sender's clock, UTC epoch seconds.
        cluster: Slurm's name of the one that is meant; "" for whichever answers.
    """

    nonce: str
    sent: float
    cluster: str
    request: Request


class ReplayGuard:
    """Remembers the nonces of `FRESH_SECONDS`. Not thread-safe: one per server, called in turn."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def check(self, nonce: str, sent: float, now: float) -> None:
        """Let a message through once.

        Raises:
            WireError: it is stale, from the future, or was seen before.
        """
        if abs(now - sent) > FRESH_SECONDS:
            raise WireError(
                FailureCode.STALE,
                f"the request is {now - sent:.0f} s old by this host's clock (at most "
                f"{FRESH_SECONDS:.0f} s are accepted): do the clocks of both hosts agree?",
            )
        for old in [n for n, until in self._seen.items() if until < now]:
            del self._seen[old]
        if nonce in self._seen:
            raise WireError(FailureCode.REPLAYED, "this request was seen before")
        self._seen[nonce] = now + 2 * FRESH_SECONDS


def new_nonce() -> str:
    """A name for one request that nobody can guess."""
    return secrets.token_hex(16)


def write_request(
    stream: socket.socket, transport: Transport, envelope: Envelope, munge: Munge
) -> None:
    """Send one request.

    Raises:
        MungeError: over TCP, no credential can be made.
        OSError: the connection broke.
    """
    message = _Message(
        version=VERSION,
        kind=_name(envelope.request, REQUESTS),
        body=to_plain(envelope.request),
        nonce=envelope.nonce,
        sent=envelope.sent,
        cluster=envelope.cluster,
    )
    _write(stream, transport, message, munge)


def read_request(
    stream: socket.socket, transport: Transport, munge: Munge
) -> tuple[Caller, Envelope] | None:
    """One request and who sent it; None where the peer closed the connection.

    The caller of this passes a TCP request's nonce to `ReplayGuard.check`.

    Raises:
        WireError: not as agreed, or not believed. Answer with its failure and close.
        DisconnectedError: in the middle of it.
    """
    frame = _read_frame(stream, REQUEST_LIMIT)
    if frame is None:
        return None
    if transport is Transport.TCP:
        message, identity = _unseal(frame, munge)
        caller = Caller(identity.uid, identity.gid, transport)
    else:
        message = _decode_message(frame)
        raw = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        _, uid, gid = _PEER.unpack(raw)
        caller = Caller(uid, gid, transport)
    request = _decode_body(message, REQUESTS)
    if not message.nonce:
        raise WireError(FailureCode.BAD_REQUEST, "the request has no nonce")
    return caller, Envelope(message.nonce, message.sent, message.cluster, request)


def write_response(
    stream: socket.socket, transport: Transport, nonce: str, response: Response, munge: Munge
) -> None:
    """Answer the request of that nonce.

    Raises:
        MungeError: over TCP, no credential can be made.
        OSError: the connection broke.
    """
    message = _Message(VERSION, _name(response, RESPONSES), to_plain(response), nonce)
    _write(stream, transport, message, munge)


def read_response(
    stream: socket.socket, transport: Transport, nonce: str, munge: Munge
) -> tuple[Response, int | None]:
    """The answer to the request of that nonce, and over TCP the uid that signed it.

    Raises:
        WireError: not as agreed, or not believed.
        DisconnectedError: the daemon went away.
    """
    frame = _read_frame(stream, RESPONSE_LIMIT)
    if frame is None:
        raise DisconnectedError("the daemon closed the connection without an answer")
    signer: int | None = None
    if transport is Transport.TCP:
        message, identity = _unseal(frame, munge)
        signer = identity.uid
    else:
        message = _decode_message(frame)
    response = _decode_body(message, RESPONSES)
    # A request that could not be read is refused without its nonce.
    if message.nonce != nonce and not isinstance(response, Failure):
        raise WireError(FailureCode.BAD_REQUEST, "the answer belongs to another request")
    return response, signer


@dataclass(frozen=True, slots=True)
class _Message:
    """What a frame holds. `sent` and `cluster` are a request's; `body` is what `kind` says."""

    version: int
    kind: str
    body: Json
    nonce: str = ""
    sent: float = 0.0
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class _Sealed:
    """What a frame holds over TCP: a message as text, and a MUNGE credential over its hash."""

    credential: str
    message: str


def _write(stream: socket.socket, transport: Transport, message: _Message, munge: Munge) -> None:
    data = encode(message)
    if transport is Transport.TCP:
        data = encode(_Sealed(munge.encode(_seal(data)), data.decode()))
    stream.sendall(_LENGTH.pack(len(data)) + data)


def _seal(data: bytes) -> str:
    return f"{_SEAL} {hashlib.sha256(data).hexdigest()}"


def _unseal(frame: bytes, munge: Munge) -> tuple[_Message, Identity]:
    try:
        outer = decode(_Sealed, frame)
    except DecodeError as error:
        problem = f"over TCP every message needs a MUNGE credential ({error})"
        raise WireError(FailureCode.DENIED, problem) from None
    try:
        identity = munge.decode(outer.credential)
    except MungeError as error:
        raise WireError(_MUNGE_CODES[error.problem], str(error)) from None
    data = outer.message.encode(errors="surrogatepass")
    if identity.payload != _seal(data):
        raise WireError(FailureCode.DENIED, "the credential was made for another message")
    return _decode_message(data), identity


_MUNGE_CODES: Mapping[MungeProblem, FailureCode] = MappingProxyType(
    {
        MungeProblem.UNAVAILABLE: FailureCode.INTERNAL,
        MungeProblem.EXPIRED: FailureCode.STALE,
        MungeProblem.REWOUND: FailureCode.STALE,
        MungeProblem.REPLAYED: FailureCode.REPLAYED,
        MungeProblem.INVALID: FailureCode.DENIED,
    }
)

M = TypeVar("M")


def _name(message: Request | Response, kinds: Mapping[str, type[Any]]) -> str:
    for name, kind in kinds.items():
        if type(message) is kind:
            return name
    raise TypeError(f"{type(message).__name__} does not travel this way")


def _decode_body(message: _Message, kinds: Mapping[str, type[M]]) -> M:
    if message.version != VERSION:
        raise WireError(
            FailureCode.BAD_REQUEST,
            f"protocol version {message.version}, this ef-slurm speaks {VERSION}: "
            "install the same release on both hosts",
        )
    kind = kinds.get(message.kind)
    if kind is None:
        raise WireError(FailureCode.BAD_REQUEST, f"unknown message {message.kind!r}")
    try:
        return from_plain(kind, message.body, message.kind)
    except DecodeError as error:
        raise WireError(FailureCode.BAD_REQUEST, str(error)) from None


def _decode_message(data: bytes) -> _Message:
    try:
        return decode(_Message, data, "frame")
    except DecodeError as error:
        raise WireError(FailureCode.BAD_REQUEST, str(error)) from None


def _read_frame(stream: socket.socket, limit: int) -> bytes | None:
    head = _read_exactly(stream, _LENGTH.size, may_end=True)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > limit:
        raise WireError(
            FailureCode.BAD_REQUEST, f"a frame of {length} bytes, at most {limit} are accepted"
        )
    return _read_exactly(stream, length, may_end=False)


def _read_exactly(stream: socket.socket, size: int, *, may_end: bool) -> bytes | None:
    """`size` bytes. The wait for the first one is the socket's own time-out."""
    data = bytearray()
    while len(data) < size:
        try:
            piece = stream.recv(min(size - len(data), 1 << 16))
        except TimeoutError:
            raise DisconnectedError("the peer took too long over a frame") from None
        except ConnectionError as error:
            raise DisconnectedError(f"the connection broke: {error}") from None
        if not piece:
            if may_end and not data:
                return None
            raise DisconnectedError("the connection ended in the middle of a frame")
        data += piece
    return bytes(data)
