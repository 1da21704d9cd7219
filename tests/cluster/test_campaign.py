"""Twenty faults on a cluster of its own, as `python -m tests.campaign` does a thousand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mini.client import MiniSlurm, minislurm

from tests.campaign.campaign import Plan, play
from tests.campaign.report import markdown

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.whole_machine,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("EF_LONG"), reason="takes ten minutes: EF_LONG=1"),
]

FAULTS = 20


def test_nothing_is_lost_to_twenty_faults(running_cluster: MiniSlurm, tmp_path: Path) -> None:
    if running_cluster.engine != "docker":
        pytest.skip("the campaign fills disks and cuts networks: docker engine only")
    name = f"campaign-{os.getpid()}"
    words = ("--variant", "small-disks", "--engine", "docker", "--suite", running_cluster.suite)
    try:
        started = minislurm("up", "--name", name, *words, timeout=900)
        assert started.returncode == 0, started.stderr
        log = tmp_path / "faults.log"
        outcome = play(Plan(name, FAULTS, seed=20, every=3.0, job_every=8.0, log=log))
    finally:
        minislurm("down", "--name", name)
    print(markdown(outcome))
    assert outcome.is_good, markdown(outcome)
    assert len(outcome.faults) == FAULTS
    assert outcome.states.get("completed", 0) > 0
    assert not [fault for fault in outcome.faults if fault.error]
