"""A model of scaling: from a few measured sizes to every size, with its uncertainty.

Three models of the seconds of one iteration on n GPUs are fitted, with coefficients that cannot be
negative and relative errors that count alike:

* Amdahl's `a + b/n`: too fast where communication grows with n;
* `b/n + c log2 n`: too slow where it does not;
* Ernest's `a + b/n + c log2 n + d n` (Venkataraman et al., NSDI 2016), whose last term lets a
  curve fall behind its peak, as a fifth to a half of the published ones do.

The *median* value is the geometric mean of the first two, joined by `a + b/n + c log2 n` as soon
as three sizes tell its terms apart; beyond the largest measured size it is no more than that one
reached, where a smaller one was faster: nobody grows past a peak. The *pessimistic* value is the
slowest of all of them, and

* between two measured sizes no more than the straight line through both on logarithmic axes, below
  which no curve lies whose returns diminish;
* below the smallest measured size perfect scaling, the least that it can have been;
* beyond the largest measured size hardly more with every doubling;
* across nodes no more than what the whole node reached, as long as no size across nodes was ever
  measured: a network that nobody has seen is not counted on.

`tests/benchmarks/test_scaling.py` prints what this is worth on the published tables.

>>> model = fit({1: 10.0, 8: 50.0}, gpus_per_node=8)
>>> [round(model.at(gpus).median, 1) for gpus in (1, 4, 8, 16)]
[10.0, 32.6, 50.0, 65.6]
>>> [round(model.at(gpus).pessimistic, 1) for gpus in (1, 4, 8, 16)]
[10.0, 27.8, 50.0, 47.5]
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import nnls  # type: ignore[import-untyped]

from ef_slurm.model import ModelError, ThroughputCurve, is_power_of_two

LOSS_PER_DOUBLING = 0.05
"""Fraction by which the pessimistic value falls with every doubling beyond what was measured."""

MAX_GAIN_PER_DOUBLING = 0.15
"""Fraction by which it may grow before that: sizes are measured before they are counted on."""

INTERPOLATION_LOSS = 0.05
"""Fraction taken off the pessimistic value between measured sizes: for curves with a dent."""


class _Term(enum.IntEnum):
    """Terms of the seconds of one iteration: columns of what `_terms` gives."""

    CONSTANT = 0
    WORK = 1
    TREE = 2  # a reduction along a tree
    RING = 3  # something that every rank adds to


def _terms(gpus: int) -> tuple[float, float, float, float]:
    return (1.0, 1.0 / gpus, math.log2(gpus), float(gpus))


_AMDAHL = (_Term.CONSTANT, _Term.WORK)
_COMMUNICATION = (_Term.WORK, _Term.TREE)
_BOTH = (_Term.CONSTANT, _Term.WORK, _Term.TREE)
_ERNEST = (_Term.CONSTANT, _Term.WORK, _Term.TREE, _Term.RING)
_FALLING = (_Term.WORK, _Term.TREE, _Term.RING)

ENOUGH_FOR_THREE_TERMS = 3
"""Measured sizes from which on a model with three terms is more than a guess."""


Seconds = Callable[[int], float]
"""GPUs → seconds of one iteration."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Iterations/s at one size: what to expect, and what may be promised on."""

    median: float
    pessimistic: float


@dataclass(frozen=True, slots=True)
class ScalingModel:
    """What is known of one (model, global batch size, precision, GPU type).

    Args:
        measured: (GPUs, iterations/s) in increasing order of GPUs.
        gpus_per_node: larger sizes communicate across nodes.
        medians, slowest: seconds of an iteration by GPUs, of the models that each value is made of.
    """

    measured: tuple[tuple[int, float], ...]
    gpus_per_node: int
    medians: tuple[Seconds, ...]
    slowest: tuple[Seconds, ...]

    def at(self, gpus: int) -> Prediction:
        """Iterations/s at a size.

        Raises:
            ModelError: `gpus` is no power of two.
        """
        if not is_power_of_two(gpus):
            raise ModelError("GPUs of a prediction", gpus, "a power of two (1, 2, 4, …)")
        for size, rate in self.measured:
            if size == gpus:
                return Prediction(rate, rate)
        smallest, slow = self.measured[0]
        if gpus < smallest:
            # Between perfect scaling and none; a model may know no work at all, and say infinity.
            perfect = slow * gpus / smallest
            return Prediction(min(slow, max(perfect, self._median(gpus))), perfect)
        median = self._median(gpus)
        largest, reached = self.measured[-1]
        if gpus > largest and reached < max(rate for _, rate in self.measured):
            # Behind its peak a curve does not rise again; no model with two terms knows of peaks.
            median = min(median, reached)
        return Prediction(median, min(median, self._pessimistic(gpus)))

    def _median(self, gpus: int) -> float:
        seconds = np.array([one(gpus) for one in self.medians])
        return math.inf if seconds.min() <= 0 else math.exp(-float(np.log(seconds).mean()))

    def _pessimistic(self, gpus: int) -> float:
        rate = 1.0 / max(seconds(gpus) for seconds in self.slowest)
        largest, reached = self.measured[-1]
        if gpus < largest:
            return min(rate, _on_straight_line(self.measured, gpus)) * (1 - INTERPOLATION_LOSS)
        doublings = math.log2(gpus / largest)
        unseen_network = largest <= self.gpus_per_node < gpus
        gain = 1.0 if unseen_network else (1 + MAX_GAIN_PER_DOUBLING) ** doublings
        loss = (1 - LOSS_PER_DOUBLING) ** doublings
        return float(min(rate, reached * gain) * loss)

    def curves(self, sizes: Iterable[int]) -> tuple[ThroughputCurve, ThroughputCurve]:
        """The (median, pessimistic) curves over these sizes."""
        predicted = {gpus: self.at(gpus) for gpus in sizes}
        return (
            ThroughputCurve.of({gpus: one.median for gpus, one in predicted.items()}),
            ThroughputCurve.of({gpus: one.pessimistic for gpus, one in predicted.items()}),
        )


def fit(measured: Mapping[int, float], gpus_per_node: int) -> ScalingModel:
    """The scaling model of at least two measured sizes.

    Args:
        measured: GPUs → iterations/s.
        gpus_per_node: GPUs of a whole node.

    Raises:
        ModelError: fewer than two sizes (nothing is known of any other), a size that is no power of
            two, or a rate that is not a positive number.
    """
    points = ThroughputCurve.of(dict(measured)).points
    if len(points) < 2:
        raise ModelError("measured sizes", [gpus for gpus, _ in points], "at least two")
    if not is_power_of_two(gpus_per_node):
        raise ModelError("GPUs per node", gpus_per_node, "a power of two")
    medians: list[tuple[_Term, ...]] = [_AMDAHL, _COMMUNICATION]
    slowest: list[tuple[_Term, ...]] = [_AMDAHL, _COMMUNICATION, _ERNEST]
    if len(points) >= ENOUGH_FOR_THREE_TERMS:
        medians.append(_BOTH)
        slowest += [_BOTH, _FALLING]
    return ScalingModel(
        points,
        gpus_per_node,
        tuple(_fitted(points, terms) for terms in medians),
        tuple(_fitted(points, terms) for terms in slowest),
    )


def _fitted(points: Sequence[tuple[int, float]], terms: Sequence[_Term]) -> Seconds:
    """Non-negative least squares of the relative errors."""
    columns = list(terms)
    # Shape (measured sizes, terms); both sides times the rate, so that all errors are fractions of
    # what was measured. Columns are scaled to at most 1 for the solver's sake.
    matrix = np.array(
        [[_terms(gpus)[column] * rate for column in columns] for gpus, rate in points]
    )
    scale = np.maximum(matrix.max(axis=0), np.finfo(float).tiny)
    coefficients = nnls(matrix / scale, np.ones(len(points)))[0] / scale

    def seconds(gpus: int) -> float:
        values = _terms(gpus)
        pairs = zip(coefficients, columns, strict=True)
        return float(sum(coefficient * values[column] for coefficient, column in pairs))

    return seconds


def _on_straight_line(points: Sequence[tuple[int, float]], gpus: int) -> float:
    """The rate at a size between two measured ones, on logarithmic axes."""
    for (low, slow), (high, fast) in pairwise(points):
        if low < gpus < high:
            share = math.log(gpus / low) / math.log(high / low)
            return float(slow ** (1 - share) * fast**share)
    raise AssertionError(f"{gpus} GPUs are not between two measured sizes")
