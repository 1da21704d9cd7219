"""Authenticated messages between two processes of one launch, over TCP.

Both ends know the launch's secret and prove it with fresh random numbers (HMAC-SHA-256 over both
ends' nonces) before either believes anything. Each message then carries its number and codes over
number, length and text, under a key of this connection and direction: what is forged, changed,
replayed or out of order is never delivered. A message is JSON; nothing in it can be code.

A link outlives its connections: messages are kept until the peer has acknowledged them, and a new
connection begins with what the peer lacks. Messages are authenticated, not encrypted.
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 1 << 26
"""Largest message."""
HANDSHAKE_SECONDS = 10.0
"""Seconds that a handshake may take."""

_MAGIC = b"EFS1"
_NONCE = 32
_CODE = hashlib.sha256().digest_size
_HELLO = struct.Struct(">IQ")  # rank, number of the last message received
_NUMBER = struct.Struct(">Q")
_HEADER = struct.Struct(">IQQ")  # bytes of text, number (0: an acknowledgement), last received


class RefusedError(Exception):
    """The other end does not prove that it knows the secret, or a message is not as it was sent."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One authenticated connection.

    Args:
        rank: of the end that connected.
        send_key, receive_key: of this connection, one for each direction.
        peer_received: number of the last message that the peer has.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    rank: int
    send_key: bytes
    receive_key: bytes
    peer_received: int


def code(secret: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA-256 over the parts."""
    return hmac.new(secret, b"".join(parts), hashlib.sha256).digest()


async def answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    secret: bytes,
    received: Callable[[int], int],
) -> Channel:
    """The handshake of the end that was connected to.

    Args:
        received: rank → number of the last message received of it.

    Raises:
        RefusedError: the other end does not know the secret, or `received` raises it.
        OSError, asyncio.IncompleteReadError: the connection ended.
    """
    nonce = secrets.token_bytes(_NONCE)
    writer.write(_MAGIC + nonce)
    hello = await reader.readexactly(len(_MAGIC) + _HELLO.size + _NONCE)
    proof = await reader.readexactly(_CODE)
    if not hmac.compare_digest(proof, code(secret, b"connects", nonce, hello)):
        raise RefusedError("it does not know the secret of this launch")
    rank, peer_received = _HELLO.unpack_from(hello, len(_MAGIC))
    own = _NUMBER.pack(received(rank))
    writer.write(own + code(secret, b"answers", nonce, hello, own))
    to_server, to_client = _keys(secret, nonce, hello)
    return Channel(reader, writer, rank, to_client, to_server, peer_received)


async def connect(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    secret: bytes,
    rank: int,
    received: int,
) -> Channel:
    """The handshake of the end that connects.

    Raises:
        RefusedError: the other end does not know the secret.
        OSError, asyncio.IncompleteReadError: the connection ended.
    """
    opening = await reader.readexactly(len(_MAGIC) + _NONCE)
    if not opening.startswith(_MAGIC):
        raise RefusedError("it is no rank of a launch")
    nonce = opening[len(_MAGIC) :]
    hello = _MAGIC + _HELLO.pack(rank, received) + secrets.token_bytes(_NONCE)
    writer.write(hello + code(secret, b"connects", nonce, hello))
    reply = await reader.readexactly(_NUMBER.size)
    proof = await reader.readexactly(_CODE)
    if not hmac.compare_digest(proof, code(secret, b"answers", nonce, hello, reply)):
        raise RefusedError("it does not know the secret of this launch")
    to_server, to_client = _keys(secret, nonce, hello)
    return Channel(reader, writer, rank, to_server, to_client, *_NUMBER.unpack(reply))


def _keys(secret: bytes, nonce: bytes, hello: bytes) -> tuple[bytes, bytes]:
    return code(secret, b"to server", nonce, hello), code(secret, b"to client", nonce, hello)


class Link:
    """Messages to and from one peer, over one connection after another.

    All but `lost_seconds` belongs to the event loop's thread.

    Args:
        deliver: called with each message, once, in the order sent.
    """

    def __init__(self, deliver: Callable[[Any], None]):
        self._deliver = deliver
        self._kept: deque[tuple[int, bytes]] = deque()
        self._sent = 0
        self.received = 0
        self._channel: Channel | None = None
        self._down_since: float | None = time.monotonic()
        self.ever_connected = False

    @property
    def lost_seconds(self) -> float:
        """Seconds without a connection; 0 with one."""
        since = self._down_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def flushed(self) -> bool:
        """Whether the peer has everything that was sent."""
        return not self._kept

    def send(self, text: bytes) -> None:
        """Send now, or when there is a connection again."""
        self._sent += 1
        self._kept.append((self._sent, text))
        if self._channel is not None:
            self._write(self._channel, self._sent, text)

    async def serve(self, channel: Channel) -> None:
        """Use this connection until it ends; it takes the place of the one before.

        Raises:
            RefusedError: a message is not as it was sent.
            OSError, asyncio.IncompleteReadError: the connection ended.
        """
        self.drop()
        self._channel, self._down_since, self.ever_connected = channel, None, True
        try:
            self._acknowledged(channel.peer_received)
            for number, text in self._kept:
                self._write(channel, number, text)
            while True:
                await self._receive(channel)
        finally:
            channel.writer.close()
            if self._channel is channel:
                self._channel, self._down_since = None, time.monotonic()

    def drop(self) -> None:
        """End the connection, if there is one."""
        if self._channel is not None:
            self._channel.writer.close()

    async def _receive(self, channel: Channel) -> None:
        # The header first: a length that was changed would be waited for.
        header = await _read_proved(channel, _HEADER.size, b"")
        length, number, acknowledged = _HEADER.unpack(header)
        if length > MAX_BYTES:
            raise RefusedError(f"a message of {length} bytes")
        text = await _read_proved(channel, length, header) if length else b""
        self._acknowledged(acknowledged)
        if number <= self.received:
            return  # an acknowledgement, or sent again
        if number != self.received + 1:
            raise RefusedError(f"message {number} after message {self.received}")
        self.received = number
        self._deliver(json.loads(text))
        self._write(channel, 0, b"")

    def _acknowledged(self, number: int) -> None:
        while self._kept and self._kept[0][0] <= number:
            self._kept.popleft()

    def _write(self, channel: Channel, number: int, text: bytes) -> None:
        header = _HEADER.pack(len(text), number, self.received)
        channel.writer.write(header + code(channel.send_key, header))
        if text:
            channel.writer.write(text + code(channel.send_key, header, text))


async def _read_proved(channel: Channel, length: int, before: bytes) -> bytes:
    """So many bytes, with a code over them and what came before.

    Raises:
        RefusedError: they are not what was sent.
    """
    data = await channel.reader.readexactly(length)
    proof = await channel.reader.readexactly(_CODE)
    if not hmac.compare_digest(proof, code(channel.receive_key, before, data)):
        raise RefusedError("a message was changed on its way")
    return data
