"""Sizes that a launch is to measure of itself, and what it measured: texts in orders and reports.

>>> read_sizes("4,2,1")
(4, 2, 1)
>>> points_text((Point(4, 37, 1.5), Point(2, 20, 1.25)))
'4:37/1.5,2:20/1.25'
>>> read_points("4:37/1.5")
(Point(gpus=4, iterations=37, seconds=1.5),)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ef_slurm.contract.records import ContractError

MOST_SIZES = 21
"""More sizes than this no job has: powers of two up to the most ranks."""

_SIZE = re.compile(r"[1-9][0-9]{0,6}", re.ASCII)
_POINT = re.compile(r"([1-9][0-9]{0,6}):([1-9][0-9]{0,14})/([0-9]{1,8}(?:\.[0-9]{1,6})?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Point:
    """What was seen at one size.

    Args:
        gpus: ranks that trained.
        iterations: that they did, at least one.
        seconds: in which they did them, without those that a change of size takes.
    """

    gpus: int
    iterations: int
    seconds: float


def read_sizes(text: str) -> tuple[int, ...]:
    """The sizes that a text names.

    Raises:
        ContractError: it is not GPUs separated by commas, each number once.
    """
    parts = text.split(",") if text else []
    sizes = tuple(int(part) for part in parts if _SIZE.fullmatch(part))
    if len(sizes) < len(parts) or len(set(sizes)) < len(sizes) or len(sizes) > MOST_SIZES:
        raise ContractError(f"{text[:100]!r} is not GPUs separated by commas, each number once")
    return sizes


def points_text(points: Iterable[Point]) -> str:
    """Points as a report has them; seconds to the microsecond."""
    return ",".join(
        f"{one.gpus}:{one.iterations}/{one.seconds:.6f}".rstrip("0").rstrip(".") for one in points
    )


def read_points(text: str) -> tuple[Point, ...]:
    """The points that a report names.

    Raises:
        ContractError: it is not GPUs:iterations/seconds separated by commas, each size once.
    """
    parts = text.split(",") if text else []
    found = [match for part in parts if (match := _POINT.fullmatch(part))]
    points = tuple(Point(int(one[1]), int(one[2]), float(one[3])) for one in found)
    once = len({one.gpus for one in points}) == len(points) <= MOST_SIZES
    if len(points) < len(parts) or not once or any(one.seconds <= 0.0 for one in points):
        raise ContractError(
            f"{text[:100]!r} is not GPUs:iterations/seconds separated by commas, each size once"
        )
    return points
