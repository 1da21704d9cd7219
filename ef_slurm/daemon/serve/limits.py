"""How much one user may ask, and all together: token buckets and places for connections.

Nothing here waits or knows a socket; whoever is told no tells the peer. All of it belongs to the
server's own thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

_MOST_OWED = 4.0
"""How many bursts a bucket may owe."""


@dataclass(frozen=True, slots=True)
class ServeLimits:
    """What the server grants; the site's [api] table sets it.

    Args:
        connections: open at a time in all, beside what is reserved for each user.
        connections_per_user: of one user at a time.
        reserved_per_user: connections that a user gets even when all others are taken.
        unauthenticated_per_address: TCP connections of one address that have not said yet who
            they are.
        request_seconds: for a request to arrive in full.
        idle_seconds: for which a connection may ask nothing.
        requests_per_second: of one user in the long run; at once a `burst`. A request whose
            answer takes more of this process's time than `cheap_seconds` counts as several.
        what_ifs_per_minute: verdicts without a submission, of one user.
    """

    connections: int = 512
    connections_per_user: int = 64
    reserved_per_user: int = 4
    unauthenticated_per_address: int = 64
    request_seconds: float = 10.0
    idle_seconds: float = 30.0
    requests_per_second: float = 20.0
    burst: float = 100.0
    cheap_seconds: float = 0.01
    what_ifs_per_minute: float = 60.0


class Buckets:
    """A token bucket for each key (a uid, an address).

    Args:
        rate: tokens per second.
        burst: tokens that a full bucket holds.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[Hashable, tuple[float, float]] = {}  # tokens, as of when
        self._swept_at = 0.0

    def take(self, key: Hashable, now: float) -> float:
        """Take a token.

        Returns:
            0.0, or the seconds after which there will be one.
        """
        self._sweep(now)
        tokens, at = self._buckets.get(key, (self._burst, now))
        tokens = min(self._burst, tokens + max(0.0, now - at) * self._rate)
        if tokens < 1.0:
            self._buckets[key] = (tokens, now)
            return (1.0 - tokens) / self._rate
        self._buckets[key] = (tokens - 1.0, now)
        return 0.0

    def charge(self, key: Hashable, tokens: float, now: float) -> None:
        """Take tokens for what was done already; the bucket may come to owe some."""
        held, at = self._buckets.get(key, (self._burst, now))
        held = min(self._burst, held + max(0.0, now - at) * self._rate)
        self._buckets[key] = (max(held - tokens, -_MOST_OWED * self._burst), now)

    def __len__(self) -> int:
        return len(self._buckets)

    def _sweep(self, now: float) -> None:
        """Forget buckets that are full again."""
        full_after = (1.0 + _MOST_OWED) * self._burst / self._rate
        if 0.0 <= now - self._swept_at < full_after:
            return
        self._swept_at = now
        self._buckets = {
            key: bucket for key, bucket in self._buckets.items() if now - bucket[1] < full_after
        }


class Places:
    """Connections that are open, by user; and those that have not said yet whose they are."""

    def __init__(self, limits: ServeLimits) -> None:
        self._limits = limits
        self._users: Counter[int] = Counter()
        self._shared = 0

    def enter(self, uid: int) -> str | None:
        """Take a place.

        Returns:
            None, or why there is none.
        """
        held, most = self._users[uid], self._limits.connections_per_user
        if held >= most:
            return f"you have {held} connections to ef-schedd already, the most allowed"
        if held >= self._limits.reserved_per_user:
            if self._shared >= self._limits.connections:
                return f"ef-schedd has {self._shared} connections already: try again"
            self._shared += 1
        self._users[uid] += 1
        return None

    def leave(self, uid: int) -> None:
        """Give a place back."""
        if self._users[uid] > self._limits.reserved_per_user:
            self._shared -= 1
        self._users[uid] -= 1
        if self._users[uid] <= 0:
            del self._users[uid]

    def held(self, uid: int) -> int:
        """Connections of a user."""
        return self._users.get(uid, 0)
