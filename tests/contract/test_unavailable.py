"""slurmctld away and back: errors of their own kind, in time."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from ef_slurm.slurm.errors import SlurmUnavailableError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import Submission

pytestmark = pytest.mark.cluster

MINISLURM = Path(__file__).parents[2] / "docker" / "minislurm"


class Site(Protocol):
    """The mini-Slurm (conftest.py)."""

    def of(self, user: str) -> Slurm: ...

    def until(self, true: Callable[[], bool]) -> None: ...


def minislurm(*arguments: str) -> None:
    subprocess.run([str(MINISLURM), *arguments], check=True, timeout=120, capture_output=True)


def answers(slurm: Slurm) -> bool:
    try:
        slurm.observe()
    except SlurmUnavailableError:
        return False
    return True


def test_without_slurmctld(command_site: Site) -> None:
    user, operator = command_site.of("user1"), command_site.of("ef-slurm")
    script = Submission("#!/bin/sh\n# EF_STATE_DIR\n", options=("-p", "ef", "-J", "contract"))
    job_id = user.submit(script).job_id
    minislurm("kill", "ctl", "slurmctld")
    try:
        for ask in (
            operator.observe,
            lambda: operator.release(job_id),
            lambda: user.submit(script),
        ):
            with pytest.raises(SlurmUnavailableError):
                ask()
    finally:
        minislurm("start", "ctl", "slurmctld")
    command_site.until(lambda: answers(operator))
