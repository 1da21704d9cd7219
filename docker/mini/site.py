"""ef-slurm on the mini-Slurm as a site has it: its configuration, its directories, its daemon.

For cluster tests and for `docker/minislurm demo`; needs only a way to run a command on a host.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

USERS = ("user1", "user2", "ef-slurm")

CONFIGURATION = """\
[slurm]
partition = "ef"
query_interval = 0.5

[queue]
path = "{ef_lib}/queue.sqlite"

[daemon]
serves = "everyone"
user = "ef-slurm"
socket = "{socket}"
host = "{host}"

[jobs]
state_root = "{shared}/ef-slurm/jobs"
verdict_wait = 20.0

[policy]
offer_resolution = {offer_resolution}

[overhead]
start = {start}
grow = {restart}
move = {restart}
restart = {restart}
shrink = {shrink}

[timers]
tick = 0.5
idle_tick = 5.0
acknowledge = 15.0
stop = 60.0
ready = {ready}
"""

DEFAULTS: Mapping[str, float] = {
    "start": 12.0,
    "restart": 15.0,
    "shrink": 15.0,
    "offer_resolution": 5.0,
    "ready": 0.0,
}

# The queue's lock file names the daemon that owns, or last owned, the queue.
STOP = """
pid=$(sed -n 's/^pid \\([0-9]*\\) .*/\\1/p' "$QUEUE.lock" 2>/dev/null)
alive() { [ -n "$pid" ] && grep -qs ef-schedd "/proc/$pid/cmdline"; }
alive && kill -SIGNAL "$pid"
for i in $(seq 150); do alive || { rm -f "$SOCKET"; exit 0; }; sleep 0.1; done
exit 1
"""


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

    @cached_property
    def layout(self) -> Mapping[str, Any]:
        """What the mini-Slurm tells its hosts about itself."""
        text = self.shell('cat "$MINISLURM_LAYOUT"', user="root", on="ctl")
        layout: Mapping[str, Any] = json.loads(text)
        return layout

    @property
    def paths(self) -> Mapping[str, str]:
        """Directories as the hosts see them: ef_lib, ef_run, shared, checkout, …"""
        paths: Mapping[str, str] = self.layout["paths"]
        return paths

    @property
    def socket(self) -> str:
        """Where ef-schedd listens on ctl."""
        return f"{self.paths['ef_run']}/ef-schedd.sock"

    @property
    def log_file(self) -> str:
        """Where ef-schedd writes, on ctl."""
        return f"{self.paths['ef_lib']}/ef-schedd.log"

    @property
    def jobs_dir(self) -> str:
        """Where the jobs' state directories are."""
        return f"{self.paths['shared']}/ef-slurm/jobs"

    @property
    def orders_dir(self) -> str:
        """Where the daemon leaves its orders."""
        return f"{self.paths['shared']}/ef-slurm/orders"

    def prepare(self) -> None:
        """Everybody's configuration, and the directories; queue and records are emptied."""
        # Hosts of the native engine are one machine: TCP between them would prove nothing.
        host = "" if self.layout["engine"] == "native" else "ctl"
        values = {**DEFAULTS, **self.settings, **self.paths, "host": host, "socket": self.socket}
        for user in USERS:
            self.shell(
                "mkdir -p ~/.config/ef-slurm && cat > ~/.config/ef-slurm/ef-slurm.toml",
                user=user,
                on="login",
                stdin=CONFIGURATION.format(**values),
            )
        lib = shlex.quote(self.paths["ef_lib"])
        orders = shlex.quote(self.orders_dir)
        own = f"{shlex.quote(self.paths['shared'])}/home/ef-slurm/.config/ef-slurm/ef-slurm.toml"
        # The native engine's hosts are this machine, whose /etc is not the cluster's.
        site = own if self.layout["engine"] == "native" else "/etc/ef-slurm/ef-slurm.toml"
        self.shell(
            f"test {own} -ef {site} || install -D -m 0644 {own} {site}"
            f" && ef-schedd setup --service --yes --only=directories --config={site} && cd {lib}"
            " && rm -f queue.sqlite queue.sqlite-wal queue.sqlite-shm"
            f" && rm -rf {orders}/records {orders}/daemon.json",
            user="root",
            on="ctl",
        )

    def start(self) -> int:
        """Start ef-schedd as a service would; returns its process id when it answers."""
        log = shlex.quote(self.log_file)
        socket = shlex.quote(self.socket)
        pid = self.shell(
            f"setsid nohup ef-schedd run >>{log} 2>&1 </dev/null & echo $!;"
            f" for i in $(seq 300); do test -S {socket} && exit 0; sleep 0.1; done; exit 1",
            user="ef-slurm",
            on="ctl",
        )
        return int(pid.split()[0])

    def stop(self, signal: str = "TERM") -> None:
        """End the daemon that owns the queue with a signal, if there is one, and wait for that."""
        queue = shlex.quote(f"{self.paths['ef_lib']}/queue.sqlite")
        places = f"QUEUE={queue} SOCKET={shlex.quote(self.socket)}"
        self.shell(places + STOP.replace("SIGNAL", signal), user="root", on="ctl")

    def log(self) -> str:
        """What ef-schedd wrote."""
        command = f"cat {shlex.quote(self.log_file)} 2>/dev/null || true"
        return self.shell(command, user="root", on="ctl")
