"""Throughput curves: GPUs to iterations/s."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from ef_slurm.model.checks import is_power_of_two
from ef_slurm.model.errors import ModelError

STEEPEST = 10.0
"""Times the rate that twice the GPUs can reach. The steepest published curve has 2.12; a model that
fits into two GPUs' memory and not into one's has more."""
DEEPEST = 0.05
"""Times the rate that twice the GPUs fall to at least. The deepest published fall is to 0.41."""


@dataclass(frozen=True, slots=True)
class ThroughputCurve:
    """Measured iterations/s by GPU count, for one (model, global batch size, GPU type).

    `points` holds (GPUs, iterations/s) in increasing order of GPUs, each a power of two that can
    run; a size that is missing cannot. Real curves are not always monotone: the planner uses the
    non-decreasing envelope (`ef_slurm.planner.timeline.curve`).

    >>> ThroughputCurve.of({1: 10.0, 2: 18.0, 4: 30.0}).points
    ((1, 10.0), (2, 18.0), (4, 30.0))
    """

    points: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ModelError("throughput curve", self.points, "give at least one GPUs:iterations/s")
        last = 0
        for gpus, rate in self.points:
            if not is_power_of_two(gpus):
                raise ModelError("throughput curve GPUs", gpus, "a power of two (1, 2, 4, …)")
            if gpus <= last:
                raise ModelError("throughput curve GPUs", gpus, f"larger than {last}")
            if not (math.isfinite(rate) and rate > 0):
                raise ModelError(
                    f"throughput at {gpus} GPUs", rate, "a positive number of iterations/s"
                )
            last = gpus

    @classmethod
    def of(cls, rates: dict[int, float]) -> ThroughputCurve:
        """The curve of a {GPUs: iterations/s} table."""
        return cls(tuple(sorted(rates.items())))


def check_steps(curve: ThroughputCurve) -> None:
    """Refuse a curve that was written down wrongly: a digit or a point is at the wrong place.

    Raises:
        ModelError: names the size with which it jumps, and what would be believed.

    >>> check_steps(ThroughputCurve.of({1: 10.0, 2: 1800.0}))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ef_slurm.model.errors.ModelError: throughput at 2 GPUs: ... 0.5 to 100 after 10 on 1
    """
    for (few, slow), (many, rate) in pairwise(curve.points):
        doublings = math.log2(many / few)
        low, high = slow * DEEPEST**doublings, slow * STEEPEST**doublings
        if not low * (1 - 1e-9) <= rate <= high * (1 + 1e-9):
            wanted = f"{low:.4g} to {high:.4g} after {slow:.4g} on {few}"
            raise ModelError(f"throughput at {many} GPUs", rate, wanted)
