"""Values of the model as JSON for a column, and back, through the codec of all typed records.

A column holds what the codec makes of its value, but for two that people query: curves are an
object by GPU type, and a schedule is rows in which no end is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, wraps
from typing import Any, NamedTuple, TypeVar

from ef_slurm.formats.codec import decode, encode
from ef_slurm.model import (
    ArrayMember,
    Block,
    Dependency,
    Gate,
    Json,
    Measuring,
    Overhead,
    Reason,
    Reservation,
    Running,
    Schedule,
    ThroughputCurve,
)

LONGEST_REMEMBERED = 2048
"""Characters. What is longer is read each time: anybody may make thousands of such texts."""

_Text = TypeVar("_Text", str, str | None)
_Value = TypeVar("_Value")


def _remembered(load: Callable[[_Text], _Value]) -> Callable[[_Text], _Value]:
    """Most columns of a row that has changed say what they said before, or what other rows say."""
    known = lru_cache(maxsize=4096)(load)

    @wraps(load)
    def loading(text: _Text) -> _Value:
        return load(text) if text is not None and len(text) > LONGEST_REMEMBERED else known(text)

    return loading


def dump(value: object) -> str:
    """Compact JSON.

    Raises:
        TypeError: a value that JSON has no word for (NaN).
    """
    return encode(value).decode()


def load(text: str) -> Mapping[str, Json]:
    """An object of plain JSON."""
    return decode(dict[str, Any], text)


def dump_strings(values: Iterable[str]) -> str:
    """A list of strings."""
    return dump(list(values))


@_remembered
def load_strings(text: str) -> tuple[str, ...]:
    """The inverse of `dump_strings`."""
    return decode(tuple[str, ...], text)


def dump_curves(curves: Iterable[tuple[str, ThroughputCurve]]) -> str:
    """Curves by GPU type: {"a100": [[1, 12.5], [2, 23.0]]}."""
    return dump({gpu_type: curve.points for gpu_type, curve in curves})


@_remembered
def load_curves(text: str) -> tuple[tuple[str, ThroughputCurve], ...]:
    """The inverse of `dump_curves`."""
    table = decode(dict[str, tuple[tuple[int, float], ...]], text)
    return tuple((gpu_type, ThroughputCurve(points)) for gpu_type, points in table.items())


def dump_overhead(overhead: Overhead) -> str:
    """Seconds by kind."""
    return dump(overhead)


@_remembered
def load_overhead(text: str) -> Overhead:
    """The inverse of `dump_overhead`."""
    return decode(Overhead, text)


def dump_block(block: Block | None) -> str | None:
    """A block, or None."""
    return None if block is None else dump(block)


def load_block(text: str | None) -> Block | None:
    """The inverse of `dump_block`."""
    return None if text is None else decode(Block, text)


def dump_running(running: Running | None) -> str | None:
    """What a job holds, or None."""
    return None if running is None else dump(running)


@_remembered
def load_running(text: str | None) -> Running | None:
    """The inverse of `dump_running`."""
    return None if text is None else decode(Running, text)


def dump_measuring(measuring: Measuring | None) -> str | None:
    """How far a job is measured, or None."""
    return None if measuring is None else dump(measuring)


@_remembered
def load_measuring(text: str | None) -> Measuring | None:
    """The inverse of `dump_measuring`."""
    return None if text is None else decode(Measuring, text)


def dump_dependency(dependency: Dependency) -> str | None:
    """What a job waits for; None for nothing."""
    return dump(dependency) if dependency.conditions else None


@_remembered
def load_dependency(text: str | None) -> Dependency:
    """The inverse of `dump_dependency`."""
    return Dependency() if text is None else decode(Dependency, text)


def dump_array(array: ArrayMember | None) -> str | None:
    """Which job of an array one is, or None."""
    return None if array is None else dump(array)


@_remembered
def load_array(text: str | None) -> ArrayMember | None:
    """The inverse of `dump_array`."""
    return None if text is None else decode(ArrayMember, text)


def dump_gate(gate: Gate | None) -> str | None:
    """What has come of that, or None."""
    return None if gate is None else dump(gate)


def load_gate(text: str | None) -> Gate | None:
    """The inverse of `dump_gate`."""
    return None if text is None else decode(Gate, text)


class _Row(NamedTuple):
    """A reservation in the column of a schedule."""

    start: float
    end: float | None
    gpus: int
    gpu_type: str
    first_gpu: int


def dump_schedule(schedule: Schedule) -> str:
    """A share over time: [[start, end, GPUs, type, first GPU], …]; an end of null is never."""
    return dump(
        [
            _Row(part.start, finite(part.end), part.gpus, part.gpu_type, part.first_gpu)
            for part in schedule
        ]
    )


def load_schedule(text: str) -> Schedule:
    """The inverse of `dump_schedule`."""
    return tuple(
        Reservation(start, math.inf if end is None else end, gpus, gpu_type, first_gpu)
        for start, end, gpus, gpu_type, first_gpu in decode(tuple[_Row, ...], text)
    )


def dump_reason(reason: Reason) -> str:
    """A reason with its numbers."""
    return dump(reason)


def load_reason(text: str) -> Reason:
    """The inverse of `dump_reason`."""
    return decode(Reason, text)


def finite(value: float) -> float | None:
    """The number, or None for infinity."""
    return value if math.isfinite(value) else None
