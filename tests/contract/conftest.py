"""The backends of `ef_slurm.slurm` under one roof: what holds for one must hold for all.

`memory` always; `commands` on the mini-Slurm (marked cluster), where sbatch, scontrol and the
others run inside it as the user in question.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from ef_slurm.slurm.commands import CommandSlurm
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.memory import MemorySlurm
from ef_slurm.slurm.memory_cluster import MemoryCluster, Timing
from ef_slurm.slurm.run import Result, Runner
from ef_slurm.slurm.types import SlurmJob, Submission

MINISLURM = Path(__file__).parents[2] / "docker" / "minislurm"
SCRIPT = "#!/bin/bash\n# EF_STATE_DIR: what job_submit.lua knows our scripts by\nexec sleep 600\n"
OPTIONS = (
    "--partition=ef",
    "--nodes=1",
    "--ntasks-per-node=1",
    "--gres=gpu:1",
    "--cpus-per-gpu=2",
    "--time=10",
    "--job-name=contract",
    "--output=/dev/null",
)


class Site(ABC):
    """A cluster as seen by several users."""

    @abstractmethod
    def of(self, user: str) -> Slurm:
        """Slurm as that user has it; "ef-slurm" is an operator."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Let time pass."""

    @abstractmethod
    def now(self) -> float:
        """The cluster's clock."""

    def until(self, true: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let time pass until something holds; fail if it does not in time."""
        end = self.now() + seconds
        while not true():
            if self.now() > end:
                pytest.fail(f"did not come about within {seconds:g} s")
            self.wait(0.2)


class MemorySite(Site):
    """The double, on a clock that only moves when told to."""

    def __init__(self) -> None:
        self.time = 1_000_000.25
        timing = Timing(start=0.5, stop=1.0)
        self.cluster = MemoryCluster({"n1": 4, "n2": 4, "n3": 4, "n4": 4}, timing=timing)

    def of(self, user: str) -> Slurm:
        return MemorySlurm(self.cluster, lambda: self.time, user=user, operator=user == "ef-slurm")

    def wait(self, seconds: float) -> None:
        self.time += seconds

    def now(self) -> float:
        return self.time


@dataclass(frozen=True)
class GuestRunner(Runner):
    """Runs commands as a user of the mini-Slurm, on its login node."""

    user: str = "user1"

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,  # noqa: ARG002 (a path of this host)
        text: str = "",
    ) -> Result:
        variables = [
            f"{name}={value}"
            for name, value in (environment or {}).items()
            if name.startswith("SLURM_") or name == "LC_ALL"
        ]
        guest = [str(MINISLURM), "exec", "--user", self.user, "--", "env", *variables, *command]
        return super().run(guest, text=text)


class CommandSite(Site):
    """The mini-Slurm that MINISLURM_NAME names."""

    def of(self, user: str) -> Slurm:
        return CommandSlurm(GuestRunner(timeout=30.0, user=user))

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def now(self) -> float:
        return time.time()


@pytest.fixture(params=["memory", pytest.param("commands", marks=pytest.mark.cluster)])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A cluster; jobs that a test leaves behind are cancelled."""
    if request.param == "memory":
        yield MemorySite()
        return
    if "MINISLURM_NAME" not in os.environ:
        pytest.skip("no mini-Slurm: docker/minislurm up --name NAME, and set MINISLURM_NAME")
    site = CommandSite()
    yield site
    _cancel_all(site)


def _cancel_all(site: CommandSite) -> None:
    operator = site.of("ef-slurm")
    left = [job for job in operator.observe().jobs.values() if job.name == "contract"]
    for job in left:
        if not job.is_final:
            operator.cancel(job.job_id)
    for job in left:
        site.until(partial(_is_final, operator, job.job_id))


def _is_final(slurm: Slurm, job_id: int) -> bool:
    return slurm.job(job_id).is_final


@pytest.fixture
def submit(site: Site) -> Callable[..., SlurmJob]:
    """Submit a held job of one GPU as a user; more options may be given."""

    def do(user: str = "user1", *options: str) -> SlurmJob:
        slurm = site.of(user)
        submitted = slurm.submit(Submission(SCRIPT, options=(*OPTIONS, *options)))
        return slurm.job(submitted.job_id)

    return do
