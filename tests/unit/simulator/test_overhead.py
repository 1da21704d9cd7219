"""Overhead models."""

from __future__ import annotations

import pytest

from ef_slurm.model import Overhead
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.overhead import counted_change, parse_overhead


def test_zero_and_constant() -> None:
    assert parse_overhead("zero").for_cluster(8) == Overhead()
    assert parse_overhead("constant:30").for_cluster(8) == Overhead.constant(30)


@pytest.mark.parametrize(("cluster", "base"), [(128, 2.0), (255, 2.0), (256, 7.0), (512, 7.0)])
def test_the_papers_cost_of_a_start(cluster: int, base: float) -> None:
    overhead = parse_overhead("paper").for_cluster(cluster)
    for doublings in range(7):
        paper = base + 2 * (doublings + 1)
        assert overhead.of(counted_change(0, 1 << doublings), 1 << doublings) == paper
        assert overhead.of(counted_change(512, 1 << doublings), 1 << doublings) == paper


@pytest.mark.parametrize(
    "text",
    [
        *("", "none", "zero:1", "paper:2", "constant", "constant:", "constant:x", "constant:-1"),
        *("constant:1e308", "constant:31622401"),  # with 1e308 chronus never ended
    ],
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(SimulatorError, match="zero, constant:SECONDS or paper"):
        parse_overhead(text)
