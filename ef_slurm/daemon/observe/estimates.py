"""What the daemon learns from watching: seconds per change, true throughput.

All of it comes out of the queue's events again after a restart.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ef_slurm.daemon.observe.closures import Closures
from ef_slurm.daemon.observe.overheads import Overheads
from ef_slurm.model import ThroughputCurve

Curves = tuple[tuple[str, ThroughputCurve], ...]

RATE_TOLERANCE = 0.05
"""A curve is left alone as long as a job trains within this fraction of it."""


def calibrated(curve: ThroughputCurve, measured: Mapping[int, float]) -> ThroughputCurve:
    """The curve with what was measured in it.

    Measured sizes are taken as they are. The others keep their values where the job is as fast as
    the curve says or faster, and are scaled down with the nearest measured size where it is slower:
    a promise must not count on a speed that was never seen. Beyond the largest measured size a
    curve that got worse from one measured size to the next goes on getting worse: a job is not
    grown past a peak that its told curve does not have.

    >>> told = ThroughputCurve.of({1: 10.0, 2: 18.0, 4: 30.0, 8: 50.0})
    >>> calibrated(told, {2: 9.0}).points
    ((1, 5.0), (2, 9.0), (4, 15.0), (8, 25.0))
    >>> calibrated(told, {2: 18.0, 4: 15.0}).points
    ((1, 10.0), (2, 18.0), (4, 15.0), (8, 12.5))
    """
    given = dict(curve.points)
    factors = {
        gpus: _rounded(rate / given[gpus]) for gpus, rate in measured.items() if gpus in given
    }
    if all(factor == 1.0 for factor in factors.values()):
        return curve
    rates = {}
    for gpus, rate in given.items():
        if gpus in factors:
            rates[gpus] = rate if factors[gpus] == 1.0 else measured[gpus]
        else:
            rates[gpus] = rate * min(1.0, _factor(gpus, factors))
    return ThroughputCurve.of(rates)


def calibrated_types(curves: Curves, measured: Mapping[str, Mapping[int, float]]) -> Curves:
    """The curves with what was measured on each GPU type.

    A type on which nothing was measured is scaled down as far as the job was slower than its
    curves say on the others, and never up.

    >>> told = ThroughputCurve.of({1: 10.0, 2: 18.0})
    >>> a100, t4 = calibrated_types((("a100", told), ("t4", told)), {"a100": {1: 5.0}})
    >>> a100[1].points, t4[1].points
    (((1, 5.0), (2, 9.0)), ((1, 5.0), (2, 9.0)))
    """
    part = slowest(curves, measured)

    def seen(kind: str, curve: ThroughputCurve) -> ThroughputCurve:
        if measured.get(kind):
            return calibrated(curve, measured[kind])
        if part == 1.0:
            return curve
        return ThroughputCurve.of({gpus: rate * part for gpus, rate in curve.points})

    return tuple((kind, seen(kind, curve)) for kind, curve in curves)


def slowest(
    curves: tuple[tuple[str, ThroughputCurve], ...], measured: Mapping[str, Mapping[int, float]]
) -> float:
    """The least part of what its curves say at which a job was measured; 1 for no less."""
    ratios = (
        _rounded(measured[kind][gpus] / rate)
        for kind, curve in curves
        for gpus, rate in curve.points
        if rate > 0 and gpus in measured.get(kind, {})
    )
    return min([1.0, *ratios])


def _rounded(factor: float) -> float:
    """Within the tolerance nothing is off."""
    return 1.0 if abs(factor - 1.0) <= RATE_TOLERANCE else factor


def _factor(gpus: int, factors: Mapping[int, float]) -> float:
    """What a size that was not measured is off by, going by those that were."""
    nearest = min(factors, key=lambda size: _distance(size, gpus))
    if len(factors) < 2 or gpus < max(factors):
        return factors[nearest]
    *_, before, last = sorted(factors)
    worse = min(1.0, factors[last] / factors[before])
    return float(factors[last] * worse ** (math.log2(gpus / last) / math.log2(last / before)))


def _distance(a: int, b: int) -> tuple[float, int]:
    return abs(math.log2(a) - math.log2(b)), a


@dataclass(slots=True)
class _JobRates:
    """What one job reached.

    Args:
        usual: GPU type → GPUs → iterations/s, while nothing was wrong.
        slow: the same, measured since a slowdown began that is in force.
        factor: what it trains at since then, as a fraction of before; 1 for no slowdown.
        brief: (GPU type, GPUs) of those in `usual` that were measured for a second or two.
    """

    usual: dict[str, dict[int, float]] = field(default_factory=dict)
    slow: dict[str, dict[int, float]] = field(default_factory=dict)
    factor: float = 1.0
    brief: set[tuple[str, int]] = field(default_factory=set)

    def now(self, gpu_type: str) -> Mapping[int, float]:
        usual, slow = self.usual.get(gpu_type, {}), self.slow.get(gpu_type, {})
        if self.factor == 1.0:
            return usual
        return {gpus: rate * self.factor for gpus, rate in usual.items()} | slow


class Rates:
    """Iterations/s that jobs were seen to reach, by job, GPU type and GPUs.

    While a job trains at a part of its rate, all its sizes are counted on at that part only: that
    it is faster on others is to be seen first.
    """

    def __init__(self) -> None:
        self._jobs: dict[int, _JobRates] = defaultdict(_JobRates)

    def of(self, job_id: int, gpu_type: str) -> Mapping[int, float]:
        """GPUs → iterations/s on GPUs of a type."""
        return self._jobs[job_id].now(gpu_type) if job_id in self._jobs else {}

    def by_type(self, job_id: int) -> Mapping[str, Mapping[int, float]]:
        """The same for each type on which something was measured."""
        job = self._jobs.get(job_id)
        return {} if job is None else {kind: job.now(kind) for kind in job.usual | job.slow}

    def usual(self, job_id: int, gpu_type: str) -> Mapping[int, float]:
        """The same without the slowdown that is in force, as far as it was watched for long."""
        job = self._jobs.get(job_id)
        known = {} if job is None else job.usual.get(gpu_type, {})
        return {
            gpus: rate
            for gpus, rate in known.items()
            if job is None or (gpu_type, gpus) not in job.brief
        }

    def factor(self, job_id: int) -> float:
        """What part of its rate it trains at; 1 without a slowdown."""
        return self._jobs[job_id].factor if job_id in self._jobs else 1.0

    def is_slow(self, job_id: int) -> bool:
        """Whether a slowdown is in force."""
        return self.factor(job_id) < 1.0

    def learn(
        self, job_id: int, gpu_type: str, gpus: int, rate: float, *, brief: bool = False
    ) -> bool:
        """Take a measurement; whether it tells something new.

        Args:
            brief: it took a second or two only: nothing that was watched for longer gives way.
        """
        job = self._jobs[job_id]
        rates = (job.usual if job.factor == 1.0 else job.slow).setdefault(gpu_type, {})
        known = rates.get(gpus)
        if brief and known is not None:
            return False
        (job.brief.add if brief else job.brief.discard)((gpu_type, gpus))
        if known is not None and abs(rate / known - 1) <= RATE_TOLERANCE:
            return False
        rates[gpus] = rate
        return True

    def slow_down(self, job_id: int, factor: float) -> None:
        """From now on the job trains at this part of its rate."""
        job = self._jobs[job_id]
        job.factor, job.slow = factor, {}

    def recover(self, job_id: int) -> None:
        """The slowdown is over."""
        job = self._jobs[job_id]
        job.factor, job.slow = 1.0, {}

    def forget(self, job_ids: Iterable[int]) -> None:
        """Drop jobs that have ended."""
        for job_id in job_ids:
            self._jobs.pop(job_id, None)


@dataclass(slots=True)
class Estimates:
    """What the daemon has learned about jobs beyond the queue's rows.

    Args:
        overheads: seconds per change.
        rates: iterations/s, by job, GPU type and GPUs.
        closures: what Slurm has refused to jobs.
    """

    overheads: Overheads = field(default_factory=Overheads)
    rates: Rates = field(default_factory=Rates)
    closures: Closures = field(default_factory=Closures)
