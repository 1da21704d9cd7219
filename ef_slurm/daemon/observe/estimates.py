"""What the daemon learns from watching: seconds per start and reshape, true throughput.

Both are kept as samples that come out of the queue's events again after a restart.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ef_slurm.daemon.observe.closures import Closures
from ef_slurm.model import Overhead, ThroughputCurve

SAFETY_FACTOR = 1.1
"""A promise counts on this many times what was measured."""
SAMPLES_PER_JOB = 3
"""The latest measurements of a job of which the worst counts."""
SAMPLES_OF_ALL = 20
"""The latest measurements of all jobs, for one that has none of its own."""
QUANTILE = 0.8
"""Of those of all jobs: what most changes do not exceed."""


class Overheads:
    """Seconds from a decision to training again, by the field of `Overhead` that they are."""

    def __init__(self) -> None:
        self._of_job: dict[tuple[int, str], deque[float]] = defaultdict(
            lambda: deque(maxlen=SAMPLES_PER_JOB)
        )
        self._of_all: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=SAMPLES_OF_ALL))

    def add(self, job_id: int, overhead: str, seconds: float) -> None:
        """What a field of `Overhead` states took a job so long."""
        self._of_job[job_id, overhead].append(seconds)
        self._of_all[overhead].append(seconds)

    def estimate(self, job_id: int | None, submitted: Overhead) -> Overhead:
        """What the job's next change will cost.

        Its own worst lately, else what most jobs took, else what it was submitted with.

        Args:
            job_id: None for a job that is not in the queue.
            submitted: what it was submitted with.
        """
        return replace(
            submitted,
            start=self._seconds(job_id, "start", submitted.start),
            reshape=self._seconds(job_id, "reshape", submitted.reshape),
            shrink=self._seconds(job_id, "shrink", submitted.shrink),
        )

    def _seconds(self, job_id: int | None, overhead: str, submitted: float) -> float:
        own = None if job_id is None else self._of_job.get((job_id, overhead))
        if own:
            return _with_margin(max(own))
        others = self._of_all.get(overhead)
        if others:
            ranked = sorted(others)
            return _with_margin(ranked[int(QUANTILE * (len(ranked) - 1))])
        return submitted


def _with_margin(seconds: float) -> float:
    """Whole seconds, so that plans do not change for a hair."""
    return float(math.ceil(round(SAFETY_FACTOR * seconds, 6)))


RATE_TOLERANCE = 0.05
"""A curve is left alone as long as a job trains within this fraction of it."""


def calibrated(curve: ThroughputCurve, measured: Mapping[int, float]) -> ThroughputCurve:
    """The curve with what was measured in it.

    Measured sizes are taken as they are. The others keep their values where the job is as fast as
    the curve says or faster, and are scaled down with the nearest measured size where it is slower:
    a promise must not count on a speed that was never seen.

    >>> calibrated(ThroughputCurve.of({1: 10.0, 2: 18.0, 4: 30.0}), {2: 9.0}).points
    ((1, 5.0), (2, 9.0), (4, 15.0))
    """
    given = dict(curve.points)
    seen = {
        gpus: rate
        for gpus, rate in measured.items()
        if gpus in given and abs(rate / given[gpus] - 1) > RATE_TOLERANCE
    }
    if not seen:
        return curve
    rates = {}
    for gpus, rate in given.items():
        nearest = min(measured.keys() & given.keys(), key=lambda size: _distance(size, gpus))
        slower = min(1.0, measured[nearest] / given[nearest])
        rates[gpus] = seen.get(gpus, rate if gpus in measured else rate * slower)
    return ThroughputCurve.of(rates)


def _distance(a: int, b: int) -> tuple[float, int]:
    return abs(math.log2(a) - math.log2(b)), a


class Rates:
    """Iterations/s that jobs were seen to reach, by job and GPUs."""

    def __init__(self) -> None:
        self._rates: dict[int, dict[int, float]] = defaultdict(dict)

    def of(self, job_id: int) -> Mapping[int, float]:
        """GPUs → iterations/s."""
        return self._rates.get(job_id, {})

    def learn(self, job_id: int, gpus: int, rate: float) -> bool:
        """Take a measurement; whether it tells something new."""
        known = self._rates[job_id].get(gpus)
        if known is not None and abs(rate / known - 1) <= RATE_TOLERANCE:
            return False
        self._rates[job_id][gpus] = rate
        return True

    def forget(self, job_ids: Iterable[int]) -> None:
        """Drop jobs that have ended."""
        for job_id in job_ids:
            self._rates.pop(job_id, None)


@dataclass(slots=True)
class Estimates:
    """What the daemon has learned about jobs beyond the queue's rows.

    Args:
        overheads: seconds per change.
        rates: iterations/s, by job and GPUs.
        closures: what Slurm has refused to jobs.
    """

    overheads: Overheads = field(default_factory=Overheads)
    rates: Rates = field(default_factory=Rates)
    closures: Closures = field(default_factory=Closures)
