"""A job whose speed is measured while it trains, before it is judged."""

from __future__ import annotations

from dataclasses import dataclass

OBSERVE_SECONDS = 30.0
"""Seconds of training at one size after which its rate is known."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """How far the measuring of a job has come.

    Args:
        since: when it began, UTC epoch seconds; it may have waited for GPUs since.
        gpu_type: of the GPUs that it is measured on; "" as long as there are none.
        wanted: GPUs of the sizes that are still to be measured, the next one first.
        rates: (GPUs, iterations/s) as measured so far.
        unusable: GPUs of sizes at which it did not start.
        seconds: of training so far; `gpu_seconds` times the GPUs that it had.
    """

    since: float
    gpu_type: str = ""
    wanted: tuple[int, ...] = ()
    rates: tuple[tuple[int, float], ...] = ()
    unusable: tuple[int, ...] = ()
    seconds: float = 0.0
    gpu_seconds: float = 0.0
