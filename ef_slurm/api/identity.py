"""Who is at the other end: the kernel's or munged's word, never the message's."""

from __future__ import annotations

import enum
import pwd
import socket
import struct
from dataclasses import dataclass

_PEER = struct.Struct("3i")  # pid, uid, gid: struct ucred


class Transport(enum.Enum):
    """How a peer is connected, and so how it proves who it is."""

    UNIX = "unix"
    TCP = "tcp"
    WEB = "web"  # TCP too, of browsers and proxies: nothing but pages


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

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
        return user_name(self.uid)


def user_name(uid: int) -> str:
    """The name of a user on this host, or the uid as text."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def peer_of(stream: socket.socket) -> tuple[int, int]:
    """uid and gid at the other end of a UNIX socket (SO_PEERCRED, unix(7)).

    Of a client that connected they are those of whoever listens there.
    """
    raw = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, uid, gid = _PEER.unpack(raw)
    return uid, gid
