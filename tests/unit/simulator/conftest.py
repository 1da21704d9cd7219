"""Small traces and tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ef_slurm.formats.throughput import ThroughputTables, read_throughputs
from ef_slurm.model import ThroughputCurve
from ef_slurm.simulator.analytic import analytic_tables
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.generate import Recipe, generate
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.simulate import Request, Result, simulate
from ef_slurm.simulator.trace import TraceJob
from tests.unit.conftest import Table


@pytest.fixture
def tables(table: Table) -> ThroughputTables:
    """One model `m` with batch size 8 that scales perfectly to 4 GPUs and peaks there."""
    file = table("tables/m.csv", "global_batch_size,1,2,4,8\n8,1,2,4,3\n16,0.5,1,nan,\n")
    return read_throughputs(file.parent)


@pytest.fixture
def make_job() -> Callable[..., TraceJob]:
    """A job with sensible defaults: one iteration per second and GPU, up to 4 GPUs."""

    def make(
        name: str = "a",
        submitted: float = 0.0,
        iterations: float = 100.0,
        deadline: float | None = 1000.0,
        requested: int = 1,
        duration: float | None = None,
        time_limit: float | None = None,
        sizes: tuple[int, ...] = (1, 2, 4),
    ) -> TraceJob:
        curve = ThroughputCurve.of({size: float(size) for size in sizes})
        seconds = iterations / requested if duration is None else duration
        return TraceJob(
            name, submitted, iterations, "m", 8, curve, deadline, requested, seconds, time_limit
        )

    return make


@pytest.fixture(scope="session")
def results() -> dict[str, Result]:
    """Two policies on the same generated trace, 60 jobs on 4 nodes of 4 GPUs."""
    trace = generate(Recipe(60, 120.0, seed=2, best_effort=0.2), analytic_tables())
    overhead = parse_overhead("constant:10")
    return {
        policy: simulate(Request(trace, uniform(4, 4), policy, overhead))
        for policy in ("elasticflow", "tiresias")
    }
