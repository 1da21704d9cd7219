"""Values of the model as JSON for a column, and back. Infinite times are written as null."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from ef_slurm.model import (
    Block,
    Overhead,
    Reason,
    ReasonCode,
    Reservation,
    Running,
    Schedule,
    ThroughputCurve,
)


def dump(value: object) -> str:
    """Compact JSON.

    Raises:
        ValueError: a number that JSON has no word for (NaN, infinity).
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def dump_strings(values: Iterable[str]) -> str:
    """A list of strings."""
    return dump(list(values))


def load_strings(text: str) -> tuple[str, ...]:
    """The inverse of `dump_strings`."""
    return tuple(json.loads(text))


def dump_curves(curves: Iterable[tuple[str, ThroughputCurve]]) -> str:
    """Curves by GPU type: {"a100": [[1, 12.5], [2, 23.0]]}."""
    return dump({gpu_type: curve.points for gpu_type, curve in curves})


def load_curves(text: str) -> tuple[tuple[str, ThroughputCurve], ...]:
    """The inverse of `dump_curves`."""
    table: dict[str, list[list[float]]] = json.loads(text)
    return tuple(
        (gpu_type, ThroughputCurve(tuple((int(gpus), rate) for gpus, rate in points)))
        for gpu_type, points in table.items()
    )


def dump_overhead(overhead: Overhead) -> str:
    """Seconds by kind."""
    return dump({name: getattr(overhead, name) for name in Overhead.__slots__})


def load_overhead(text: str) -> Overhead:
    """The inverse of `dump_overhead`."""
    return Overhead(**json.loads(text))


def dump_block(block: Block | None) -> str | None:
    """A block, or None."""
    return None if block is None else dump(_block(block))


def load_block(text: str | None) -> Block | None:
    """The inverse of `dump_block`."""
    return None if text is None else _to_block(json.loads(text))


def dump_running(running: Running | None) -> str | None:
    """What a job holds, or None."""
    if running is None:
        return None
    return dump(
        {
            "block": _block(running.block),
            "since": running.since,
            "trains_from": running.trains_from,
        }
    )


def load_running(text: str | None) -> Running | None:
    """The inverse of `dump_running`."""
    if text is None:
        return None
    table = json.loads(text)
    return Running(_to_block(table["block"]), table["since"], table["trains_from"])


def dump_schedule(schedule: Schedule) -> str:
    """A share over time: [[start, end, GPUs, type, first GPU], …]."""
    return dump(
        [
            [part.start, finite(part.end), part.gpus, part.gpu_type, part.first_gpu]
            for part in schedule
        ]
    )


def load_schedule(text: str) -> Schedule:
    """The inverse of `dump_schedule`."""
    return tuple(
        Reservation(start, math.inf if end is None else end, gpus, gpu_type, first_gpu)
        for start, end, gpus, gpu_type, first_gpu in json.loads(text)
    )


def dump_reason(reason: Reason) -> str:
    """A reason with its numbers."""
    return dump(
        {
            "code": reason.code.value,
            "job": reason.job,
            "gpus": reason.gpus,
            "until": None if reason.until is None else finite(reason.until),
        }
    )


def load_reason(text: str) -> Reason:
    """The inverse of `dump_reason`, but for an infinite `until`, which comes back as None."""
    table = json.loads(text)
    return Reason(ReasonCode(table["code"]), table["job"], table["gpus"], table["until"])


def finite(value: float) -> float | None:
    """The number, or None for infinity."""
    return value if math.isfinite(value) else None


def _block(block: Block) -> dict[str, Any]:
    return {
        "gpu_type": block.gpu_type,
        "nodes": block.nodes,
        "gpus_per_node": block.gpus_per_node,
        "first_gpu": block.first_gpu,
    }


def _to_block(table: Mapping[str, Any]) -> Block:
    return Block(
        table["gpu_type"], tuple(table["nodes"]), table["gpus_per_node"], table["first_gpu"]
    )
