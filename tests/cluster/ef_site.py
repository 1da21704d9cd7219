"""ef-slurm on the mini-Slurm as a site has it: its configuration, its directories, its daemon.

For cluster tests and for `docker/minislurm demo`; needs only a way to run a command on a host.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

CONFIGURATION = """\
[slurm]
partition = "ef"
query_interval = 0.5

[queue]
path = "/var/lib/ef-slurm/queue.sqlite"

[daemon]
serves = "everyone"
user = "ef-slurm"
socket = "/run/ef-slurm/ef-schedd.sock"
host = "ctl"

[jobs]
state_root = "/shared/ef-slurm/jobs"
verdict_wait = 20.0

[policy]
offer_resolution = {offer_resolution}

[overhead]
start = {start}
reshape = {reshape}
shrink = {shrink}

[timers]
tick = 0.5
idle_tick = 5.0
acknowledge = 15.0
stop = 60.0
"""

DEFAULTS: Mapping[str, float] = {
    "start": 12.0,
    "reshape": 15.0,
    "shrink": 15.0,
    "offer_resolution": 5.0,
}
# The queue's lock file names the daemon that owns, or last owned, the queue.
STOP = """
pid=$(sed -n 's/^pid \\([0-9]*\\) .*/\\1/p' /var/lib/ef-slurm/queue.sqlite.lock 2>/dev/null)
alive() { [ -n "$pid" ] && grep -qs ef-schedd "/proc/$pid/cmdline"; }
alive || exit 0
kill -SIGNAL "$pid"
for i in $(seq 150); do alive || exit 0; sleep 0.1; done
exit 1
"""
LOG = "/var/lib/ef-slurm/ef-schedd.log"


class Shell(Protocol):
    """Runs a shell command on a host of the cluster; its output. Raises if it fails."""

    def __call__(
        self, command: str, *, user: str = ..., on: str = ..., stdin: str | None = ...
    ) -> str: ...


@dataclass
class Site:
    """One cluster's ef-slurm.

    Args:
        shell: how to run commands.
        settings: what differs from `DEFAULTS`.
    """

    shell: Shell
    settings: Mapping[str, float] = field(default_factory=dict)

    def prepare(self) -> None:
        """Configuration on the hosts that need it, and the state root; the queue is emptied."""
        text = CONFIGURATION.format(**{**DEFAULTS, **self.settings})
        for host in ("ctl", "login"):
            self.shell(
                "mkdir -p /etc/ef-slurm && cat > /etc/ef-slurm/ef-slurm.toml",
                user="root",
                on=host,
                stdin=text,
            )
        # Users make their jobs' directories there; the group lets the daemon write its orders.
        self.shell(
            "mkdir -p /shared/ef-slurm/jobs && chgrp ef-slurm /shared/ef-slurm/jobs"
            " && chmod 3777 /shared/ef-slurm/jobs",
            user="root",
            on="ctl",
        )
        self.shell(
            "cd /var/lib/ef-slurm && rm -f queue.sqlite queue.sqlite-wal queue.sqlite-shm",
            user="root",
            on="ctl",
        )

    def start(self) -> int:
        """Start ef-schedd as a service would; returns its process id when it answers."""
        pid = self.shell(
            f"setsid nohup ef-schedd run >>{LOG} 2>&1 </dev/null & echo $!",
            user="ef-slurm",
            on="ctl",
        )
        number = int(pid.split()[-1])
        for _ in range(100):
            probe = "test -S /run/ef-slurm/ef-schedd.sock && echo up || true"
            if "up" in self.shell(probe, on="ctl", user="root"):
                return number
            time.sleep(0.1)
        raise RuntimeError(f"ef-schedd does not come up:\n{self.log()}")

    def stop(self, signal: str = "TERM") -> None:
        """End the daemon that owns the queue with a signal, if there is one, and wait for that."""
        self.shell(STOP.replace("SIGNAL", signal), user="root", on="ctl")

    def log(self) -> str:
        """What ef-schedd wrote."""
        return self.shell(f"cat {LOG} 2>/dev/null || true", user="root", on="ctl")
