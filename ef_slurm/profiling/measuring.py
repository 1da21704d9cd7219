"""Which sizes of a job to measure before it is judged, and what is then believed of its curve.

Spread beats count: one GPU and one whole node tell most about the rest. Sizes across nodes are
measured only where a deadline asks for them. What it may cost is bounded. Pure: daemon and
simulator ask what to measure, the profile library asks what to believe as well.

A job that needs about 7 iterations/s, on nodes of four GPUs; nothing was measured yet, then the
node, then one GPU as well:

>>> need = Need(seconds_left=1000.0, iterations_left=7000.0)
>>> sizes = (1, 2, 4, 8, 16)
>>> wanted(need, {}, sizes, gpus_per_node=4)
(4, 1)
>>> wanted(need, {4: 3.6}, sizes, gpus_per_node=4)
(1,)
>>> wanted(need, {4: 3.6, 1: 1.0}, sizes, gpus_per_node=4)  # not enough: how fast are more?
(16,)
>>> wanted(Need(1000.0, 3000.0), {4: 3.6, 1: 1.0}, sizes, gpus_per_node=4)
()
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ef_slurm.model import OBSERVE_SECONDS, ThroughputCurve
from ef_slurm.profiling.scaling import fit

MAX_SECONDS = 180.0
"""`Bound.seconds` where nobody says otherwise."""

STEEP = 1.7
"""Speed-up by a doubling that is worth a look where the deadline asks for it."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What a curve is taken to be: promises count on `promised`, growth on `expected`."""

    promised: ThroughputCurve
    expected: ThroughputCurve

    @property
    def exact(self) -> bool:
        """Whether nothing is uncertain."""
        return self.promised == self.expected


@dataclass(frozen=True, slots=True)
class Bound:
    """What the measuring of one job may cost.

    Args:
        seconds: after its first training; it is then judged by what is known.
        gpu_seconds: of training; 0: as many `seconds` on one whole node.
    """

    seconds: float = MAX_SECONDS
    gpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Need:
    """What a job needs of its curve, and what was spent on measuring it.

    Args:
        seconds_left: until its deadline, less what a start costs; infinite without a deadline.
        iterations_left: that remain.
        trained_seconds: since it first trained; 0 before.
        gpu_seconds: of training, so far.
    """

    seconds_left: float
    iterations_left: float
    trained_seconds: float = 0.0
    gpu_seconds: float = 0.0

    def in_time(self, rates: Mapping[int, float]) -> tuple[int, ...]:
        """The sizes that finish the job by its deadline with nobody else there, in order."""
        return tuple(
            gpus
            for gpus, rate in sorted(rates.items())
            if self.iterations_left <= rate * self.seconds_left
        )


def wanted(
    need: Need,
    rates: Mapping[int, float],
    sizes: Collection[int],
    gpus_per_node: int,
    bound: Bound = Bound(),
) -> tuple[int, ...]:
    """The sizes to measure before a job is judged, in this order; none when it can be judged.

    First a whole node (it trains most while nothing is known), then one GPU, or the largest and the
    least that can run there. Then, where the deadline cannot be met with what may be promised, the
    least size with which it might be met if the curve went on as steeply as curves do, as long as
    the job's share of measuring allows.

    Args:
        need: the job's.
        rates: GPUs → iterations/s, as measured so far, by this job or others of its key.
        sizes: GPUs that it can run on, powers of two.
        gpus_per_node: GPUs of a whole node, a power of two.
        bound: what it may cost.
    """
    if rates and need.trained_seconds >= bound.seconds:
        return ()
    missing = tuple(gpus for gpus in _first(sizes, gpus_per_node) if gpus not in rates)
    if missing:
        return missing
    belief = believe(rates, sizes, gpus_per_node)
    if need.in_time(dict(belief.promised.points)):
        return ()
    most = bound.gpu_seconds or bound.seconds * gpus_per_node
    allowed = most - need.gpu_seconds
    largest = max(rates)
    hopes = {
        gpus: max(rate, rates[largest] * STEEP ** math.log2(gpus / largest))
        for gpus, rate in belief.expected.points
        if gpus not in rates and gpus * OBSERVE_SECONDS <= allowed
    }
    return need.in_time(hopes)[:1]


def believe(rates: Mapping[int, float], sizes: Collection[int], gpus_per_node: int) -> Belief:
    """What is believed of a curve of which these rates were measured.

    Args:
        rates: GPUs → iterations/s; at least one.
        sizes: GPUs that the job can run on.
        gpus_per_node: GPUs of a whole node.

    Raises:
        ModelError: nothing was measured, or nothing that can be.
    """
    if len(rates) < 2:
        # One point says nothing about other sizes.
        only = ThroughputCurve.of(dict(rates))
        return Belief(only, only)
    expected, promised = fit(rates, gpus_per_node).curves(sorted({*sizes, *rates}))
    return Belief(promised, expected)


def _first(sizes: Collection[int], gpus_per_node: int) -> tuple[int, ...]:
    if not sizes:
        return ()
    least = min(sizes)
    inside = max((gpus for gpus in sizes if gpus <= gpus_per_node), default=least)
    return (inside, least) if inside != least else (least,)
