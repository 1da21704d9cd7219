"""Curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.model import KnownCurve

FORMATS = (".png", ".svg")


def check_figure_file(file: Path) -> None:
    """Refuse, before the work is done, what could not be drawn after it.

    Raises:
        UsageError: matplotlib is missing, or the suffix is no known format.
    """
    if file.suffix.lower() not in FORMATS:
        raise UsageError(f"--output={file}: its name must end in {' or '.join(FORMATS)}")
    try:
        import matplotlib.figure  # noqa: F401 - heavy, and only needed here
    except ImportError:
        raise UsageError(
            "a figure needs matplotlib: install ef-slurm[simulator]; ef-profile show draws "
            "without it"
        ) from None


def write_figure(title: str, curves: Sequence[KnownCurve], file: Path) -> None:
    """Draw what is expected, down to what is promised on, and what was measured.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, curve in enumerate(curves):
        colour = f"C{number}"
        gpus = [size for size, _ in curve.expected.points]
        expected = [rate for _, rate in curve.expected.points]
        promised = [rate for _, rate in curve.promised.points]
        axes.plot(gpus, expected, color=colour, label=f"{curve.gpu_type}, expected")
        axes.fill_between(
            gpus, promised, expected, color=colour, alpha=0.25, label="down to what is promised on"
        )
        sizes, rates = zip(*curve.measured, strict=True)
        axes.plot(sizes, rates, "o", color=colour, label="measured")
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("GPUs")
    axes.set_ylabel("iterations/s")
    axes.set_title(title, loc="left")
    axes.legend()
    figure.savefig(file, dpi=150)
