"""One self-contained HTML page per report: no network, no other files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ef_slurm.charts import library
from ef_slurm.charts.chart import Chart
from ef_slurm.charts.page import draw_script, figure, inline_script, stylesheet, theme_block
from ef_slurm.formats.durations import describe_duration
from ef_slurm.simulator.accounts import several_accounts
from ef_slurm.simulator.cluster import describe
from ef_slurm.simulator.metrics import Metrics
from ef_slurm.simulator.report.drawings import (
    account_charts,
    allocation_chart,
    efficiencies_chart,
    efficiency_chart,
    outcomes_chart,
    ratios_chart,
)
from ef_slurm.simulator.report.series import Window, window
from ef_slurm.simulator.report.table import HEADINGS, cells
from ef_slurm.simulator.simulate import Result


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline number."""

    value: str
    label: str
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, an explanation and charts, each with its own heading ("" for none)."""

    title: str
    note: str
    charts: tuple[tuple[str, Chart], ...]


def run_page(result: Result) -> str:
    """The report of one simulation, as HTML.

    Raises:
        ChartsError: there is nothing to draw with.
    """
    numbers = result.metrics
    shown = window(result.jobs)
    sections = [
        Section(
            "Deadlines",
            "Jobs by time of submission, and what became of them.",
            (("", outcomes_chart(result, shown)),),
        ),
        Section(
            "Efficiency",
            "Single-GPU equivalents of the work done, sum of T(n)/T(1), over the GPUs of the "
            "cluster; shaded: GPUs given out.",
            (("", efficiency_chart(result, shown)),),
        ),
    ]
    title = f"{numbers.trace}: {numbers.label}"
    return page(title, _subtitle(result), shown, _tiles(numbers), [result], sections)


def compare_page(results: Sequence[Result]) -> str:
    """The report of several policies on one trace, as HTML.

    Args:
        results: of the same trace; all are drawn over the time that the first one needs.

    Raises:
        ChartsError: there is nothing to draw with.
    """
    shown = window(results[0].jobs)
    ratios = [(r.metrics.label, r.metrics.ratio) for r in results if r.metrics.ratio is not None]
    named = [(result.metrics.label, result) for result in results]
    sections = [
        Section(
            "Deadlines met",
            "Of all jobs with a deadline, those turned away included.",
            (("", ratios_chart(ratios)),),
        ),
        Section(
            "Efficiency over time",
            "Single-GPU equivalents of the work done, sum of T(n)/T(1), over the cluster's GPUs.",
            (("", efficiencies_chart(named, results[0].metrics.gpus, shown)),),
        ),
    ]
    if several_accounts(results):
        met, share = account_charts(results)
        sections.append(
            Section(
                "Who got what",
                "By account.",
                (
                    ("Deadlines met, of those that its jobs have", met),
                    ("Its part of all GPU-hours that jobs held", share),
                ),
            )
        )
    title = f"{results[0].metrics.trace}: {len(results)} policies"
    return page(title, _subtitle(results[0]), shown, [], results, sections)


@dataclass(frozen=True, slots=True)
class Numbers:
    """The table at the end of a page, and what its columns mean."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]


_NOTES = (
    'Ratio: deadlines met of all deadline jobs. Broken: promised, then late ("-": the policy '
    "promises nothing).",
    "Reshapes: changes of share or block after the first start, resumes included. Efficiency: mean "
    "from the first submission to the last completion.",
)
_ALLOCATION = (
    "Every GPU of the cluster over time; each rectangle is one job on its GPUs, shades tell "
    "neighbours apart. Point at a job for its details."
)


def page(
    title: str,
    subtitle: str,
    shown: Window,
    tiles: Sequence[Tile],
    results: Sequence[Result],
    sections: Sequence[Section],
    numbers: Numbers | None = None,
) -> str:
    """A report, as HTML.

    Args:
        shown: the time that is drawn.
        results: whose allocations are drawn; of one trace.
        sections: the first stands before the allocations, if there are no tiles.
        numbers: the table at the end; None: the results' own.

    Raises:
        ChartsError: there is nothing to draw with.
    """
    if numbers is None:
        numbers = Numbers(HEADINGS, [cells(result.metrics) for result in results], _NOTES)
    before = 0 if tiles else 1
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    package = resources.files("ef_slurm.simulator.report")
    template = environment.from_string((package / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        subtitle=subtitle,
        tiles=tiles,
        sections=[*sections[:before], _allocations(results, shown), *sections[before:]],
        headings=numbers.headings,
        rows=numbers.rows,
        notes=numbers.notes,
        figure=figure,
        themes=theme_block(),
        style=Markup(stylesheet()),  # noqa: S704 - our own file
        scripts=[inline_script(library.javascript()), inline_script(draw_script())],
    )


def _allocations(results: Sequence[Result], shown: Window) -> Section:
    charts = []
    for result in results:
        alone = len(results) == 1
        chart, exact_to = allocation_chart(result, shown, alone=alone)
        heading = "" if alone else result.metrics.label
        if exact_to:
            heading = f"{heading} (drawn to the nearest {exact_to})".strip()
        charts.append((heading, chart))
    return Section("GPU allocation", _ALLOCATION, tuple(charts))


def _tiles(numbers: Metrics) -> list[Tile]:
    met = "-" if numbers.ratio is None else f"{numbers.ratio:.1%}"
    tiles = [
        Tile(met, f"deadlines met ({numbers.met:,} of {numbers.deadline_jobs:,})"),
        Tile(f"{numbers.admitted:,}", f"jobs admitted of {numbers.jobs:,}"),
    ]
    if numbers.broken_promises is not None:
        broken = numbers.broken_promises
        tiles.append(Tile(f"{broken:,}", "broken promises", alarm=broken > 0))
    tiles += [
        Tile(f"{numbers.reshapes_per_job:.1f}", "reshapes per job"),
        Tile(f"{numbers.gpu_hours:,.0f}", "GPU-hours"),
        Tile(f"{numbers.efficiency:.0%}", "efficiency, mean"),
    ]
    if numbers.best_effort_completion_seconds is not None:
        tiles.append(
            Tile(
                describe_duration(numbers.best_effort_completion_seconds),
                "mean best-effort completion",
            )
        )
    return tiles


def _subtitle(result: Result) -> str:
    numbers = result.metrics
    return f"{numbers.jobs:,} jobs on {describe(result.groups)}, overhead {numbers.overhead}"
