"""Rates and curves as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from ef_slurm.cli.common.curve_words import measured_words
from ef_slurm.formats.times import format_date
from ef_slurm.model import KnownCurve, MeasuredRate

WIDTH = 40
"""Characters of the longest bar."""

_HEADINGS = ("MODEL", "BATCH", "PRECISION", "GPU", "GPUS", "ITERATIONS/S", "MEASURED", "FROM")


def rate_lines(rates: Sequence[MeasuredRate], zone: tzinfo) -> list[str]:
    """A table of rates, with a heading."""
    rows = [
        (
            rate.key.model_name,
            str(rate.key.global_batch_size),
            rate.key.precision,
            rate.key.gpu_type,
            str(rate.gpus),
            f"{rate.rate:.4g}",
            format_date(rate.at, zone),
            rate.source if rate.job_id is None else f"job {rate.job_id}",
        )
        for rate in rates
    ]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (_HEADINGS, *rows)
    ]


def curve_lines(curve: KnownCurve, zone: tzinfo) -> list[str]:
    """A curve as bars: solid what is promised on, light what is expected beyond that."""
    measured = dict(curve.measured)
    expected, promised = dict(curve.expected.points), dict(curve.promised.points)
    most = max(expected.values())
    lines = [f"{curve.gpu_type}, {measured_words(curve, zone)}"]
    lines.append("  GPUS   EXPECTED   PROMISED  iterations/s (* measured)")
    for gpus, rate in sorted(expected.items()):
        solid = round(WIDTH * promised[gpus] / most)
        light = max(0, round(WIDTH * rate / most) - solid)
        mark = "*" if gpus in measured else " "
        bar = "█" * solid + "░" * light
        lines.append(f"{gpus:6d} {rate:10.4g} {promised[gpus]:10.4g} {mark}{bar}".rstrip())
    return lines
