"""How a job scales: what of a task follows from its curves alone, the same in every plan.

>>> from ef_slurm.model import ThroughputCurve
>>> curves = (("gpu", ThroughputCurve.of({1: 1.0, 2: 2.1, 4: 2.0})),)
>>> scaling(curves, (), bounds=(4,), worths=(1.0,)).sizes  # two GPUs cost less GPU time than one
(Size(gpus=2, rate=2.1, gpu_type='gpu'), Size(gpus=1, rate=1.0, gpu_type='gpu'))
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from ef_slurm.model import ThroughputCurve
from ef_slurm.planner.timeline.curve import Envelope, cheapest_mix, envelope

_KEPT = 1 << 15
"""Curves of which the sizes are kept: more than a cluster has jobs."""


class Size(NamedTuple):
    """A useful size of a job: `gpus` of a type run it at `rate` iterations/s."""

    gpus: int
    rate: float
    gpu_type: str


class Scaling(NamedTuple):
    """The useful sizes of a job; `Task` has the same fields."""

    envelopes: Mapping[str, Envelope]
    sizes: tuple[Size, ...]
    corners: tuple[tuple[float, float], ...]


@lru_cache(maxsize=_KEPT)
def scaling(
    curves: tuple[tuple[str, ThroughputCurve], ...],
    growth_curves: tuple[tuple[str, ThroughputCurve], ...],
    bounds: tuple[int, ...],
    worths: tuple[float, ...],
) -> Scaling:
    """The useful sizes of a job with these curves.

    Args:
        curves: by GPU type.
        growth_curves: as they are expected to be; the same as `curves` where a type is left out.
        bounds: the largest size on each of the types of `curves`.
        worths: of a GPU, for each of these types.
    """
    envelopes: dict[str, Envelope] = {}
    expected = dict(growth_curves)
    found: list[tuple[float, Size]] = []
    for (gpu_type, curve), bound, worth in zip(curves, bounds, worths, strict=True):
        promised = envelope(curve, bound)
        if promised is not None:
            envelopes[gpu_type] = envelope(expected.get(gpu_type, curve), bound) or promised
            found += [
                (gpus / rate * worth, Size(gpus, rate, gpu_type)) for gpus, rate in promised.sizes
            ]
    found.sort(key=lambda one: (one[0], one[1].gpus, one[1].gpu_type))
    sizes = tuple(size for _, size in found)
    corners = cheapest_mix(tuple((size.gpus, size.rate) for size in sizes))
    return Scaling(MappingProxyType(envelopes), sizes, corners)
