"""Parallel simulations give what serial ones give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ef_slurm.simulator import compare
from ef_slurm.simulator.analytic import analytic_tables
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.compare import simulate_all
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.generate import Recipe, generate
from ef_slurm.simulator.metrics import Metrics
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.simulate import Request

TRACE = generate(Recipe(40, 120.0, seed=4), analytic_tables())


def request(policy: str) -> Request:
    return Request(TRACE, uniform(2, 8), policy, parse_overhead("constant:10"))


def timeless(numbers: Metrics) -> Metrics:
    return replace(
        numbers,
        wall_seconds=0.0,
        cpu_seconds=0.0,
        planning_seconds=0.0,
        longest_round_seconds=0.0,
        peak_rss_mb=0.0,
    )


@pytest.fixture(autouse=True)
def no_trace_is_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "FEW_JOBS", 0)


def test_processes_give_the_same_numbers_in_order() -> None:
    requests = [request(policy) for policy in ("elasticflow", "edf", "tiresias")]
    heard: list[int] = []
    parallel = simulate_all(requests, 2, heard.append)
    serial = simulate_all(requests, 1)
    assert [timeless(r.metrics) for r in parallel] == [timeless(r.metrics) for r in serial]
    assert sum(heard) == 3 * len(TRACE.jobs)


def test_a_failure_in_a_process_is_the_callers() -> None:
    with pytest.raises(SimulatorError, match="'lottery' is not known"):
        simulate_all([request("edf"), request("lottery")], 2)


def test_few_jobs_need_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "FEW_JOBS", 80)
    monkeypatch.setattr(compare, "ProcessPoolExecutor", None)
    assert len(simulate_all([request("edf"), request("slurm")], 2)) == 2
