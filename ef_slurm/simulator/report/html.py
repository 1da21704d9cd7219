"""One self-contained HTML page per report: no network, no other files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import cycle

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ef_slurm.formats.durations import describe_duration
from ef_slurm.simulator.accounts import by_account, several_accounts
from ef_slurm.simulator.cluster import describe
from ef_slurm.simulator.metrics import Metrics
from ef_slurm.simulator.report import svg
from ef_slurm.simulator.report.series import (
    OUTCOME_LABELS,
    JobOutcome,
    Window,
    allocation,
    coarsened,
    outcome_of,
    outcomes_over_time,
    time_line,
    time_unit,
    window,
)
from ef_slurm.simulator.report.table import HEADINGS, cells
from ef_slurm.simulator.simulate import Result

MOST_RECTANGLES = 20_000
"""Above this many the allocation of a policy is drawn more coarsely, to keep the page light."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline number."""

    value: str
    label: str
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class GanttChart:
    """The allocation of one policy: a drawing area, and what to draw in it."""

    key: str
    policy: str
    data: Markup
    exact_to: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, an explanation and a chart."""

    title: str
    note: str
    chart: Markup
    legend: tuple[tuple[str, str], ...] = ()


def run_page(result: Result) -> str:
    """The report of one simulation, as HTML."""
    numbers = result.metrics
    shown = window(result.jobs)
    sections = [
        Section(
            "Deadlines",
            "Jobs by time of submission, and what became of them.",
            Markup(svg.outcomes(outcomes_over_time(result.jobs, shown))),  # noqa: S704 - made by svg.py
            _legend(result),
        ),
        Section(
            "Efficiency",
            "Single-GPU equivalents of the work done, sum of T(n)/T(1), over the GPUs of the "
            "cluster; shaded: GPUs given out.",
            Markup(svg.time_line(time_line(result.jobs, numbers.gpus, shown))),  # noqa: S704 - made by svg.py
            (("#0072b2", "efficiency"), ("#d7e3ef", "GPUs in use")),
        ),
    ]
    title = f"{numbers.trace}: {numbers.label}"
    return page(title, _subtitle(result), shown, _tiles(numbers), [result], sections)


def compare_page(results: Sequence[Result]) -> str:
    """The report of several policies on one trace, as HTML.

    Args:
        results: of the same trace; all are drawn over the time that the first one needs.
    """
    shown = window(results[0].jobs)
    ratios = [(r.metrics.label, r.metrics.ratio) for r in results if r.metrics.ratio is not None]
    lines = [
        (r.metrics.label, time_line(r.jobs, r.metrics.gpus, shown).efficiency.tolist())
        for r in results
    ]
    sections = [
        Section(
            "Deadlines met",
            "Of all jobs with a deadline, those turned away included.",
            Markup(svg.bars(ratios, "deadlines met")),  # noqa: S704 - made by svg.py
        ),
        Section(
            "Efficiency over time",
            "Single-GPU equivalents of the work done, sum of T(n)/T(1), over the cluster's GPUs.",
            Markup(svg.lines(lines, shown.seconds, "efficiency")),  # noqa: S704 - made by svg.py
            tuple(
                (svg.LINE_COLOURS[place % len(svg.LINE_COLOURS)], name)
                for place, (name, _) in enumerate(lines)
            ),
        ),
    ]
    if several_accounts(results):
        sections.append(_accounts_section(results))
    title = f"{results[0].metrics.trace}: {len(results)} policies"
    return page(title, _subtitle(results[0]), shown, [], results, sections)


def _accounts_section(results: Sequence[Result]) -> Section:
    """Who got what, as a picture: a row of bars per account, one bar per policy."""
    found = [one for result in results for one in by_account(result)]
    policies = list(dict.fromkeys(one.policy for one in found))
    colours = dict(zip(policies, cycle(svg.LINE_COLOURS), strict=False))
    rows: dict[str, list[svg.AccountBar]] = {}
    for one in found:
        rows.setdefault(one.account or "(none)", []).append(
            svg.AccountBar(one.policy, colours[one.policy], one.ratio, one.share)
        )
    return Section(
        "Who got what",
        "By account, left: deadlines met of those that its jobs have; right: its part of all "
        "GPU-hours that jobs held.",
        Markup(svg.account_bars(rows)),  # noqa: S704 - made by svg.py
        tuple((colour, policy) for policy, colour in colours.items()),
    )


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
    """
    if numbers is None:
        numbers = Numbers(HEADINGS, [cells(result.metrics) for result in results], _NOTES)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    package = resources.files("ef_slurm.simulator.report")
    template = environment.from_string((package / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        subtitle=subtitle,
        tiles=tiles,
        sections=sections,
        page_data=_page_data(results[0], shown),
        gantt_charts=[
            _gantt_chart(f"gantt{place}", result, shown) for place, result in enumerate(results)
        ],
        outcome_legend=_legend(*results, drawn=True),
        headings=numbers.headings,
        rows=numbers.rows,
        notes=numbers.notes,
        script=Markup((package / "gantt.js").read_text(encoding="utf-8")),  # noqa: S704 - our own file
    )


def _page_data(result: Result, shown: Window) -> Markup:
    """What all Gantt charts of the page share: the cluster, the time, the jobs as they arrived."""
    numbers = result.metrics
    unit, unit_name = time_unit(shown.seconds)
    places = _decimals(shown)
    return _json(
        {
            "gpus": numbers.gpus,
            "seconds": round(shown.seconds, 1),
            "unit": unit,
            "unitName": unit_name,
            "colours": [svg.COLOURS[one] for one in JobOutcome],
            "outcomes": [OUTCOME_LABELS[one] for one in JobOutcome],
            "jobs": [
                [
                    job.spec.id,
                    f"{job.spec.model}/{job.spec.batch_size}",
                    round(job.spec.submitted - shown.start, places),
                    None
                    if job.spec.deadline is None
                    else round(job.spec.deadline - shown.start, places),
                ]
                for job in result.jobs
            ],
        }
    )


def _gantt_chart(key: str, result: Result, shown: Window) -> GanttChart:
    """One policy's allocation: [outcome, finish, reshapes] by job, and the rectangles."""
    numbers, jobs = result.metrics, result.jobs
    exact = allocation(jobs, result.groups)
    rectangles, width = coarsened(exact, MOST_RECTANGLES)
    places = _decimals(shown)
    data = {
        "end": round(max((r.end for r in rectangles), default=shown.end) - shown.start, 1),
        "jobs": [
            [
                int(outcome_of(job)),
                None if job.finished is None else round(job.finished - shown.start, places),
                job.reshapes,
            ]
            for job in jobs
        ],
        "rectangles": [
            [
                r.job,
                round(r.start - shown.start, places),
                round(r.end - shown.start, places),
                r.row,
                r.height,
            ]
            for r in sorted(rectangles, key=lambda r: r.start)
        ],
    }
    return GanttChart(key, numbers.label, _json(data), describe_duration(width) if width else "")


def _decimals(shown: Window) -> int | None:
    """Digits of a second that a reader could see."""
    return 1 if shown.seconds < 50_000 else None


def _json(data: object) -> Markup:
    return Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704 - escaped here


def _legend(*results: Result, drawn: bool = False) -> tuple[tuple[str, str], ...]:
    """The outcomes that occur; with `drawn`, only those of jobs that ever held a GPU."""
    present = {
        outcome_of(job) for result in results for job in result.jobs if job.held_shares or not drawn
    }
    return tuple((svg.COLOURS[one], OUTCOME_LABELS[one]) for one in JobOutcome if one in present)


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
