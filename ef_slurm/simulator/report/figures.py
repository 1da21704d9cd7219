"""Reports as one figure in a file. The suffix names the format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ef_slurm.charts.library import write_figure
from ef_slurm.simulator.cluster import describe
from ef_slurm.simulator.report.drawings import (
    allocation_chart,
    efficiency_chart,
    outcomes_chart,
    ratios_chart,
)
from ef_slurm.simulator.report.series import window
from ef_slurm.simulator.simulate import Result


def write_run_figure(result: Result, file: Path) -> None:
    """Draws allocation, deadlines and efficiency of one simulation.

    Args:
        result: of the simulation.
        file: its suffix says the format.

    Raises:
        ChartsError: it cannot be drawn.
        FormatError: it cannot be written.
    """
    numbers, shown = result.metrics, window(result.jobs)
    ratio = "-" if numbers.ratio is None else f"{numbers.ratio:.1%}"
    title = (
        f"{numbers.trace}, {numbers.label}: {ratio} of deadlines met, "
        f"{numbers.reshapes_per_job:.1f} reshapes per job"
    )
    charts = [
        ("GPU allocation by job", allocation_chart(result, shown, alone=True)[0]),
        ("Deadlines by time of submission", outcomes_chart(result, shown)),
        ("Efficiency", efficiency_chart(result, shown)),
    ]
    write_figure(title, charts, file)


def write_compare_figure(results: Sequence[Result], file: Path) -> None:
    """Draws the ratios of several policies as bars (paper, Figure 8), and the first's allocation.

    Args:
        results: of the same trace.
        file: its suffix says the format.

    Raises:
        ChartsError: it cannot be drawn.
        FormatError: it cannot be written.
    """
    first, shown = results[0].metrics, window(results[0].jobs)
    title = (
        f"{first.trace}: {first.jobs:,} jobs on {describe(results[0].groups)}, "
        f"overhead {first.overhead}"
    )
    ratios = [(result.metrics.label, result.metrics.ratio or 0.0) for result in results]
    charts = [
        ("Deadlines met", ratios_chart(ratios)),
        (
            f"GPU allocation under {first.label}",
            allocation_chart(results[0], shown, alone=True)[0],
        ),
    ]
    write_figure(title, charts, file)
