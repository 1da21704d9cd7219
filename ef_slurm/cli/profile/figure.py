"""Curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ef_slurm.charts import library
from ef_slurm.charts.lines import SpeedCurve, speed_curves
from ef_slurm.cli.common.errors import UsageError
from ef_slurm.model import KnownCurve


def check_figure_file(file: Path) -> None:
    """Refuse, before the work is done, what could not be drawn after it.

    Raises:
        UsageError: there is nothing to draw with, or the suffix is no known format.
    """
    try:
        library.check_file(file, "web")
    except library.ChartsError as error:
        raise UsageError(f"--output: {error}; ef-profile show draws without it") from None


def write_figure(title: str, curves: Sequence[KnownCurve], file: Path) -> None:
    """Draw what is expected, down to what is promised on, and what was measured.

    Raises:
        FormatError: the file cannot be written.
    """
    drawn = [
        SpeedCurve(curve.gpu_type, curve.expected.points, curve.promised.points, curve.measured)
        for curve in curves
    ]
    chart = speed_curves(title, drawn)
    note = "line: expected; below it: what is promised on; rings: measured"
    library.write_figure(title, [(note, chart)], file)
