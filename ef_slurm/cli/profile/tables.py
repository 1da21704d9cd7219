"""Measured rates from throughput tables, and back."""

from __future__ import annotations

from collections.abc import Sequence

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.formats.throughput import BatchCurves, format_table
from ef_slurm.model import LONGEST_SOURCE, MeasuredRate, ProfileKey, ThroughputCurve


def rates_of(
    curves: BatchCurves,
    *,
    model_name: str,
    precision: str,
    gpu_type: str,
    gpus_per_node: int,
    source: str,
    software: str,
    at: float,
) -> tuple[MeasuredRate, ...]:
    """The rates of a table. Whose they are, the daemon knows.

    Args:
        gpus_per_node: GPUs of a whole node where it was measured.
        source: the table's file.
        at: when it is taken in, UTC epoch seconds.

    Raises:
        ModelError: a name or a number that the library does not take.
    """
    return tuple(
        MeasuredRate(
            key=ProfileKey(model_name, batch, precision, gpu_type),
            gpus=gpus,
            gpus_per_node=min(gpus, gpus_per_node),
            rate=rate,
            seconds=0.0,
            owner="",
            account="",
            at=at,
            source=source[-LONGEST_SOURCE:],
            software=software,
        )
        for batch, curve in curves.items()
        for gpus, rate in curve.points
    )


def table_of(rates: Sequence[MeasuredRate]) -> str:
    """One model's rates as a table.

    Raises:
        UsageError: there are none, or they are of several precisions or GPU types.
    """
    if not rates:
        raise UsageError("nothing of yours is known under that name; see ef-profile list")
    for option, values in (
        ("--gpu-type", {rate.key.gpu_type for rate in rates}),
        ("--precision", {rate.key.precision for rate in rates}),
    ):
        if len(values) > 1:
            raise UsageError(f"{option}: say which, one of {', '.join(sorted(values))}")
    batches: dict[int, dict[int, float]] = {}
    for rate in rates:
        batches.setdefault(rate.key.global_batch_size, {})[rate.gpus] = rate.rate
    return format_table({batch: ThroughputCurve.of(points) for batch, points in batches.items()})
