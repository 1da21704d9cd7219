"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ef_slurm.formats.durations import describe_duration
from ef_slurm.simulator.cluster import describe, parse_group
from ef_slurm.simulator.failures import NONE
from ef_slurm.simulator.metrics import Metrics

HEADINGS = (
    "policy",
    "jobs",
    "admitted",
    "in time",
    "ratio",
    "broken",
    "reshapes",
    "migrations",
    "GPU-hours",
    "efficiency",
    "BE compl.",
    "wall",
    "memory",
)


def cells(numbers: Metrics) -> tuple[str, ...]:
    """A simulation's row under `HEADINGS`."""
    return (
        numbers.label,
        str(numbers.jobs),
        str(numbers.admitted),
        str(numbers.met),
        "-" if numbers.ratio is None else f"{numbers.ratio:.3f}",
        "-" if numbers.broken_promises is None else str(numbers.broken_promises),
        str(numbers.reshapes),
        str(numbers.migrations),
        f"{numbers.gpu_hours:,.0f}",
        f"{numbers.efficiency:.3f}",
        _or_dash(numbers.best_effort_completion_seconds),
        f"{numbers.wall_seconds:.1f} s",
        f"{numbers.peak_rss_mb:.0f} MB",
    )


def sheet(numbers: Metrics) -> str:
    """A single simulation, one line per number, with words."""
    per_job = f"{numbers.reshapes_per_job:.2f} per job"
    broken = "none given" if numbers.broken_promises is None else str(numbers.broken_promises)
    ratio = (
        "no deadline jobs"
        if numbers.ratio is None
        else f"{numbers.ratio:.3f}  of {numbers.deadline_jobs} deadline jobs"
    )
    lines = (
        ("trace", numbers.trace),
        ("cluster", describe([parse_group(text) for text in numbers.cluster.split(",")])),
        ("policy", numbers.label),
        ("overhead", numbers.overhead),
        ("jobs", f"{numbers.jobs}  ({numbers.best_effort_jobs} best effort)"),
        ("admitted", str(numbers.admitted)),
        ("in time", str(numbers.met)),
        ("ratio", ratio),
        ("broken promises", broken),
        ("reshapes", f"{numbers.reshapes}  ({per_job}; {numbers.pauses} pauses)"),
        ("migrations", str(numbers.migrations)),
        ("changes by kind", _by_kind(numbers)),
        ("lost to changes", _overheads(numbers)),
        *_failures(numbers),
        ("GPU-hours", f"{numbers.gpu_hours:,.1f}"),
        ("efficiency", f"{numbers.efficiency:.3f}"),
        ("best effort done in", _or_dash(numbers.best_effort_completion_seconds)),
        ("wall", f"{numbers.wall_seconds:.2f} s"),
        ("peak memory", f"{numbers.peak_rss_mb:.0f} MB"),
    )
    width = max(len(label) for label, _ in lines)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in lines)


def _by_kind(numbers: Metrics) -> str:
    return (
        f"{numbers.starts} starts; {numbers.resumes} resumes, {numbers.grows} grows, "
        f"{numbers.shrinks} shrinks, {numbers.migrations} moves, {numbers.restarts} restarts"
    )


def _overheads(numbers: Metrics) -> str:
    return (
        f"{numbers.overhead_gpu_hours:,.1f} GPU-hours  (starts and resumes "
        f"{numbers.start_gpu_hours:,.1f}, grows {numbers.grow_gpu_hours:,.1f}, shrinks "
        f"{numbers.shrink_gpu_hours:,.1f}, moves {numbers.move_gpu_hours:,.1f}, restarts "
        f"{numbers.restart_gpu_hours:,.1f})"
    )


def _failures(numbers: Metrics) -> tuple[tuple[str, str], ...]:
    if numbers.failures == NONE:
        return ()
    lost = f"{numbers.lost_gpu_hours:,.1f} GPU-hours of training lost"
    return (("node failures", f"{numbers.node_failures}  ({lost})"),)


def grid(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligned columns.

    Args:
        headings: of the columns.
        rows: as many cells each.
        left: how many columns are aligned to the left; the others to the right.
    """
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if place < left else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (headings, *rows)
    ]
    return "\n".join(lines)


def _or_dash(seconds: float | None) -> str:
    return "-" if seconds is None else describe_duration(seconds)
