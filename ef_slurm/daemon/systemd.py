"""What systemd is told of a service of Type=notify (sd_notify(3)): ready, alive, stopping.

Also what it does, in the line that `systemctl status` shows to everybody on the host.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping

from ef_slurm.formats.printing import printable

STATUS_SECONDS = 10.0
"""Seconds between two looks at whether there is something else to say."""
_WATCHES = 4
"""Signs of life in the time after which systemd would give up."""


class Notifier:
    """Tells systemd; without a systemd that wants to know, nobody.

    Args:
        environment: with NOTIFY_SOCKET, where systemd listens, and WATCHDOG_USEC, after how many
            microseconds without a sign of life it restarts the service.
        clock: monotonic seconds.
    """

    def __init__(self, environment: Mapping[str, str], clock: Callable[[], float]) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # A leading @ is an abstract name, whose first byte is 0.
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._clock = clock
        limit = environment.get("WATCHDOG_USEC", "")
        self._interval = int(limit) / 1e6 / _WATCHES if limit.isdecimal() else None
        self._told_at: float | None = None
        self._status = ""
        self._status_at: float | None = None

    def ready(self) -> None:
        """The service can be asked now."""
        self._tell("READY=1")

    def alive(self) -> None:
        """The service still does its work. May be called as often as one likes."""
        now = self._clock()
        if self._interval is None:
            return
        if self._told_at is None or not 0.0 <= now - self._told_at < self._interval:
            self._told_at = now
            self._tell("WATCHDOG=1")

    def does(self, words: Callable[[], str]) -> None:
        """What the service does, in one line. May be called as often as one likes."""
        now = self._clock()
        if not self._address:
            return
        if self._status_at is None or not 0.0 <= now - self._status_at < STATUS_SECONDS:
            self._status_at = now
            said = printable(words())
            if said != self._status:
                self._status = said
                self._tell(f"STATUS={said}")

    def stopping(self) -> None:
        """The service ends of its own accord."""
        self._tell("STOPPING=1\nSTATUS=stopping")

    def _tell(self, what: str) -> None:
        if not self._address:
            return
        # Whoever does not listen need not know.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.settimeout(1.0)
            to.sendto(what.encode(), self._address)
