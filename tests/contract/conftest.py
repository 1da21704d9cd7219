"""The backends of `ef_slurm.slurm` under one roof: what holds for one must hold for all.

`memory` always; `commands` on the mini-Slurm (marked cluster), where sbatch, scontrol and the
others run inside it as the user in question.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mini.client import MiniSlurm

from ef_slurm.slurm.commands.command_slurm import CommandSlurm
from ef_slurm.slurm.commands.runner import Result, Runner, failure
from ef_slurm.slurm.errors import SlurmTimeoutError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import SlurmJob, Submission
from tests.fakes.memory_cluster import MemoryCluster, Timing
from tests.fakes.memory_slurm import MemorySlurm

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

    @abstractmethod
    def runs_steps(self, job_id: int, nodes: tuple[str, ...]) -> None:
        """The script of a job would have a step there now; where scripts run nothing is done."""

    @abstractmethod
    def restart_slurmctld(self) -> None:
        """It ends without a word, and comes back with what it has saved by now."""

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
        self.cluster.slurmdbd = True

    def of(self, user: str) -> Slurm:
        return MemorySlurm(self.cluster, lambda: self.time, user=user, operator=user == "ef-slurm")

    def wait(self, seconds: float) -> None:
        self.time += seconds

    def restart_slurmctld(self) -> None:
        self.cluster.restart()

    def now(self) -> float:
        return self.time

    def runs_steps(self, job_id: int, nodes: tuple[str, ...]) -> None:
        self.cluster.jobs[job_id].step_nodes = nodes


# Runs commands inside the mini-Slurm, one after another: an exec for each would take a second.
AGENT = """
import json, os, subprocess, sys
for line in sys.stdin:
    command, variables, text, timeout = json.loads(line)
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=timeout,
            env={**os.environ, **variables},
        )
        answer = [done.returncode, done.stdout, done.stderr]
    except subprocess.TimeoutExpired:
        answer = None
    print(json.dumps(answer), flush=True)
"""


class Guest:
    """A user's session on the mini-Slurm's login node."""

    def __init__(self, user: str) -> None:
        command = [str(MINISLURM), "exec", "--user", user, "--", "python3", "-c", AGENT]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self, command: Sequence[str], variables: Mapping[str, str], text: str, timeout: float = 30.0
    ) -> tuple[int, str, str]:
        """Run a command: exit code, standard output, standard error.

        Raises:
            SlurmTimeoutError: it gave no answer within `timeout` seconds.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = json.dumps([command, variables, text, timeout])
        print(request, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, "the mini-Slurm is gone"
        answer = json.loads(line)
        if answer is None:
            raise SlurmTimeoutError(f"{command[0]} gave no answer within {timeout:g} s")
        code, stdout, stderr = answer
        return code, stdout, stderr

    def close(self) -> None:
        """End the session."""
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()


@dataclass(frozen=True)
class GuestRunner(Runner):
    """Runs commands in a user's session on the mini-Slurm."""

    guest: Guest = field(kw_only=True)

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,  # noqa: ARG002 (a path of this host)
        text: str = "",
    ) -> Result:
        variables = {
            name: value
            for name, value in (environment or {}).items()
            if name.startswith("SLURM_") or name == "LC_ALL"
        }
        code, stdout, stderr = self.guest.run(command, variables, text, self.timeout)
        if code:
            raise failure(command, code, stdout, stderr)
        return Result(stdout, stderr)


class CommandSite(Site):
    """The mini-Slurm that MINISLURM_NAME names."""

    def __init__(self, guests: Mapping[str, Guest]) -> None:
        self._guests = guests

    def of(self, user: str) -> Slurm:
        return CommandSlurm(GuestRunner(guest=self._guests[user]))

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def now(self) -> float:
        return time.time()

    def runs_steps(self, job_id: int, nodes: tuple[str, ...]) -> None:
        """They run."""

    def restart_slurmctld(self) -> None:
        cluster = MiniSlurm.named(os.environ["MINISLURM_NAME"])
        assert cluster is not None
        cluster.wait_for_saved_state()
        cluster.kill("ctl", "slurmctld")
        cluster.start("ctl", "slurmctld")
        self.until(lambda: "is UP" in cluster.output("scontrol ping || true"))
        for node in ("n1", "n2", "n3", "n4"):  # they are unknown until they have answered
            cluster.wait_for_node(node, "idle", "mixed", "allocated")

    def clear(self) -> None:
        """Cancel what a test has left behind."""
        operator = self.of("ef-slurm")

        def left() -> list[int]:
            jobs = operator.observe().jobs.values()
            return [job.job_id for job in jobs if job.name == "contract" and not job.is_final]

        for job_id in left():
            operator.cancel(job_id)
        self.until(lambda: not left())


@pytest.fixture(scope="session")
def guests() -> Iterator[Mapping[str, Guest]]:
    """Sessions of the mini-Slurm's users."""
    if "MINISLURM_NAME" not in os.environ:
        pytest.skip("no mini-Slurm: docker/minislurm up --name NAME, and set MINISLURM_NAME")
    with ExitStack() as stack:

        def guest(user: str) -> Guest:
            return stack.enter_context(closing(Guest(user)))

        guests = {user: guest(user) for user in ("user1", "user2")}
        settings = CommandSlurm(GuestRunner(guest=guests["user1"])).configuration().settings
        # Without accounting there are no operators: root has their rights.
        has_operators = "slurmdbd" in settings["AccountingStorageType"]
        guests["ef-slurm"] = guest("ef-slurm" if has_operators else "root")
        yield guests


@pytest.fixture
def command_site(guests: Mapping[str, Guest]) -> Iterator[CommandSite]:
    """The mini-Slurm; jobs that a test leaves behind are cancelled."""
    site = CommandSite(guests)
    site.clear()
    yield site
    site.clear()


@pytest.fixture(params=["memory", pytest.param("commands", marks=pytest.mark.cluster)])
def site(request: pytest.FixtureRequest) -> Site:
    """Each of the clusters."""
    chosen: Site = (
        MemorySite() if request.param == "memory" else request.getfixturevalue("command_site")
    )
    return chosen


@pytest.fixture
def submit(site: Site) -> Callable[..., SlurmJob]:
    """Submit a held job of one GPU as a user; more options may be given."""

    def do(user: str = "user1", *options: str, script: str = SCRIPT) -> SlurmJob:
        slurm = site.of(user)
        submitted = slurm.submit(Submission(script, options=(*OPTIONS, *options)))
        return slurm.job(submitted.job_id)

    return do
