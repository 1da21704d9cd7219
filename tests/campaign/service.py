"""ef-schedd as a service manager runs it: started again whenever it dies."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mini.site import Site

from tests.campaign.hosts import Hosts

PLACE = "/run/ef-slurm"
CLOCK = f"{PLACE}/clock"
LIBRARY = f"{PLACE}/stepped_clock.so"
SOURCE = Path(__file__).with_name("stepped_clock.c")

# As systemd does it with Restart=on-failure, but that it waits only a second.
SUPERVISOR = """\
while [ ! -e {place}/over ]; do
    env {environment} ef-schedd run >>{log} 2>&1 </dev/null
    echo "campaign: ef-schedd ended with $?" >>{log}
    sleep 1
done
"""


def clock_library(directory: Path) -> Path | None:
    """Compile the library that steps a clock, into a directory; None without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = directory / "stepped_clock.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return library


@dataclass(frozen=True)
class Service:
    """The daemon of the campaign.

    Args:
        clock: the library that steps the daemon's clock (`clock_library`). None: its clock is the
            host's.
        log: where it writes, on ctl.
    """

    hosts: Hosts
    site: Site
    clock: Path | None
    log: str

    @property
    def has_clock(self) -> bool:
        return self.clock is not None

    def start(self) -> None:
        """Start it with an empty queue; it answers when this returns."""
        self.site.stop("KILL")
        self.site.prepare()
        self.hosts.run("ctl", f"rm -f {PLACE}/over")
        environment: list[str] = []
        if self.clock is not None:
            self.hosts.docker("cp", str(self.clock), f"{self.hosts.container('ctl')}:{LIBRARY}")
            self.set_clock(0)
            environment = [f"LD_PRELOAD={LIBRARY}", f"CAMPAIGN_CLOCK={CLOCK}"]
        script = SUPERVISOR.format(
            place=PLACE, environment=" ".join(environment), log=shlex.quote(self.log)
        )
        self.hosts.run(
            "ctl",
            f"setsid nohup bash -c {shlex.quote(script)} >/dev/null 2>&1 </dev/null &"
            f" for i in $(seq 300); do test -S {self.site.socket} && exit 0; sleep 0.1; done;"
            " exit 1",
            user="ef-slurm",
        )

    def stop(self) -> None:
        """End it for good."""
        self.hosts.run("ctl", f"touch {PLACE}/over")
        self.set_clock(0)
        self.signal("CONT")
        self.signal("TERM")

    def kill(self) -> None:
        self.signal("KILL")

    def signal(self, name: str) -> None:
        self.hosts.run("ctl", f"pkill -{name} -f '[e]f-schedd run$'", check=False)

    def set_clock(self, seconds: int) -> None:
        """Set the daemon's clock off by so much, at once."""
        if self.clock is None:
            return
        new = f"{CLOCK}.new"
        self.hosts.run("ctl", f"echo '{seconds:+d}' > {new} && mv {new} {CLOCK}")

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the queue holds, read beside the daemon.

        Raises:
            HostError: it cannot be read now.
        """
        program = (
            "import json, sqlite3, sys\n"
            f"db = sqlite3.connect('file:{self.site.paths['ef_lib']}/queue.sqlite?mode=ro',"
            " uri=True, timeout=5)\n"
            "db.row_factory = sqlite3.Row\n"
            "print(json.dumps([dict(row) for row in db.execute(sys.argv[1])]))\n"
        )
        command = f"python3 -c {shlex.quote(program)} {shlex.quote(query)}"
        found: list[dict[str, Any]] = json.loads(
            self.hosts.run("ctl", command, user="ef-slurm", timeout=20)
        )
        return found
