"""The rate that is learned, on streams of reports of which the true rate is known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.profiling.training_rate import (
    BLOCK_SECONDS,
    FIRST_BLOCKS,
    NORMAL,
    SUDDEN_SECONDS,
    RateEstimator,
    Slowdown,
)

TOLERANCE = 0.06


@dataclass(frozen=True)
class Stream:
    """A training: what its reports of every second say.

    Args:
        rate: iterations/s at a second while it trains.
        every, pause: seconds of training between two pauses, and how long each is; 0 for none.
        jitter: the standard deviation of an iteration's duration, as a fraction of it.
        warm_up: seconds that the second iteration takes longer.
    """

    rate: Callable[[float], float]
    every: float = 0.0
    pause: float = 0.0
    jitter: float = 0.0
    warm_up: float = 0.0
    seed: int = 0

    def ends(self) -> Iterator[float]:
        """When iterations end."""
        chance = random.Random(self.seed)
        now, trained, number = 0.0, 0.0, 0
        while True:
            took = max(0.2, chance.gauss(1.0, self.jitter)) / self.rate(now)
            number += 1
            now, trained = now + took, trained + took
            if number == 2:
                now += self.warm_up
            if self.every and trained >= self.every:
                now, trained = now + self.pause, 0.0
            yield now

    def reports(self, seconds: float) -> Iterator[tuple[float, int]]:
        """(when, iterations done), once a second from the first iteration on."""
        ends = self.ends()
        following, done, now = next(ends), 0, 0.0
        while now < seconds:
            now += 1.0
            while following <= now:
                done, following = done + 1, next(ends)
            if done:
                yield now, done

    def long_run(self) -> float:
        """Iterations/s over many cycles, at the rate of the beginning."""
        share = self.every / (self.every + self.pause) if self.every else 1.0
        return self.rate(0.0) * share


def watched(stream: Stream, seconds: float) -> RateEstimator:
    estimator = RateEstimator()
    for at, done in stream.reports(seconds):
        estimator.observe(at, done)
    return estimator


def rate_of(estimator: RateEstimator) -> float:
    assert estimator.estimate is not None
    return estimator.estimate.rate


def steady(rate: float) -> Callable[[float], float]:
    return lambda _: rate


rates = st.floats(0.02, 200.0)
jitters = st.floats(0.0, 0.2)
seeds = st.integers(0, 1000)


@given(rate=rates, jitter=jitters, seed=seeds)
def test_a_steady_rate_is_found_and_nothing_is_named(rate: float, jitter: float, seed: int) -> None:
    seconds = max(120.0, 12 / rate)
    estimator = watched(Stream(steady(rate), jitter=jitter, seed=seed), seconds)
    # Few iterations, one report a second: neither tells more than this.
    tolerance = TOLERANCE + 2 * jitter / math.sqrt(rate * seconds) + 2.0 / seconds
    assert rate_of(estimator) == pytest.approx(rate, rel=tolerance)
    assert estimator.slowdown is None


@given(rate=st.floats(1.0, 12.0), warm_up=st.floats(0.0, 50.0))
def test_what_comes_first_after_a_start_is_not_the_rate(rate: float, warm_up: float) -> None:
    estimator = RateEstimator()
    for at, done in Stream(steady(rate), warm_up=warm_up).reports(150.0):
        if estimator.observe(at, done) and estimator.estimate is not None:
            # What makes a block of the first estimate only a little slower is averaged.
            told = min(warm_up, NORMAL * BLOCK_SECONDS)
            tolerance = TOLERANCE + told / (FIRST_BLOCKS * BLOCK_SECONDS)
            assert estimator.estimate.rate == pytest.approx(rate, rel=tolerance)
    assert estimator.estimate is not None
    assert estimator.slowdown is None


@given(
    rate=st.floats(1.0, 12.0),
    every=st.floats(20.0, 900.0),
    pause=st.floats(0.5, 300.0),
    jitter=st.floats(0.0, 0.1),
    seed=seeds,
)
def test_pauses_at_a_pace_count_and_are_no_slowdown(
    rate: float, every: float, pause: float, jitter: float, seed: int
) -> None:
    """Checkpoints, and evaluations that nobody tells of."""
    stream = Stream(steady(rate), every, pause, jitter, seed=seed)
    estimator = RateEstimator()
    for at, done in stream.reports(30.0 + 6 * (every + pause)):
        estimator.observe(at, done)
        assert estimator.slowdown is None
    assert rate_of(estimator) == pytest.approx(stream.long_run(), rel=0.1)


@given(
    rate=st.floats(1.0, 12.0),
    begins=st.floats(60.0, 400.0),
    seconds=st.floats(1.0, SUDDEN_SECONDS - 15.0),
    factor=st.floats(0.05, 1.0),
)
def test_a_straggler_is_no_slowdown(
    rate: float, begins: float, seconds: float, factor: float
) -> None:
    def slow(now: float) -> float:
        return rate * (factor if begins <= now < begins + seconds else 1.0)

    estimator = RateEstimator()
    for at, done in Stream(slow).reports(600.0):
        if not estimator.observe(at, done):
            continue
        assert estimator.slowdown is None
        if estimator.estimate is not None:
            assert estimator.estimate.rate == pytest.approx(rate, rel=0.12)


@given(
    rate=st.floats(4.0, 12.0),
    begins=st.floats(70.0, 600.0),
    factor=st.floats(0.1, 0.75),
    jitter=st.floats(0.0, 0.1),
    seed=seeds,
)
def test_a_sudden_slowdown_is_noticed_and_its_end_too(
    rate: float, begins: float, factor: float, jitter: float, seed: int
) -> None:
    ends = begins + 300.0

    def slow(now: float) -> float:
        return rate * (factor if begins <= now < ends else 1.0)

    estimator = RateEstimator()
    noticed: float | None = None
    slowdown: Slowdown | None = None
    for at, done in Stream(slow, jitter=jitter, seed=seed).reports(ends + 150.0):
        estimator.observe(at, done)
        slowdown = estimator.slowdown
        assert slowdown is None or at > begins
        if slowdown is not None and noticed is None:
            noticed = at
        if begins + 100.0 < at < ends:
            assert slowdown is not None
            assert slowdown.since == pytest.approx(begins, abs=15.0)
            assert slowdown.factor == pytest.approx(factor, rel=0.1)
            assert rate_of(estimator) == pytest.approx(rate * factor, rel=0.1)
    assert noticed is not None
    assert noticed - begins < SUDDEN_SECONDS + 25.0 + 2 / (rate * factor)
    assert slowdown is None
    assert rate_of(estimator) == pytest.approx(rate, rel=0.1)


@given(rate=st.floats(1.0, 12.0), percent_a_minute=st.floats(-2.0, 2.0))
def test_a_slow_drift_is_followed_and_not_named(rate: float, percent_a_minute: float) -> None:
    def drifting(now: float) -> float:
        return rate * math.exp(percent_a_minute / 100.0 * now / 60.0)

    estimator = RateEstimator()
    for at, done in Stream(drifting).reports(2000.0):
        if estimator.observe(at, done) and estimator.estimate is not None:
            assert estimator.estimate.rate == pytest.approx(drifting(at), rel=0.1)
    assert estimator.slowdown is None


@given(before=st.floats(1.0, 50.0), factor=st.floats(0.3, 1.3))
def test_a_launch_that_begins_slower_than_the_last_one(before: float, factor: float) -> None:
    estimator = RateEstimator(before)
    for at, done in Stream(steady(before * factor)).reports(120.0):
        estimator.observe(at, done)
    slowdown = estimator.slowdown
    if factor < 0.8:
        assert slowdown is not None
        assert slowdown.factor == pytest.approx(factor, rel=TOLERANCE)
        assert slowdown.since < 15.0
    if factor > 0.9:
        assert slowdown is None


@given(reports=st.lists(st.tuples(st.floats(0.0, 1e12), st.floats(0.0, 1e15)), max_size=200))
def test_whatever_is_reported_a_rate_is_a_positive_number(
    reports: list[tuple[float, float]],
) -> None:
    estimator = RateEstimator()
    for at, done in reports:
        if estimator.observe(at, done) and estimator.estimate is not None:
            assert math.isfinite(estimator.estimate.rate)
            assert estimator.estimate.rate >= 0.0
        slowdown = estimator.slowdown
        assert slowdown is None or 0.0 <= slowdown.factor < 1.0


def test_one_absurd_report_moves_little() -> None:
    estimator = RateEstimator()
    for second in range(400):
        estimator.observe(float(second), 10 * second + (10**9 if second > 200 else 0))
    assert rate_of(estimator) == pytest.approx(10.0, rel=0.1)
