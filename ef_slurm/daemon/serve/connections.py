"""All connections: whose they are, and who has to wait for one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from ef_slurm.api.identity import Transport, peer_of
from ef_slurm.api.messages import Failure, FailureCode
from ef_slurm.daemon.serve.gate import Gate
from ef_slurm.daemon.serve.limits import Places, ServeLimits
from ef_slurm.daemon.serve.web.access import is_loopback

MOST_LINGERING = 256
"""Refused connections that may stay for a moment to see why."""


class Connections:
    """The gates that are open. Belongs to the server's event loop.

    Args:
        greet: what to do with an ef-slurm from before HTTP.
    """

    def __init__(
        self, limits: ServeLimits, greet: Callable[[Gate, asyncio.Transport], None]
    ) -> None:
        self._limits = limits
        self._greet = greet
        self._places = Places(limits)
        self._placed: dict[Gate, int] = {}
        self._unknown: dict[str, OrderedDict[Gate, None]] = {}
        self._unknown_count = 0
        self._lingering: set[Gate] = set()
        self._by_inner: dict[object, Gate] = {}

    @property
    def limits(self) -> ServeLimits:
        """How long a peer may take."""
        return self._limits

    def gate_of(self, inner: object) -> Gate:
        """The gate before one of aiohttp's protocols."""
        return self._by_inner[inner]

    def admit(self, gate: Gate, transport: asyncio.Transport) -> Failure | None:
        """A connection was made; None where it may stay."""
        if gate.kind is Transport.UNIX:
            gate.uid, gate.gid = peer_of(transport.get_extra_info("socket"))
            failure = self._place(gate, gate.uid)
        else:
            gate.address = _origin(str(transport.get_extra_info("peername")[0]))
            failure = self._admit_unknown(gate)
        if failure is None:
            self._by_inner[gate.inner] = gate
        return failure

    def identified(self, gate: Gate, uid: int, gid: int) -> Failure | None:
        """A TCP peer has shown whose connection it is; None where it may stay."""
        if gate.uid is not None:
            if gate.uid == uid:
                return None
            return Failure(
                FailureCode.UNAUTHENTICATED, "this connection is another user's: open one yourself"
            )
        self._forget_unknown(gate)
        gate.uid, gate.gid = uid, gid
        return self._place(gate, uid)

    def may_linger(self, gate: Gate) -> bool:
        """It is refused: its place is free; whether it may stay for a moment to see why."""
        self.gone(gate)
        if len(self._lingering) >= MOST_LINGERING:
            return False
        self._lingering.add(gate)
        return True

    def gone(self, gate: Gate) -> None:
        """A connection is over."""
        self._lingering.discard(gate)
        self._by_inner.pop(gate.inner, None)
        self._forget_unknown(gate)
        uid = self._placed.pop(gate, None)
        if uid is not None:
            self._places.leave(uid)

    def greet_frames(self, gate: Gate, transport: asyncio.Transport) -> None:
        """An ef-slurm from before HTTP is there."""
        self._greet(gate, transport)

    def abort_all(self) -> None:
        """Close every connection at once."""
        for gate in (*self._by_inner.values(), *self._lingering):
            gate.abort()

    def __len__(self) -> int:
        return len(self._placed) + self._unknown_count

    def _place(self, gate: Gate, uid: int) -> Failure | None:
        why = self._places.enter(uid)
        if why is not None:
            return Failure(FailureCode.TOO_MANY, why)
        self._placed[gate] = uid
        return None

    def _admit_unknown(self, gate: Gate) -> Failure | None:
        """Room for a TCP peer, if need be in place of the one that has said nothing for longest.

        Where all are taken, that is one of the address that has most: one user may have many.
        """
        unknown = self._unknown.setdefault(gate.address, OrderedDict())
        full = len(unknown) >= self._limits.unauthenticated_per_address
        if full or self._unknown_count >= self._limits.connections:
            busy = Failure(FailureCode.BUSY, "too many connections without a credential: try again")
            most = [unknown] if full else sorted(self._unknown.values(), key=len, reverse=True)
            oldest = next((other for each in most for other in each if other.is_reading), None)
            if oldest is None:
                if not unknown:
                    del self._unknown[gate.address]
                return busy
            oldest.refuse(busy)
            unknown = self._unknown.setdefault(gate.address, OrderedDict())
        unknown[gate] = None
        self._unknown_count += 1
        return None

    def _forget_unknown(self, gate: Gate) -> None:
        unknown = self._unknown.get(gate.address)
        if unknown is None or gate not in unknown:
            return
        del unknown[gate]
        self._unknown_count -= 1
        if not unknown:
            del self._unknown[gate.address]


def _origin(address: str) -> str:
    """As what a TCP peer is counted: whoever is on this host has all of 127.0.0.0/8."""
    return "127.0.0.1" if is_loopback(address) else address
