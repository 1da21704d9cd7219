"""Throughput curves as the planner uses them (paper section 3.2: non-linear scaling).

More GPUs do not always mean more speed: past some size a curve flattens or even falls. The
planner therefore sees a curve through its *envelope*: only the sizes that are faster than every
smaller one. A job never gets more GPUs than where its curve peaks, and a size that was not
measured, or that a smaller one beats, is never chosen.

>>> from ef_slurm.model import ThroughputCurve
>>> falling = envelope(ThroughputCurve.of({1: 4.0, 2: 7.0, 4: 6.5, 8: 9.0, 16: 8.0}))
>>> falling.sizes
((1, 4.0), (2, 7.0), (8, 9.0))
>>> falling.peak
8

One more GPU is worth most where the curve is steepest. The *marginal return* of a step up is the
work gained, counted in the work that one GPU does alone, per GPU added (section 4.2):

>>> falling.marginal_return(1, 2), round(falling.marginal_return(2, 8), 3)
(0.75, 0.083)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ef_slurm.model import ThroughputCurve


@dataclass(frozen=True, slots=True)
class Envelope:
    """The useful sizes of a curve.

    Args:
        sizes: (GPUs, iterations/s), strictly increasing in both.
        unit: iterations/s of one GPU; where one GPU cannot run, the smallest size's rate per GPU.
    """

    sizes: tuple[tuple[int, float], ...]
    unit: float

    @property
    def peak(self) -> int:
        """The largest useful size, in GPUs."""
        return self.sizes[-1][0]

    def rate(self, gpus: int) -> float:
        """Iterations/s on `gpus` GPUs, of which only a useful size is put to work; 0 if none."""
        best = 0.0
        for size, rate in self.sizes:
            if size > gpus:
                break
            best = rate
        return best

    def above(self, gpus: int) -> tuple[int, float] | None:
        """The next useful (size, rate) above `gpus`, or None at the peak."""
        for size, rate in self.sizes:
            if size > gpus:
                return size, rate
        return None

    def marginal_return(self, low: int, high: int) -> float:
        """Single-GPU-equivalent work gained per GPU added from `low` (0: none) to `high` GPUs."""
        return (self.rate(high) - self.rate(low)) / self.unit / (high - low)


@lru_cache(maxsize=4096)
def envelope(curve: ThroughputCurve, most: int | None = None) -> Envelope | None:
    """The envelope of `curve` up to `most` GPUs; None when not even its smallest size fits."""
    sizes: list[tuple[int, float]] = []
    for gpus, rate in curve.points:
        if most is not None and gpus > most:
            break
        if not sizes or rate > sizes[-1][1]:
            sizes.append((gpus, rate))
    if not sizes:
        return None
    first_size, first_rate = curve.points[0]
    return Envelope(tuple(sizes), first_rate / first_size)
