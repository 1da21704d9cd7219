"""The charts of reports: allocation, deadlines, efficiency, and how policies compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ef_slurm.charts.bars import GroupedPart, Part, grouped, ranked, stacked
from ef_slurm.charts.chart import AMBER, BLUE, GREEN, GREY, RED, Chart, Elapsed, time_unit
from ef_slurm.charts.gantt import Allocation, Bar, Item, gantt
from ef_slurm.charts.lines import Line, Values, steps
from ef_slurm.formats.durations import describe_duration
from ef_slurm.formats.printing import printable
from ef_slurm.simulator.accounts import by_account
from ef_slurm.simulator.report.series import (
    OUTCOME_LABELS,
    STACKED,
    JobOutcome,
    TimeLine,
    Window,
    allocation,
    coarsened,
    outcome_of,
    outcomes_over_time,
    time_line,
)
from ef_slurm.simulator.simulate import Result
from ef_slurm.simulator.simulated_job import SimulatedJob

MOST_RECTANGLES = 8000
"""Above this many the allocation of a policy is drawn more coarsely, to keep the page light."""
COLOURS: Mapping[JobOutcome, str] = {
    JobOutcome.MET: BLUE,
    JobOutcome.TURNED_AWAY: GREY,
    JobOutcome.LATE: AMBER,
    JobOutcome.BROKEN: RED,
    JobOutcome.BEST_EFFORT: GREEN,
}
_GROUPS = {OUTCOME_LABELS[one]: COLOURS[one] for one in JobOutcome}
_TALL, _LOW = 320.0, 190.0


def axis_of(shown: Window) -> Elapsed:
    """The axis of time."""
    unit, name = time_unit(shown.seconds)
    return Elapsed(shown.start, shown.end, unit, name)


def allocation_chart(result: Result, shown: Window, *, alone: bool) -> tuple[Chart, str]:
    """Every GPU over time, and to what it is exact ("": exactly).

    Args:
        alone: whether no others stand beside it.
    """
    jobs, gpus = result.jobs, result.metrics.gpus
    rectangles, width = coarsened(allocation(jobs, result.groups), MOST_RECTANGLES)
    held = sorted({one.job for one in rectangles})
    places = {job: place for place, job in enumerate(held)}
    bars = [
        Bar(places[one.job], one.start, min(one.end, shown.end), one.row, one.height)
        for one in rectangles
        if one.start < shown.end
    ]
    items = [_item(jobs[job], shown) for job in held]
    label = f"GPU allocation over time under {result.metrics.label}: {len(held)} jobs"
    chart = gantt(
        label,
        Allocation(gpus, items, bars, _GROUPS),
        axis_of(shown),
        height=_TALL if alone else _LOW,
    )
    return chart, describe_duration(width) if width else ""


def _item(job: SimulatedJob, shown: Window) -> Item:
    spec = job.spec
    told = [f"job {printable(spec.id)}   {printable(spec.model)}/{spec.batch_size}"]
    told.append(f"submitted after {describe_duration(spec.submitted - shown.start)}")
    if spec.deadline is not None:
        told.append(f"deadline after {describe_duration(spec.deadline - shown.start)}")
    if job.finished is not None:
        told.append(f"finished after {describe_duration(job.finished - shown.start)}")
    told += [f"{job.reshapes} reshapes", OUTCOME_LABELS[outcome_of(job)]]
    return Item(printable(spec.id), OUTCOME_LABELS[outcome_of(job)], "\n".join(told))


def outcomes_chart(result: Result, shown: Window) -> Chart:
    """Jobs by time of submission, stacked by what became of them."""
    bins = outcomes_over_time(result.jobs, shown)
    present = {outcome_of(job) for job in result.jobs}
    wanted = [one for one in STACKED if one in present]
    return stacked(
        "Deadlines met and missed by time of submission",
        bins.edges.tolist(),
        {OUTCOME_LABELS[one]: [float(count) for count in bins.counts[one]] for one in wanted},
        {OUTCOME_LABELS[one]: COLOURS[one] for one in wanted},
        axis_of(shown),
        Values("jobs", whole=True),
    )


def efficiency_chart(result: Result, shown: Window) -> Chart:
    """Efficiency as a line over the GPUs in use as an area."""
    line = time_line(result.jobs, result.metrics.gpus, shown)
    return steps(
        "Cluster efficiency and GPUs in use over time",
        [
            Line("efficiency", _points(line, line.efficiency.tolist())),
            Line("GPUs in use", _points(line, line.in_use.tolist()), filled=True),
        ],
        axis_of(shown),
        Values("of the cluster", most=1.0, form=".0%"),
    )


def efficiencies_chart(named: Sequence[tuple[str, Result]], gpus: int, shown: Window) -> Chart:
    """Efficiency over time, a line for each."""
    lines = []
    for name, result in named:
        line = time_line(result.jobs, gpus, shown)
        lines.append(Line(name, _points(line, line.efficiency.tolist())))
    return steps(
        "Efficiency over time", lines, axis_of(shown), Values("efficiency", most=1.0, form=".0%")
    )


def _points(line: TimeLine, values: Sequence[float]) -> list[tuple[float, float]]:
    edges = line.edges.tolist()
    found = [(at, round(min(value, 1.0), 4)) for at, value in zip(edges, values, strict=False)]
    return [*found, (edges[-1], found[-1][1])]


def ratios_chart(parts: Sequence[tuple[str, float]]) -> Chart:
    """Deadlines met, by policy."""
    drawn = [Part(name, value, name.startswith("elasticflow")) for name, value in parts]
    return ranked("Deadlines met", drawn)


def account_charts(results: Sequence[Result]) -> tuple[Chart, Chart]:
    """Deadlines met by account and policy, and parts of the GPU-hours."""
    found = [one for result in results for one in by_account(result)]
    rows = sorted(found, key=lambda one: one.account)
    names = [printable(one.account) or "(none)" for one in rows]
    pairs = list(zip(names, rows, strict=True))
    return (
        grouped(
            "Deadlines met by account and policy",
            [GroupedPart(name, one.policy, one.ratio) for name, one in pairs],
        ),
        grouped(
            "Parts of the GPU-hours by account and policy",
            [GroupedPart(name, one.policy, one.share) for name, one in pairs],
        ),
    )
