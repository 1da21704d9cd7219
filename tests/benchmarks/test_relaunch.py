"""How long nothing is trained when a job is launched again in its allocation, without Slurm: two
nodes are played on this host. pytest -s tests/benchmarks/test_relaunch.py
"""

import os
import statistics
import sys
import time
from pathlib import Path

import pytest

from ef_slurm.contract import Action, LaunchState, Order, Phase, Progress
from ef_slurm.model import LaunchSettings
from tests.unit.forkserver.launching import TOP
from tests.unit.launch.scripts import SRUN_ON_NODES, Script, Start, fake, start

__all__ = ["fake", "start"]

SCRIPT = TOP / "tests" / "cluster" / "training_scripts" / "chars.py"
ROUNDS = int(os.environ.get("EF_ROUNDS", "5"))


def until(script: Script, generation: int, phase: Phase) -> Progress:
    end = time.monotonic() + 300
    while True:
        found = script.state.read_progress()
        if found is not None and found.generation == generation and found.phase is phase:
            if phase is Phase.STOPPED:
                return found
            if found.first_iteration_at is not None:
                return found
        assert time.monotonic() < end, script.log.read_text()
        time.sleep(0.001)


def relaunch(script: Script, generation: int, gpus: int, *, beside: bool) -> dict[str, float]:
    """One relaunch; where its seconds went.

    Args:
        beside: the next launch is made ready while this one trains; False: it is stopped first.
    """
    ordered = time.time()
    if not beside:
        script.state.write_order(Order(generation, Action.STOP, ordered, "benchmark"))
        script.until(LaunchState.WAITING, generation)
    script.state.write_order(Order(generation, Action.RELAUNCH, time.time(), "benchmark", gpus))
    stopped = until(script, generation, Phase.STOPPED)
    following = until(script, generation + 1, Phase.RUNNING)
    launch = script.launch()
    assert launch is not None
    assert stopped.last_iteration_at is not None
    assert following.first_iteration_at is not None
    assert following.process_started_at is not None
    last = stopped.last_iteration_at
    return {
        "order to last iteration": last - ordered,
        "checkpoint": stopped.updated_at - last,
        "end of the processes, batch script": launch.started_at - stopped.updated_at,
        "launcher": following.process_started_at - launch.started_at,
        "script, up to the session": following.started_at - following.process_started_at,
        "restore, first iteration": following.first_iteration_at - following.started_at,
        "training stands still, all": following.first_iteration_at - last,
    }


def test_relaunch(
    start: Start, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between both GPUs of two nodes and those of the first, in turn."""
    (fake / "srun").write_text(SRUN_ON_NODES)
    (fake / "nodes").write_text("n1,n2\n")
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script = start(
        "",
        words=(str(SCRIPT), "--record", str(tmp_path / "record"), "--sleep", "0.01"),
        torchrun=True,
        iterations=10**6,
        global_batch_size=32,
        settings=LaunchSettings(python=sys.executable, decision_wait=10_000),
        node="n1",
        restart_count=0,
    )
    rows: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    until(script, 1, Phase.RUNNING)
    for number in range(4 * ROUNDS):
        time.sleep(1)
        beside = number % 4 > 1
        rows[beside].append(relaunch(script, number + 1, (2, 4)[number % 2], beside=beside))
    print(f"\nmedian of {2 * ROUNDS}, seconds; load {os.getloadavg()[0]:.1f}")
    print(f"  {'':<36}{'stopped first':>16}{'beside':>10}")
    for stage in rows[True][0]:
        old, new = (statistics.median(row[stage] for row in rows[key]) for key in (False, True))
        print(f"  {stage:<36}{old:16.2f}{new:10.2f}")
    assert "is started anew" not in script.log.read_text()
