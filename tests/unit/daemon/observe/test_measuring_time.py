"""A job holds GPUs to be measured for so long, by the daemon's clock, whatever it reports."""

from __future__ import annotations

import math
from dataclasses import replace

from ef_slurm.daemon.observe.measuring_time import MeasuringTime
from ef_slurm.daemon.observe.stalls import StallLimits
from ef_slurm.model import Measuring, QueueJob
from tests.unit.daemon.make import NOW, row

LIMITS = StallLimits(first_iteration=300.0, stalled=150.0)


def measured(*sizes: int) -> QueueJob:
    job = row(measuring=Measuring(NOW, "gpu", (4,), tuple((size, 1.0) for size in sizes)))
    return replace(job, request=replace(job.request, curves=()))


def refused_after(time: MeasuringTime, job: QueueJob, now: float, step: float = 30.0) -> float:
    """Seconds until it is refused; infinite if it is not within an hour."""
    for number in range(int(3600.0 / step)):
        if time.review(job, now + number * step, runs=True):
            return number * step
    return math.inf


def test_without_a_rate_it_is_refused_in_words() -> None:
    time = MeasuringTime(LIMITS)
    assert refused_after(time, measured(), NOW) == 600.0
    why = time.review(measured(), NOW + 630.0, runs=True)
    assert "it has held GPUs for" in why
    assert "--throughput" in why


def test_each_rate_gives_it_as_long_again() -> None:
    time = MeasuringTime(LIMITS)
    for second in range(0, 590, 10):
        assert not time.review(measured(), NOW + second, runs=True)
    assert refused_after(time, measured(4), NOW + 590.0) == 600.0


def test_only_what_was_seen_on_gpus_counts_and_over_all_runs() -> None:
    time = MeasuringTime(LIMITS)
    assert refused_after(time, measured(), NOW, step=200.0) == math.inf  # nobody looked meanwhile
    time.forget(1)
    for second in range(0, 310, 10):
        assert not time.review(measured(), NOW + second, runs=True)
    for second in range(310, 3000, 10):
        assert not time.review(measured(), NOW + second, runs=False)
    assert refused_after(time, measured(), NOW + 3000.0, step=10.0) == 290.0


def test_who_is_not_measured_is_not_watched() -> None:
    time = MeasuringTime(LIMITS)
    assert refused_after(time, row(), NOW) == math.inf
    never = MeasuringTime(StallLimits(first_iteration=math.inf))
    assert refused_after(never, measured(), NOW) == math.inf
