"""Figures as files, drawn with matplotlib (an optional extra). The suffix names the format."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ef_slurm.formats.files import write_whole
from ef_slurm.simulator.cluster import describe
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.report.series import (
    OUTCOME_LABELS,
    STACKED,
    JobOutcome,
    Window,
    allocation,
    outcome_of,
    outcomes_over_time,
    time_line,
    time_unit,
    window,
)
from ef_slurm.simulator.report.svg import COLOURS
from ef_slurm.simulator.simulate import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
_SHADES = (0.0, 0.14, 0.28, 0.42, 0.54)
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa5b1",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "svg.fonttype": "none",
    "svg.hashsalt": "ef-sim",
}


def check_figure_file(file: Path) -> None:
    """Refuses, before the work is done, what could not be drawn after it.

    Raises:
        SimulatorError: matplotlib is missing, or the suffix is no known format.
    """
    if file.suffix.lstrip(".").lower() not in FORMATS:
        wanted = ", ".join(f".{name}" for name in FORMATS)
        raise SimulatorError(f"figure {str(file)!r} is not valid: its name must end in {wanted}")
    try:
        import matplotlib.figure  # noqa: F401 - heavy, and only needed here
    except ImportError:
        raise SimulatorError("a figure needs matplotlib: install ef-slurm[simulator]") from None


def write_run_figure(result: Result, file: Path) -> None:
    """Draws allocation, deadlines and efficiency of one simulation.

    Args:
        result: of the simulation.
        file: its suffix says the format.

    Raises:
        FormatError: it cannot be written.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    numbers, shown = result.metrics, window(result.jobs)
    with style.context(_STYLE):
        figure = Figure(figsize=(11, 7.4), layout="constrained")
        upper, middle, lower = figure.subplots(3, 1, sharex=True, height_ratios=(2.4, 1, 1))
        ratio = "-" if numbers.ratio is None else f"{numbers.ratio:.1%}"
        figure.suptitle(
            f"{numbers.trace}, {numbers.label}: {ratio} of deadlines met, "
            f"{numbers.reshapes_per_job:.1f} reshapes per job",
            fontweight="bold",
        )
        # One legend for the two upper charts: who never ran is in the second one only.
        _draw_allocation(upper, result, shown, {outcome_of(job) for job in result.jobs})
        _draw_outcomes(middle, result, shown)
        _draw_efficiency(lower, result, shown)
        _, unit = time_unit(shown.seconds)
        lower.set_xlabel(f"{unit} since the first submission")
        _save(figure, file)


def write_compare_figure(results: Sequence[Result], file: Path) -> None:
    """Draws the ratios of several policies as bars (paper, Figure 8), and the first's allocation.

    Args:
        results: of the same trace.
        file: its suffix says the format.

    Raises:
        FormatError: it cannot be written.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    first, shown = results[0].metrics, window(results[0].jobs)
    with style.context(_STYLE):
        figure = Figure(figsize=(11, 6.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, height_ratios=(1, 1.25))
        figure.suptitle(
            f"{first.trace}: {first.jobs:,} jobs on {describe(results[0].groups)}, "
            f"overhead {first.overhead}",
            fontweight="bold",
        )
        _draw_bars(upper, results)
        ran = {outcome_of(job) for job in results[0].jobs if job.held_shares}
        _draw_allocation(lower, results[0], shown, ran)
        lower.set_title(f"GPU allocation under {first.label}")
        _, unit = time_unit(shown.seconds)
        lower.set_xlabel(f"{unit} since the first submission")
        _save(figure, file)


def _draw_bars(axes: Axes, results: Sequence[Result]) -> None:
    names = [result.metrics.label for result in results]
    ratios = [100 * (result.metrics.ratio or 0.0) for result in results]
    colours = [
        COLOURS[JobOutcome.MET] if name.startswith("elasticflow") else "#8b98a8" for name in names
    ]
    bars = axes.bar(names, ratios, width=0.6, color=colours)
    axes.bar_label(bars, [f"{ratio:.1f} %" for ratio in ratios], padding=3, fontweight="bold")
    axes.set_ylim(0, 108)
    axes.set_yticks([0, 25, 50, 75, 100], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.set_title("Deadlines met")
    axes.grid(axis="y", color="#e6e9ed")
    axes.set_axisbelow(True)


def _draw_allocation(axes: Axes, result: Result, shown: Window, explained: set[JobOutcome]) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Patch, Rectangle

    jobs, gpus = result.jobs, result.metrics.gpus
    unit, _ = time_unit(shown.seconds)
    rectangles = [one for one in allocation(jobs, result.groups) if one.start < shown.end]
    outcomes = [outcome_of(job) for job in jobs]
    axes.add_collection(
        PatchCollection(
            [Rectangle(((r.start - shown.start) / unit, r.row), (r.end - r.start) / unit, r.height)
             for r in rectangles],
            facecolors=[_shade(COLOURS[outcomes[r.job]], r.job) for r in rectangles],
            edgecolors="white",
            linewidths=0.15,
        )
    )  # fmt: skip
    axes.set_xlim(0, shown.seconds / unit)
    axes.set_ylim(0, gpus)
    axes.set_facecolor("#eef1f4")
    axes.set_yticks([gpus * part // 4 for part in range(5)])
    axes.set_ylabel("GPU")
    axes.set_title("GPU allocation by job")
    axes.legend(
        handles=[
            Patch(color=COLOURS[o], label=OUTCOME_LABELS[o]) for o in JobOutcome if o in explained
        ],
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=5,
        frameon=False,
        fontsize=9,
        borderpad=0,
    )


def _draw_outcomes(axes: Axes, result: Result, shown: Window) -> None:
    import numpy as np

    bins = outcomes_over_time(result.jobs, shown)
    unit, _ = time_unit(shown.seconds)
    edges = (bins.edges - bins.edges[0]) / unit
    level = np.zeros(len(edges) - 1)
    for one in STACKED:
        counts = np.array(bins.counts[one], dtype=float)
        widths = np.diff(edges) * 0.85
        axes.bar(edges[:-1], counts, widths, bottom=level, align="edge", color=COLOURS[one])
        level += counts
    axes.set_ylabel("jobs")
    axes.set_title("Deadlines by time of submission")


def _draw_efficiency(axes: Axes, result: Result, shown: Window) -> None:
    line = time_line(result.jobs, result.metrics.gpus, shown)
    unit, _ = time_unit(shown.seconds)
    edges = (line.edges - line.edges[0]) / unit
    axes.stairs(line.in_use * 100, edges, fill=True, color="#d7e3ef", label="GPUs in use")
    axes.stairs(line.efficiency * 100, edges, color="#0072b2", lw=1.3, label="efficiency")
    axes.set_ylim(0, 102)
    axes.set_yticks([0, 50, 100], ["0 %", "50 %", "100 %"])
    axes.set_title("Efficiency")
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=9, borderpad=0
    )


def _shade(colour: str, place: int) -> tuple[float, float, float]:
    white = _SHADES[place % len(_SHADES)]
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part + (1 - part) * white for part in parts)
    return red, green, blue


def _save(figure: Figure, file: Path) -> None:
    kind = file.suffix.lstrip(".").lower()
    stream = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
    write_whole(file, stream.getvalue())
