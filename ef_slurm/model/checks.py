"""What several concepts ask of their numbers."""

from __future__ import annotations

import math

from ef_slurm.model.errors import ModelError


def is_power_of_two(number: int) -> bool:
    """Whether `number` is 1, 2, 4, 8, …

    >>> [n for n in range(10) if is_power_of_two(n)]
    [1, 2, 4, 8]
    """
    return number > 0 and number & (number - 1) == 0


def check_finite(name: str, value: float, *, low: float = -math.inf, wanted: str) -> None:
    if not math.isfinite(value) or value < low:
        raise ModelError(name, value, wanted)
