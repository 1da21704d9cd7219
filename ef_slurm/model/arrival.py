"""A job that has arrived, as the price of GPU time remembers it."""

from __future__ import annotations

from dataclasses import dataclass

from ef_slurm.model.checks import check_finite
from ef_slurm.model.errors import ModelError

MOST_ARRIVALS = 512
"""So many arrivals are remembered, the latest."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a deadline job asked for when it arrived, whatever became of it.

    Args:
        job_id: the planner's id.
        at: when it was submitted.
        window: seconds from then to its deadline, grace included.
        gpu_seconds: the least GPU time in which it could be done within that.
        weight: what a promise to it counts.
    """

    job_id: str
    at: float
    window: float
    gpu_seconds: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_finite("arrival", self.at, wanted="seconds since the epoch")
        for name, value in (
            ("window of an arrival", self.window),
            ("GPU-seconds of an arrival", self.gpu_seconds),
            ("weight of an arrival", self.weight),
        ):
            check_finite(name, value, low=0.0, wanted="a positive number")
            if value <= 0:
                raise ModelError(name, value, "a positive number")


Arrivals = tuple[Arrival, ...]
"""Those that are remembered, in order of arrival."""
