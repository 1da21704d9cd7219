"""How long training stands still when a job's size changes while it trains, without any Slurm:
pytest -s tests/benchmarks/test_live.py

Ranks are forked from one process that has imported torch, as the fork server of a node does. Goals,
on two idle cores: at most 1.5 s for 16 → 8 ranks and 2 s for 8 → 16, median of ten. Beside it the
same change by stopping and starting anew.
"""

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from ef_slurm.contract import Phase
from tests.unit.training.forked import Parent
from tests.unit.training.live_launch import SCRIPT, LiveLaunch

ROUNDS = int(os.environ.get("EF_ROUNDS", "10"))
RESTARTS = 3
WIDTH = 512
OLD, NEW = ["n1", "n2"], ["n3", "n4"]
PER_NODE = 4


@pytest.fixture
def parent() -> Iterator[Parent]:
    parent = Parent("torch._dynamo", SCRIPT)
    yield parent
    parent.close()


def stood_still(launch: LiveLaunch) -> list[tuple[int, int, float]]:
    """(ranks before, ranks after, seconds without training) of each change in the record.

    From the end of the last iteration before it to the end of the first one after it, less what an
    iteration after it takes.
    """
    found = []
    entries = launch.entries()
    for number, (before, after) in enumerate(pairwise(entries)):
        if before["world"] != after["world"]:
            later = [entry["at"] for entry in entries[number + 1 : number + 7]]
            usual = statistics.median(b - a for a, b in pairwise(later))
            found.append((before["world"], after["world"], after["at"] - before["at"] - usual))
    return found


def row(name: str, seconds: Sequence[float]) -> None:
    """A line of the table."""
    median = statistics.median(seconds)
    print(f"  {name:<48}{median:8.2f}{min(seconds):8.2f}{max(seconds):8.2f}")


def test_change_of_size(parent: Parent, tmp_path: Path) -> None:
    launch = LiveLaunch(parent, tmp_path, {"width": WIDTH, "optimizer": "adamw"}, batch=64)
    launch.slowly(True)
    launch.start(OLD, PER_NODE)
    launch.running()
    starting = []
    for number in range(ROUNDS):
        began = time.monotonic()
        launch.start(NEW, PER_NODE, change=number + 1)
        launch.come(NEW)
        starting.append(time.monotonic() - began)
        launch.resize(",".join(OLD + NEW), gpus=16)
        launch.iterated(10)
        launch.resize(",".join(OLD), gpus=8, leave=True)
        launch.iterated(10)
        assert set(launch.codes(*NEW)) == {0}
    again, anew = launch, []
    for _ in range(RESTARTS):
        again.stop()
        again.until(lambda told: told.phase is Phase.STOPPED)
        again.codes(*OLD)
        last = again.entries()[-1]["at"]
        again = again.again()
        again.start(OLD, PER_NODE)
        again.iterated(1)
        anew.append(next(e["at"] for e in again.entries() if e["at"] > last) - last)
    again.stop()
    again.codes(*OLD)
    changes = stood_still(launch)
    print(f"\nseconds{'':<43}{'median':>8}{'least':>8}{'most':>8}  (load {os.getloadavg()[0]:.1f})")
    row("16 → 8 ranks, training stands still", [s for a, b, s in changes if (a, b) == (16, 8)])
    row("8 → 16 ranks, training stands still", [s for a, b, s in changes if (a, b) == (8, 16)])
    row("start of 8 newcomers, meanwhile it trains", starting)
    row("8 ranks stopped and forked anew (no Slurm)", anew)
    assert len(changes) == 2 * ROUNDS
