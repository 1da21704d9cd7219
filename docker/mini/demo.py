"""`minislurm demo`: brings a cluster up, plays docker/demo on it, takes it down."""

import subprocess
import sys

from mini import lifecycle
from mini.process import say
from mini.settings import CHECKOUT, Cluster


def demo(wanted: Cluster, *, keep: bool) -> int:
    """Six jobs on the cluster, five of them with deadlines; 0 if every promise was kept."""
    cluster = lifecycle.up(wanted)
    try:
        play = [sys.executable, "-m", "demo", cluster.name]
        return subprocess.run(play, cwd=CHECKOUT / "docker", check=False).returncode
    finally:
        if keep:
            say(
                f"{cluster.name} stays up; end it with: docker/minislurm down --name {cluster.name}"
            )
        else:
            lifecycle.down(cluster)
