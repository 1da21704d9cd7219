"""The servers of a launch agree: who starts the ranks, and where these meet.

The one on the first node listens at one of several ports (`places`); the others look at all. Both
ends prove with HMAC-SHA-256 over fresh random numbers that they know the launch's secret. A node
says one line and hears two: at once that it is known, and what all nodes do. The connection stays
until the ranks of the node have ended, so that the store outlives them all.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import secrets
import selectors
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

MEETING_SECONDS = 600.0
"""For which the other nodes are waited for: a cold file system takes minutes to give torch away."""
LEAVING_SECONDS = 300.0
"""For which the first node waits for the ranks of the others, as torchrun does."""
_LINE = 65536
_PATIENCE = 10.0
_GREETING_SECONDS = 2.0
_STRANGERS = 64
_FIRST_PORT, _PORTS = 15000, 45000
_HIDDEN = 4


class NoMeetingError(Exception):
    """The nodes did not come together; the text says who is missing."""


@dataclass(frozen=True)
class Agreed:
    """What holds for all nodes.

    Args:
        obstacle: why torchrun starts the ranks; "": they are forked.
        port: of the store.
        agent_store: whether no rank holds it.
    """

    obstacle: str = ""
    port: int = 0
    agent_store: bool = True


def _code(secret: str, nonce: str, text: str) -> str:
    return hmac.new(secret.encode(), f"{nonce} {text}".encode(), hashlib.sha256).hexdigest()


def _pack(secret: str, nonce: str, values: Mapping[str, Any]) -> bytes:
    text = json.dumps(values)
    return f"{_code(secret, nonce, text)} {text}\n".encode()


def _unpack(secret: str, nonce: str, line: str) -> dict[str, Any] | None:
    """The values of a line, or None where it is not from one who knows the secret."""
    code, _, text = line.partition(" ")
    if not hmac.compare_digest(code.encode(), _code(secret, nonce, text).encode()):
        return None
    values = json.loads(text)
    return values if isinstance(values, dict) else None


def places(port: int, secret: str) -> tuple[int, ...]:
    """The ports for a meeting, in the order in which they are tried.

    The port behind that of the rendezvous, that one, and some that follow from the secret: those
    before can be foreseen, and taken, by whoever else has processes on the first node.
    """
    digest = hashlib.sha256(f"places {secret}".encode()).digest()
    hidden = (
        _FIRST_PORT + int.from_bytes(digest[at : at + 4], "big") % _PORTS
        for at in range(0, 4 * _HIDDEN, 4)
    )
    return (port + 1, port, *hidden)


def listen(port: int, secret: str) -> socket.socket:
    """Where the first node waits for the others.

    Raises:
        OSError: all places are taken.
    """
    *most, last = places(port, secret)
    for place in most:
        with suppress(OSError):
            return _listen(place)
    return _listen(last)


def _listen(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return _server(port, socket.AF_INET6)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
    return _server(port, socket.AF_INET)  # IPv6 is switched off


def _server(port: int, family: socket.AddressFamily) -> socket.socket:
    return socket.create_server(
        ("", port), family=family, backlog=1024, dualstack_ipv6=family is socket.AF_INET6
    )


@dataclass
class _Guest:
    """Somebody who has connected.

    Args:
        nonce: what it has to sign.
        answer_nonce: what it wants signed.
        node: its number; -1 until it has proved that it is one.
    """

    connection: socket.socket
    nonce: str
    since: float
    heard: bytes = b""
    answer_nonce: str = ""
    node: int = -1


@dataclass
class Host:
    """The first node's side.

    Args:
        listener: from `listen`.
        nodes: of the launch, this one included.
        names: of the nodes, for a complaint.
    """

    listener: socket.socket
    nodes: int
    secret: str
    names: tuple[str, ...] = ()
    _guests: dict[int, _Guest] = field(default_factory=dict)

    def gather(self, seconds: float = MEETING_SECONDS) -> dict[int, str]:
        """Wait for all others; what stands in the way on each of them, by its number.

        Raises:
            NoMeetingError: somebody did not come in time.
        """
        found: dict[int, str] = {}
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            while len(found) < self.nodes - 1:
                left = end - time.monotonic()
                if left <= 0:
                    raise NoMeetingError(self._missing(found, seconds))
                for key, _ in selector.select(min(left, 1.0)):
                    if key.fileobj is self.listener:
                        self._admit(selector)
                    else:
                        self._hear(selector, self._guests[key.fd], found)
                self._show_out(selector)
        for guest in [*self._guests.values()]:
            if guest.node < 0:
                self._drop(None, guest)
        return found

    @property
    def connections(self) -> list[socket.socket]:
        """To all others, which are silent as long as they are there."""
        return [guest.connection for guest in self._guests.values()]

    def tell(self, agreed: Agreed) -> None:
        """Say to all others what holds."""
        values = {
            "obstacle": agreed.obstacle,
            "port": agreed.port,
            "agent_store": agreed.agent_store,
        }
        for guest in self._guests.values():
            self._say(guest, values)

    def await_leave(self, seconds: float = LEAVING_SECONDS) -> None:
        """Return when the ranks of all other nodes have ended."""
        end = time.monotonic() + seconds
        for guest in self._guests.values():
            with suppress(OSError):
                guest.connection.settimeout(max(0.1, end - time.monotonic()))
                while guest.connection.recv(_LINE):
                    pass

    def close(self) -> None:
        """Leave, and let nobody in any more."""
        self.listener.close()
        for guest in self._guests.values():
            guest.connection.close()
        self._guests.clear()

    def _say(self, guest: _Guest, values: Mapping[str, Any]) -> None:
        with suppress(OSError):  # its ranks, or their absence, will tell
            guest.connection.sendall(_pack(self.secret, guest.answer_nonce, values))

    def _missing(self, found: Mapping[int, str], seconds: float) -> str:
        missing = [node for node in range(1, self.nodes) if node not in found]
        names = [self.names[node] if node < len(self.names) else f"{node}" for node in missing[:5]]
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return (
            f"after {seconds:.0f} s no word of {len(missing)} of {self.nodes} nodes: "
            f"{', '.join(names)}{more}; they cannot reach port "
            f"{self.listener.getsockname()[1]} of this node, or have not got so far"
        )

    def _admit(self, selector: selectors.BaseSelector) -> None:
        with suppress(OSError):
            connection, _ = self.listener.accept()
            guest = _Guest(connection, secrets.token_hex(16), time.monotonic())
            connection.settimeout(_PATIENCE)
            self._guests[connection.fileno()] = guest
            selector.register(connection, selectors.EVENT_READ)
            try:
                connection.sendall(f"{guest.nonce}\n".encode())
            except OSError:
                self._drop(selector, guest)

    def _hear(self, selector: selectors.BaseSelector, guest: _Guest, found: dict[int, str]) -> None:
        try:
            data = guest.connection.recv(_LINE)
        except OSError:
            data = b""
        guest.heard += data
        if data and b"\n" not in guest.heard and len(guest.heard) < _LINE:
            return
        try:
            line = guest.heard.partition(b"\n")[0].decode()
            values = _unpack(self.secret, guest.nonce, line) if data else None
            if values is not None:
                node, obstacle = int(values["node"]), str(values["obstacle"])
                guest.answer_nonce = str(values["nonce"])
                # Who stands between has connected to another port than the node.
                here = int(values["port"]) == self.listener.getsockname()[1]
                if here and 0 < node < self.nodes and node not in found:
                    self._say(guest, {"known": node})
                    found[node], guest.node = obstacle, node
                    selector.unregister(guest.connection)
                    return
        except (ValueError, KeyError, TypeError):
            pass
        self._drop(selector, guest)

    def _show_out(self, selector: selectors.BaseSelector) -> None:
        """Strangers who say nothing, and the oldest where they are many."""
        strangers = [guest for guest in self._guests.values() if guest.node < 0]
        now = time.monotonic()
        many = len(strangers) - _STRANGERS - self.nodes
        for number, guest in enumerate(strangers):
            if number < many or now - guest.since > _PATIENCE:
                self._drop(selector, guest)

    def _drop(self, selector: selectors.BaseSelector | None, guest: _Guest) -> None:
        if selector is not None:
            selector.unregister(guest.connection)
        del self._guests[guest.connection.fileno()]
        guest.connection.close()


def attend(
    address: str, port: int, node: int, secret: str, obstacle: str, seconds: float = MEETING_SECONDS
) -> tuple[Agreed, socket.socket]:
    """The other nodes' side: what holds for all, and the connection to keep.

    Raises:
        NoMeetingError: the first node is not there, or says nothing.
    """
    end = time.monotonic() + seconds
    problem = ""
    while time.monotonic() < end:
        for place in places(port, secret):
            try:
                return _attend(address, place, node, secret, obstacle, end)
            except (OSError, ValueError, KeyError) as error:
                problem = f"{type(error).__name__}: {error}" if str(error) else "no answer"
        time.sleep(0.05)
    raise NoMeetingError(
        f"after {seconds:.0f} s the first node was not found at {address}, ports "
        f"{', '.join(map(str, places(port, secret)))}: {problem}"
    )


def _attend(
    address: str, port: int, node: int, secret: str, obstacle: str, end: float
) -> tuple[Agreed, socket.socket]:
    connection = socket.create_connection((address, port), timeout=_PATIENCE)
    try:
        # The first node speaks first, and at once; somebody else may listen here and be silent.
        connection.settimeout(_GREETING_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        stream = connection.makefile("rb")
        nonce = stream.readline(_LINE).decode().strip()
        own = secrets.token_hex(16)
        values = {"node": node, "nonce": own, "obstacle": obstacle, "port": port}
        connection.sendall(_pack(secret, nonce, values))
        # Only who knows the secret is waited for.
        connection.settimeout(_PATIENCE)
        if _heard(stream, secret, own)["known"] != node:
            raise ValueError("it takes this node for another one")
        connection.settimeout(max(1.0, end - time.monotonic()))
        said = _heard(stream, secret, own)
        agreed = Agreed(str(said["obstacle"]), int(said["port"]), bool(said["agent_store"]))
    except BaseException:
        connection.close()
        raise
    return agreed, connection


def _heard(stream: Any, secret: str, nonce: str) -> Mapping[str, Any]:
    said = _unpack(secret, nonce, stream.readline(_LINE).decode().rstrip("\n"))
    if said is None:
        raise ValueError("somebody else listens there")
    return said


def node_names() -> tuple[str, ...]:
    """As the batch script has them."""
    return tuple(name for name in os.environ.get("EF_NODES", "").split(",") if name)
