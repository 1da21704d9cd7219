"""Throughput curves as the planner uses them (paper section 3.2: non-linear scaling).

More GPUs do not always mean more speed: past some size a curve flattens or even falls. The
planner therefore sees a curve through its *envelope*: only the sizes that are faster than every
smaller one. A job never gets more GPUs than where its curve peaks, and a size that was not
measured, or that a smaller one beats, is never chosen.

>>> from ef_slurm.model import ThroughputCurve
>>> falling = envelope(ThroughputCurve.of({1: 4.0, 2: 7.0, 4: 6.5, 8: 9.0, 16: 8.0}))
>>> falling.sizes
((1, 4.0), (2, 7.0), (8, 9.0))

One more GPU is worth most where the curve is steepest. The *marginal return* of a step up is the
work gained, counted in the work that one GPU does alone, per GPU added (section 4.2):

>>> falling.marginal_return(1, 2), round(falling.marginal_return(2, 8), 3)
(0.75, 0.083)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from ef_slurm.model import ThroughputCurve


@dataclass(frozen=True, slots=True)
class Envelope:
    """The useful sizes of a curve.

    Args:
        sizes: (GPUs, iterations/s), strictly increasing in both.
        unit: iterations/s of one GPU; where one GPU cannot run, the smallest size's rate per GPU.

    `steps` has, for every useful size and for 0, the next one and the marginal return of that step
    up; None at the peak.
    """

    sizes: tuple[tuple[int, float], ...]
    unit: float
    steps: Mapping[int, tuple[int, float] | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        sizes = (0, *(gpus for gpus, _ in self.sizes))
        steps: dict[int, tuple[int, float] | None] = {sizes[-1]: None}
        for low, high in pairwise(sizes):
            steps[low] = high, self.marginal_return(low, high)
        object.__setattr__(self, "steps", steps)

    def rate(self, gpus: int) -> float:
        """Iterations/s on `gpus` GPUs, of which only a useful size is put to work; 0 if none."""
        best = 0.0
        for size, rate in self.sizes:
            if size > gpus:
                break
            best = rate
        return best

    def step(self, gpus: int) -> tuple[int, float] | None:
        """The next useful size above `gpus`, and what the step is worth; None at the peak."""
        if gpus in self.steps:
            return self.steps[gpus]
        above = next((size for size, _ in self.sizes if size > gpus), None)
        return None if above is None else (above, self.marginal_return(gpus, above))

    def marginal_return(self, low: int, high: int) -> float:
        """Single-GPU-equivalent work gained per GPU added from `low` (0: none) to `high` GPUs."""
        return (self.rate(high) - self.rate(low)) / self.unit / (high - low)


@lru_cache(maxsize=4096)
def cheapest_mix(sizes: tuple[tuple[int, float], ...]) -> tuple[tuple[float, float], ...]:
    """(iterations/s, GPUs) corners of the least GPUs for every average rate, from (0, 0) upwards.

    A job that spends part of its time on one size and the rest on another gets any average rate in
    between; no schedule gets it with fewer GPUs than the corners' connecting line.

    >>> cheapest_mix(((1, 4.0), (2, 5.0), (4, 9.0)))
    ((0.0, 0.0), (4.0, 1.0), (9.0, 4.0))
    """
    corners: list[tuple[float, float]] = [(0.0, 0.0)]
    for gpus, rate in sorted(sizes, key=lambda size: (size[1], -size[0])):
        # The lower hull: drop the corners that the line to the new one passes below.
        while len(corners) > 1:
            (low_rate, low), (mid_rate, mid) = corners[-2:]
            if (mid - low) * (rate - low_rate) < (gpus - low) * (mid_rate - low_rate):
                break
            corners.pop()
        corners.append((rate, float(gpus)))
    return tuple(corners)


def least_gpu_time(
    corners: tuple[tuple[float, float], ...], iterations: float, seconds: float
) -> float:
    """GPU seconds below which no schedule does `iterations` in `seconds`; infinite if none does.

    >>> least_gpu_time(cheapest_mix(((1, 4.0), (2, 7.0))), iterations=55.0, seconds=10.0)
    15.0
    """
    if iterations <= 0:
        return 0.0
    rate = iterations / seconds if seconds > 0 else math.inf
    # The average rate that is needed lies between two corners: that mix costs least.
    for (low_rate, low), (high_rate, high) in pairwise(corners):
        if rate <= high_rate:
            return seconds * (low + (high - low) * (rate - low_rate) / (high_rate - low_rate))
    return math.inf


@lru_cache(maxsize=4096)
def envelope(curve: ThroughputCurve, most: int | None = None) -> Envelope | None:
    """The envelope of `curve` up to `most` GPUs; None when not even its smallest size fits."""
    sizes: list[tuple[int, float]] = []
    for gpus, rate in curve.points:
        if most is not None and gpus > most:
            break
        if not sizes or rate > sizes[-1][1]:  # as fast as a smaller size is of no use
            sizes.append((gpus, rate))
    if not sizes:
        return None
    first_size, first_rate = curve.points[0]
    return Envelope(tuple(sizes), first_rate / first_size)
