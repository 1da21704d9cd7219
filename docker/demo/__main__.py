"""Play the demo on a mini-Slurm that is up: `cd docker; python3 -m demo NAME`.

Installs ef-slurm's site configuration there, starts ef-schedd, lets user1 play `scenario`, and
brings the report to this host. Needs nothing but Python.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mini.client import PROGRAM, MiniSlurm
from mini.site import Site

from demo.jobs import OVERHEAD_SECONDS, TYPICAL_START_SECONDS

USER = "user1"
# A start on four nodes, which import torch once each, beside what trains on others.
START_OF_IMPORTS = 2.8
WARM_UP = "for i in 1 2 3 4; do python3 -c 'import torch.distributed' & done; wait"


def main(name: str, factor: float | None = None) -> int:
    """Play it on the cluster of that name; 0 if every promise was kept.

    Args:
        factor: how much slower the machine is than the demo counts on, where that is known.
    """
    cluster = MiniSlurm.named(name)
    if cluster is None:
        print(f"no mini-Slurm named {name!r} is up: docker/minislurm up", file=sys.stderr)
        return 2
    if factor is None:
        factor = slowdown(cluster)
    seconds = OVERHEAD_SECONDS * factor
    overheads = {"start": seconds, "restart": seconds, "shrink": seconds}

    def shell(
        command: str, *, user: str = "root", on: str = "login", stdin: str | None = None
    ) -> str:
        return cluster.output(command, user=user, on=on, stdin=stdin)

    site = Site(shell, overheads)
    site.stop()
    site.prepare()
    site.start()
    try:
        code = play(cluster, factor)
        fetch(cluster)
    finally:
        site.stop()
    return code


def slowdown(cluster: MiniSlurm) -> float:
    """How much slower this machine is than the demo counts on; 1 where it is quicker.

    Its processors do what GPUs would not: import torch on every node for every start.
    """
    seconds = 0.0
    # The first time it comes from the disk.
    for _ in range(2):
        started = time.monotonic()
        cluster.run(WARM_UP, user=USER, timeout=600)
        seconds = time.monotonic() - started
    estimate = START_OF_IMPORTS * seconds
    factor = max(1.0, estimate / TYPICAL_START_SECONDS)
    if factor > 1.0:
        print(
            f"A start takes about {estimate:.0f} s here: the demo takes {factor:.1f} times longer.",
            flush=True,
        )
    return factor


def play(cluster: MiniSlurm, factor: float) -> int:
    """The scenario, in full view."""
    # Beside what is on it: by it native hosts find ef-slurm.
    path = f"PYTHONPATH={cluster.checkout}/docker:$PYTHONPATH"
    scenario = f"{path} python3 -m demo.scenario --out demo --slowdown {factor:.2f}"
    options = ["--name", cluster.name, "--user", USER]
    print(f"{USER}@login$ {scenario}", flush=True)
    words = [sys.executable, str(PROGRAM), "exec", *options, "--", "sh", "-c", scenario]
    return subprocess.run(words, check=False).returncode


def fetch(cluster: MiniSlurm) -> None:
    """Copy the report to this host and say where it is."""
    report = cluster.run("cat demo/report.html", user=USER, check=False)
    if report.returncode == 0:
        path = Path(tempfile.gettempdir()) / f"ef-slurm-demo-{cluster.name}.html"
        path.write_text(report.stdout, encoding="utf-8")
        print(f"Picture and story: {path}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "minislurm"))
