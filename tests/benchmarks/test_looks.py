"""What a look at all jobs costs Slurm's command and whoever reads what it writes.
MINISLURM_NAME=... pytest -s tests/benchmarks/test_looks.py

The mini-Slurm must be one that nobody else uses: it is filled with held jobs (EF_JOBS, 500).
"""

import itertools
import os
import re
import resource
from dataclasses import dataclass

import pytest
from mini.client import MiniSlurm

from ef_slurm.slurm.commands.job_looks import JobLooks
from ef_slurm.slurm.commands.runner import Result

pytestmark = pytest.mark.cluster
JOBS = int(os.environ.get("EF_JOBS", "500"))
ROUNDS = 5
SUBMIT = r"""
for i in $(seq {count}); do
    printf '#!/bin/bash\n# EF_STATE_DIR, as in a batch script of ef-sbatch\nsleep 3000\n' |
        sbatch --hold --partition=ef --gres=gpu:1 --time=60 --output=/dev/null \
        --comment="something of some length for job $i" >/dev/null || exit 1
done
"""
MEASURED = 'TIMEFORMAT="cpu %U %S"; time "$@"'


def own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@dataclass
class Asking:
    """Runs Slurm's commands on the login node, and adds up their CPU seconds."""

    cluster: MiniSlurm
    cpu_seconds: float = 0.0
    characters: int = 0
    reading: float = 0.0

    def __call__(self, *command: str) -> Result:
        began = own_cpu()
        done = self.cluster.exec("bash", "-c", MEASURED, "bash", *command)
        assert done.returncode == 0, done.stderr
        found = re.search(r"cpu ([\d.]+) ([\d.]+)", done.stderr)
        assert found is not None, done.stderr
        self.cpu_seconds += sum(map(float, found.groups()))
        self.characters += len(done.stdout)
        # Not the reader's work, but that of getting here what a daemon has at once.
        self.reading -= own_cpu() - began
        return Result(done.stdout, done.stderr)


def measured(asking: Asking, looks: JobLooks, title: str) -> float:
    """CPU seconds of the cheapest of some looks."""
    costs = []
    for _ in range(ROUNDS):
        asking.cpu_seconds = asking.reading = asking.characters = 0
        began = own_cpu()
        looks.look()
        costs.append(asking.cpu_seconds + asking.reading + own_cpu() - began)
    print(f"  {title:<44}{min(costs) * 1000:8.0f} ms{asking.characters / 1e6:8.2f} MB")
    return min(costs)


def test_a_look_at_what_has_changed() -> None:
    cluster = MiniSlurm.named(os.environ.get("MINISLURM_NAME", "minislurm"))
    assert cluster is not None, "no mini-Slurm is up"
    cluster.run(SUBMIT.format(count=JOBS), user="user1", timeout=600)
    print(f"\na look at {JOBS} jobs: CPU of the commands and of their reader, least of {ROUNDS}")
    asking = Asking(cluster)
    hours = itertools.count(step=3600)
    everything = measured(asking, JobLooks(asking, lambda: float(next(hours))), "all of each job")
    looks = JobLooks(asking, lambda: 0.0)
    looks.look()
    changes = measured(asking, looks, "lines, all of those that have changed")
    cluster.cancel_all()
    assert changes < everything
