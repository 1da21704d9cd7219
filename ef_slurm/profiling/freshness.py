"""How long a measured rate is believed. Pure.

A rate is *stale* when it is older than `FRESH_SECONDS`, or when the same training has been measured
with other software since. Drivers, data, libraries and scripts change; nobody is promised anything
on what may be over. A stale rate counts again once something fresh agrees with it:

* two stale rates or more make a curve (`scaling`); where a fresh one lies below that, all of them
  are scaled down with it, so the shape of the curve outlives its height;
* a single one counts where the curve of two fresh ones agrees with it.

Without anything fresh there is nothing to count on: the training is measured again, and one size
is enough for that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ef_slurm.model import MeasuredRate, ModelError
from ef_slurm.profiling.scaling import ScalingModel, fit

FRESH_SECONDS = 30 * 86400.0
"""Seconds after which a rate is stale."""

AGREEMENT = 0.1
"""Fraction within which rates agree."""


def is_old(rate: MeasuredRate, now: float) -> bool:
    """Whether it was measured too long ago."""
    return now - rate.at > FRESH_SECONDS


def believed(measured: Collection[MeasuredRate], now: float) -> dict[int, float]:
    """GPUs → iterations/s that may be counted on.

    Args:
        measured: rates of one key and one level; of one size the latest counts.
        now: UTC epoch seconds.
    """
    by_age = sorted(measured, key=lambda one: one.at)
    latest = {one.gpus: one for one in by_age}
    software = next((one.software for one in reversed(by_age) if one.software), "")
    fresh: dict[int, float] = {}
    stale: dict[int, float] = {}
    for gpus, one in sorted(latest.items()):
        changed = one.software not in ("", software)
        (stale if changed or is_old(one, now) else fresh)[gpus] = one.rate
    if fresh and stale:
        gpus_per_node = max(one.gpus_per_node for one in latest.values())
        fresh.update(_confirmed(stale, fresh, gpus_per_node))
    return dict(sorted(fresh.items()))


def _confirmed(
    stale: Mapping[int, float], fresh: Mapping[int, float], gpus_per_node: int
) -> dict[int, float]:
    """The stale rates that fresh ones speak for, scaled down to them."""
    of_stale, of_fresh = _model(stale, gpus_per_node), _model(fresh, gpus_per_node)
    if of_stale is not None:
        ratios = [rate / of_stale.at(gpus).median for gpus, rate in fresh.items()]
        scale = min(1.0, *ratios)
        return {gpus: rate * scale for gpus, rate in stale.items()}
    if of_fresh is not None:
        return {
            gpus: rate
            for gpus, rate in stale.items()
            if abs(rate / of_fresh.at(gpus).median - 1.0) <= AGREEMENT
        }
    return {}


def _model(rates: Mapping[int, float], gpus_per_node: int) -> ScalingModel | None:
    try:
        return fit(rates, gpus_per_node)
    except (ModelError, RuntimeError):
        return None  # one size, or rates that no model fits
