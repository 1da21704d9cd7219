"""How long it takes to measure a training of unknown speed, without any Slurm:
pytest -s tests/benchmarks/test_measuring.py

One live launch is measured at the same sizes twice: by itself, in one round, and by an order for
each size, as the daemon does it otherwise, watched until the daemon would know the rate. A third
time each size is launched anew, as for a training that is not live.
"""

import os
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.contract import Phase, read_points
from ef_slurm.profiling.training_rate import RateEstimator
from tests.unit.training.forked import Parent
from tests.unit.training.live_launch import SCRIPT, LiveLaunch

SIZES = (8, 4, 2, 1)
WIDTH = 512


@pytest.fixture
def parent() -> Iterator[Parent]:
    parent = Parent("torch._dynamo", SCRIPT)
    yield parent
    parent.close()


def watched(launch: LiveLaunch) -> float:
    """Iterations/s, as the daemon has it from the reports of one size."""
    estimator = RateEstimator()
    while estimator.estimate is None:
        progress = launch.state.read_progress()
        assert progress is not None
        estimator.observe(progress.updated_at, progress.iteration)
        time.sleep(0.5)
    return estimator.estimate.rate


def steps(launch: LiveLaunch, begun: float) -> list[tuple[int, float]]:
    """(ranks, seconds until the next size trains), since then."""
    entries: list[dict[str, Any]] = [one for one in launch.entries() if one["at"] >= begun]
    starts = [(entries[0]["world"], begun)]
    starts += [(b["world"], b["at"]) for a, b in pairwise(entries) if a["world"] != b["world"]]
    return [(size, end - at) for (size, at), (_, end) in pairwise(starts)]


def row(name: str, seconds: Sequence[float], rates: Sequence[float], whole: float) -> None:
    """A line of the table."""
    cells = "".join(f"{one:7.1f} s{rate:7.2f}/s" for one, rate in zip(seconds, rates, strict=True))
    print(f"  {name:<30}{cells}{whole:9.1f} s")


def test_measuring(parent: Parent, tmp_path: Path) -> None:
    launch = LiveLaunch(parent, tmp_path, {"width": WIDTH, "optimizer": "adamw"}, batch=64)
    launch.slowly(True)
    launch.start(["n1"], SIZES[0])
    launch.running()
    launch.iterated(20)

    began = time.time()
    number = launch.order("n1", gpus=SIZES[0], sizes=",".join(map(str, SIZES)))
    told = launch.until(lambda told: told.change == number)
    launch.iterated(1)
    in_one_round = time.time() - began
    points = {one.gpus: one.iterations / one.seconds for one in read_points(told.points)}
    seconds = [took for _, took in steps(launch, began)]
    print(f"\nseconds and iterations/s on {SIZES} ranks, all  (load {os.getloadavg()[0]:.1f})")
    row("in one round", seconds, [points[size] for size in SIZES], in_one_round)

    began = time.time()
    rates, seconds = [], []
    for size in SIZES:
        since = time.time()
        if size != SIZES[0]:
            launch.resize("n1", gpus=size)
        rates.append(watched(launch))
        seconds.append(time.time() - since)
    launch.resize("n1", gpus=SIZES[0])
    row("an order for each size", seconds, rates, time.time() - began)

    began = time.time()
    rates, seconds = [], []
    again = launch
    for size in SIZES:
        since = time.time()
        again.stop()
        again.until(lambda told: told.phase is Phase.STOPPED)
        again.codes("n1")
        again = again.again()
        again.start(["n1"], size)
        again.running()
        rates.append(watched(again))
        seconds.append(time.time() - since)
    row("a launch for each size", seconds, rates, time.time() - began)
    again.stop()
    again.codes("n1")
    assert set(points) == set(SIZES)
