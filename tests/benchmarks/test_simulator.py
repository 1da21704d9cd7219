"""What the simulator's own loop costs, apart from the planner.

Run with `pytest tests/benchmarks/test_simulator.py --benchmark-only`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ef_slurm.simulator.analytic import analytic_tables
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.generate import Recipe, generate
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.report.html import run_page
from ef_slurm.simulator.simulate import Request, simulate
from ef_slurm.simulator.trace import Trace, read_trace, trace_text

TABLES = analytic_tables()


@pytest.fixture(scope="module")
def trace() -> Trace:
    return generate(Recipe(400, 94.0, seed=1), TABLES)


def request(trace: Trace, policy: str) -> Request:
    return Request(trace, uniform(64, 8), policy, parse_overhead("constant:30"))


@pytest.mark.parametrize("policy", ["edf", "slurm", "tiresias"])
def test_loop(benchmark: BenchmarkFixture, trace: Trace, policy: str) -> None:
    result = benchmark.pedantic(simulate, (request(trace, policy),), rounds=3)  # type: ignore[no-untyped-call]
    assert result.metrics.jobs == 400


def test_planner_in_the_loop(benchmark: BenchmarkFixture, trace: Trace) -> None:
    result = benchmark.pedantic(simulate, (request(trace, "elasticflow"),), rounds=1)  # type: ignore[no-untyped-call]
    assert result.metrics.broken_promises == 0


def test_reading_a_trace(benchmark: BenchmarkFixture, trace: Trace, tmp_path: Path) -> None:
    file = tmp_path / "generated-1.csv"
    file.write_text(trace_text(trace))
    assert benchmark(read_trace, file, TABLES) == trace


def test_page(benchmark: BenchmarkFixture, trace: Trace) -> None:
    result = simulate(request(trace, "slurm"))
    assert benchmark.pedantic(run_page, (result,), rounds=3).startswith("<!doctype html>")  # type: ignore[no-untyped-call]
