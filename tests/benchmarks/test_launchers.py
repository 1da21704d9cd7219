"""A start of a training by either launcher, without Slurm: two nodes are played on this host.
pytest -s tests/benchmarks/test_launchers.py

Seconds on a busy machine say little; those of the CPUs say what must be done, half of which is what
two idle cores take.
"""

import json
import os
import resource
import statistics
import time
from pathlib import Path

import pytest

from tests.unit.forkserver.launching import TOP, Launching

SCRIPT = TOP / "tests" / "cluster" / "training_scripts" / "chars.py"
ROUNDS = int(os.environ.get("EF_ROUNDS", "5"))
LAUNCHERS = ("torchrun", "forkserver")


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def start(launching: Launching, number: int) -> dict[str, float]:
    """One launch of three iterations; where its seconds went."""
    times = launching.directory / "times"
    used, began = cpu_seconds(), time.time()
    arguments = ["--iterations", str(3 * number), "--batch", "32", "--times", str(times)]
    code, _, errors = launching.run(SCRIPT, *arguments)
    assert code == 0, errors
    at = json.loads(times.read_text().splitlines()[-1])
    return {
        "launcher, up to the script": at["began"] - began,
        "the script's imports": at["imported"] - at["began"],
        "process group": at["joined"] - at["imported"],
        "model, DDP, optimizer, data": at["built"] - at["joined"],
        "session: restore": at["restored"] - at["built"],
        "first iteration": at["iterated"] - at["restored"],
        "all, up to the first iteration": at["iterated"] - began,
        "CPU of all processes, to their end": cpu_seconds() - used,
    }


@pytest.mark.parametrize(("nodes", "ranks"), [(1, 2), (2, 4)])
def test_start(tmp_path: Path, nodes: int, ranks: int) -> None:
    rows: dict[str, list[dict[str, float]]] = {launcher: [] for launcher in LAUNCHERS}
    for number in range(1, ROUNDS + 2):
        for launcher in LAUNCHERS:
            directory = tmp_path / launcher
            (directory / "state").mkdir(parents=True, exist_ok=True)
            variables = {"EF_STATE_DIR": str(directory / "state"), "EF_GENERATION": str(number)}
            launching = Launching(directory, ranks, nodes, launcher, variables=variables)
            found = start(launching, number)
            if number > 1:  # the first launch of all learns
                rows[launcher].append(found)
    print(f"\n{nodes} x {ranks} ranks, median of {ROUNDS}, seconds; load {os.getloadavg()[0]:.1f}")
    print(f"  {'':<36}" + "".join(f"{name:>12}" for name in LAUNCHERS) + f"{'ratio':>8}")
    for stage in rows["torchrun"][0]:
        old, new = (statistics.median(row[stage] for row in rows[name]) for name in LAUNCHERS)
        print(f"  {stage:<36}{old:12.2f}{new:12.2f}{old / max(new, 0.01):8.1f}")
        if stage.startswith("CPU"):
            assert new < old
