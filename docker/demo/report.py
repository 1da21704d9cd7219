"""The demo's picture: GPU allocation over time, as text for a terminal and as one HTML page."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demo.timeline import Timeline
from ef_slurm.charts import library
from ef_slurm.charts.chart import AMBER, BLUE, GREEN, GREY, RED, VIOLET, Chart, Elapsed
from ef_slurm.charts.gantt import Allocation, Bar, Item, Lane, Mark, gantt
from ef_slurm.charts.page import draw_script, figure, inline_script, stylesheet, theme_block
from ef_slurm.formats.finishes import shown_finish, shown_slack
from ef_slurm.model import slack_seconds

COLOURS = (BLUE, RED, GREEN, AMBER, VIOLET, GREY)
"""Of the jobs; those of the terminal are as near as it has them."""
TERMINAL = ("blue", "red", "green", "yellow", "cyan", "magenta")


@dataclass(frozen=True, slots=True)
class Entry:
    """One job in the report. Times in seconds after the demo's start.

    Args:
        grown: how it has grown while it trained, in its story's words; "" where it has not.
    """

    job_id: int
    name: str
    request: str
    submitted: float
    deadline: float | None
    started: float | None
    ended: float | None
    promise: str
    starts: int
    story: str
    grown: str = ""

    @property
    def slack(self) -> float | None:
        """Seconds before the deadline."""
        if self.deadline is None or self.ended is None:
            return None
        return slack_seconds(self.ended, self.deadline)


def letters(jobs: Sequence[str]) -> Mapping[str, str]:
    """A letter for each job."""
    found: dict[str, str] = {}
    for job in jobs:
        free = [c for c in job.upper() + "ABCDEFGHIJ" if c.isalpha() and c not in found.values()]
        found[job] = free[0]
    return found


def picture(timeline: Timeline, width: int) -> list[tuple[str, list[str | None]]]:
    """For each GPU, top to bottom, its label and who held it in each of `width` columns."""
    start, end = timeline.samples[0][0], timeline.samples[-1][0]
    columns = []
    index = 0
    for column in range(width):
        at = start + (end - start) * (column + 0.5) / width
        while index + 1 < len(timeline.samples) and timeline.samples[index + 1][0] <= at:
            index += 1
        columns.append([c for row in timeline.cells(timeline.samples[index][1]) for c in row])
    lanes = []
    for lane in range(len(timeline.nodes) * timeline.gpus_per_node):
        node, gpu = divmod(lane, timeline.gpus_per_node)
        label = timeline.nodes[node] if gpu == 0 else ""
        lanes.append((label, [column[lane] for column in columns]))
    return lanes


def chart(timeline: Timeline, entries: Sequence[Entry]) -> Chart:
    """The picture as a chart: a row per GPU, a colour per job, deadlines as dashed lines."""
    names = list(dict.fromkeys(entry.name for entry in entries))
    number = {name: place for place, name in enumerate(names)}
    start, end = timeline.samples[0][0], timeline.samples[-1][0]
    width = timeline.gpus_per_node
    first = {node: place * width for place, node in enumerate(timeline.nodes)}
    bars = [
        Bar(number[one.job], one.start, one.end, first[one.node] + one.first, one.gpus)
        for one in timeline.bars()
        if one.job in number
    ]
    shown = Allocation(
        rows=len(timeline.nodes) * width,
        items=[Item(name, name, _told(name, entries)) for name in names],
        bars=bars,
        groups={name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)},
        lanes=[Lane(node, first[node], width) for node in timeline.nodes],
        marks=_deadlines(entries, number, bars, start),
    )
    axis = Elapsed(start, max(end, start + 1.0), 1.0, "seconds", "the demo's start")
    return gantt("GPUs held by each job over time", shown, axis)


def _told(name: str, entries: Sequence[Entry]) -> str:
    entry = next(one for one in entries if one.name == name)
    due = "" if entry.deadline is None else f"\ndeadline {_seconds(entry.deadline)}"
    return f"{name}: {entry.request}\nsubmitted {_seconds(entry.submitted)}{due}\n{entry.promise}"


def _deadlines(
    entries: Sequence[Entry], number: Mapping[str, int], bars: Sequence[Bar], start: float
) -> list[Mark]:
    """Each across the rows that its job had last."""
    marks = []
    for entry in entries:
        own = [bar for bar in bars if bar.item == number[entry.name]]
        if entry.deadline is not None and own:
            last = max(own, key=lambda bar: bar.end)
            marks.append(Mark(last.item, start + entry.deadline, last.row, last.height))
    return marks


def page(
    timeline: Timeline, entries: Sequence[Entry], story_lines: Sequence[tuple[float, str]]
) -> str:
    """The whole report as one HTML file that needs nothing else."""
    rows = "".join(_row(entry) for entry in entries)
    story = "".join(
        f"<li><span>{at:.0f} s</span> <span>{html.escape(told)}</span></li>"
        for at, told in story_lines
    )
    grown = "".join(
        f"<p>{html.escape(one.name)} grew while it trained: {html.escape(one.grown)}.</p>"
        for one in entries
        if one.grown
    )
    gpus = len(timeline.nodes) * timeline.gpus_per_node
    drawn, scripts = "<p>There would be a chart here, with ef-slurm[web].</p>", ""
    if library.is_there():
        drawn = figure(chart(timeline, entries))
        own = (library.javascript(), draw_script())
        scripts = theme_block() + "".join(inline_script(text) for text in own)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>ef-slurm demo</title>
<style>{stylesheet()}
.kept {{ color: var(--good); font-weight: 600 }} .broken {{ color: var(--bad); font-weight: 600 }}
</style></head><body><main>
<h1>Six jobs with deadlines on {gpus} GPUs</h1>
<p>Nobody asked for a number of GPUs. {timeline.used():.0%} of all GPU time was in use.</p>
{grown}
<section><h2>GPUs</h2>
<p class="note">A row for each GPU; dashed lines: deadlines. Point at a job for its details.</p>
{drawn}</section>
<section><h2>Promises</h2><div class="scroll">
<table><tr><th>job</th><th>name</th><th>asked for</th><th class="n">submitted</th>
<th class="n">deadline</th><th class="n">finished</th><th class="n">slack</th><th>promise</th>
<th class="n">starts</th></tr>{rows}</table></div></section>
<section><h2>What happened</h2>
<ol class="story">{story}</ol></section>
</main>{scripts}</body></html>
"""


def _row(entry: Entry) -> str:
    ended = None if entry.ended is None else shown_finish(entry.ended, entry.deadline)
    cells = [
        ("", str(entry.job_id)),
        ("", entry.name),
        ("", entry.request),
        ("n", _seconds(entry.submitted)),
        ("n", _seconds(entry.deadline)),
        ("n", _seconds(ended)),
        ("n", _seconds(None if entry.slack is None else shown_slack(entry.slack))),
        (entry.promise.partition("(")[0].lower(), entry.promise),
        ("n", str(entry.starts)),
    ]
    return (
        "<tr>" + "".join(f'<td class="{kind}">{html.escape(t)}</td>' for kind, t in cells) + "</tr>"
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{math.floor(value)} s"
