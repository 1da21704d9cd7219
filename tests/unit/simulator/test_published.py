"""The published traces: the planner against the bounds, the baselines against the published table.

Skipped where the published data is not there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ef_slurm.formats.throughput import read_throughputs
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.metrics import Metrics
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.simulate import Request, simulate
from ef_slurm.simulator.trace import read_trace

# Hours of simulated life: measured, they take three times as long.
pytestmark = pytest.mark.no_cover

CLUSTERS = {
    "195job": ("A100", 16, 8),
    "fig8a_64gpus_T4": ("T4", 16, 4),
    "cluster10": ("A100", 32, 8),
}
# (Upper bound of deadlines met / all jobs: an LP relaxation, clairvoyant and fluid; the part of it
# that the planner must reach).
BOUNDS = {
    ("195job", "zero"): (0.944, 0.97),
    ("195job", "constant:30"): (0.944, 0.965),
    ("fig8a_64gpus_T4", "zero"): (0.928, 0.97),
    ("fig8a_64gpus_T4", "constant:30"): (0.836, 0.965),
    ("cluster10", "zero"): (0.992, 0.97),
    ("cluster10", "constant:30"): (0.989, 0.985),
}


def replay(data: Path, trace: str, policy: str, overhead: str) -> Metrics:
    gpu_type, nodes, gpus_per_node = CLUSTERS[trace]
    tables = read_throughputs(data / f"throughputs_{gpu_type}")
    jobs = read_trace(data / "elasticflow-traces" / f"{trace}.csv", tables)
    cost = parse_overhead(overhead)
    return simulate(Request(jobs, uniform(nodes, gpus_per_node), policy, cost, check=True)).metrics


@pytest.mark.parametrize("overhead", ["zero", "constant:30", "paper"])
@pytest.mark.parametrize("trace", CLUSTERS)
def test_the_planner_reaches_the_bounds_and_keeps_every_promise(
    shared_data: Path, trace: str, overhead: str
) -> None:
    numbers = replay(shared_data, trace, "elasticflow", overhead)
    assert numbers.broken_promises == 0
    assert numbers.unfinished == 0
    assert numbers.met == numbers.admitted
    assert numbers.reshapes_per_job <= 3
    assert numbers.ratio is not None
    if (trace, overhead) in BOUNDS:
        bound, part = BOUNDS[trace, overhead]
        assert part * bound <= numbers.ratio <= bound + 0.5e-3  # bounds have three digits


@pytest.mark.parametrize(
    ("trace", "policy", "published"),
    [
        ("195job", "edf", 0.087),
        ("195job", "tiresias", 0.456),
        ("fig8a_64gpus_T4", "edf", 0.118),
        ("fig8a_64gpus_T4", "tiresias", 0.287),
        ("fig8a_64gpus_T4", "themis", 0.312),
        ("cluster10", "edf", 0.769),
        ("cluster10", "tiresias", 0.473),
        ("cluster10", "themis", 0.431),
    ],
)
def test_baselines_are_near_the_published_ones(
    shared_data: Path, trace: str, policy: str, published: float
) -> None:
    overhead = "zero" if policy == "edf" else "paper"
    ratio = replay(shared_data, trace, policy, overhead).ratio
    assert ratio == pytest.approx(published, abs=0.05)


def test_chronus_on_the_testbed_trace(shared_data: Path) -> None:
    ratio = replay(shared_data, "195job", "chronus", "zero").ratio
    assert ratio == pytest.approx(0.410, abs=0.09)
