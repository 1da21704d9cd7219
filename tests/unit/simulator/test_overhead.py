"""Overhead models."""

from __future__ import annotations

from dataclasses import replace

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
    with pytest.raises(SimulatorError, match="zero, constant:SECONDS, paper or KIND=SECONDS,…"):
        parse_overhead(text)


LIVE = Overhead(start=30.0, grow=2.0, shrink=1.5, move=30.0, restart=30.0)


@pytest.mark.parametrize(
    ("text", "overhead"),
    [
        ("start=30,grow=2,shrink=1.5,move=30,restart=30", LIVE),
        ("start=30,grow=2,shrink=1.5,move=30", LIVE),
        ("restart=30s, shrink=1.5, grow=2", LIVE),
        ("reshape=30,start=20,shrink=10", Overhead(20.0, 30.0, 10.0, 30.0, 30.0)),
        ("reshape=30,grow=2,shrink=1.5", LIVE),
        ("grow=2", Overhead.constant(2.0)),
        ("start=0.5min", Overhead.constant(30.0)),
        ("start=4,per_doubling=2", replace(Overhead.constant(4.0), per_doubling=2.0)),
        ("start=0", Overhead()),
    ],
)
def test_costs_by_kind(text: str, overhead: Overhead) -> None:
    """A kind that is not named costs as much as the dearest that is: no plan counts on less."""
    assert parse_overhead(text).for_cluster(512) == overhead
    assert parse_overhead(text).name == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("start=", "start: '' is not a number of seconds"),
        ("start=x", "'x' is not a number of seconds, 0 to 2.592e"),
        ("start=-1", "'-1' is not a number of seconds"),
        ("start=nan", "'nan' is not a number of seconds"),
        ("start=1e308", "'1e308' is not a number of seconds"),
        ("=3", "'=3' is no cost: give KIND=SECONDS,… of start, grow"),
        ("grwo=2", "'grwo=2' is no cost: give KIND"),
        ("relaunch=2", "'relaunch=2' is no cost"),
        ("start=30,", "'' is no cost"),
        ("start=30 grow=2", "'30 grow=2' is not a number of seconds"),
        ("start=30,start=2", "start is there twice"),
        ("reshape=30,reshape=2", "reshape is there twice"),
        ("per_doubling=2", "no kind of change has a cost"),
        ("zero,grow=2", "'zero' is no cost"),
        ("constant:30,grow=2", "'30,grow=2' is not a number of seconds"),
    ],
)
def test_wrong_costs_are_named(text: str, words: str) -> None:
    with pytest.raises(SimulatorError) as caught:
        parse_overhead(text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"overhead {text!r} is not valid: ")
