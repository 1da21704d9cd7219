"""The demo's picture: GPU allocation over time, as text for a terminal and as one HTML page."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demo.timeline import Timeline
from ef_slurm.formats.finishes import shown_finish, shown_slack
from ef_slurm.model import slack_seconds

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""Paul Tol's bright scheme: told apart by colour-blind people too."""
DARK = frozenset({"#4477aa", "#228833", "#aa3377"})
"""Those that white text is read on."""
TERMINAL = ("blue", "red", "green", "yellow", "cyan", "magenta")


@dataclass(frozen=True, slots=True)
class Entry:
    """One job in the report. Times in seconds after the demo's start."""

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


LEFT, TOP, LANE, WIDTH = 60, 46, 20, 1000


def svg(timeline: Timeline, entries: Sequence[Entry]) -> str:
    """The picture as SVG: a lane per GPU, a colour per job, deadlines as dashed lines."""
    names = list(dict.fromkeys(entry.name for entry in entries))
    colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    start = timeline.samples[0][0]
    seconds = max(1.0, timeline.samples[-1][0] - start)
    scale = WIDTH / seconds
    lanes = len(timeline.nodes) * timeline.gpus_per_node
    bottom = TOP + lanes * LANE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {bottom + 40}"'
        ' font-family="sans-serif" font-size="12" role="img"'
        ' aria-label="GPUs held by each job over time">'
    ]
    for number, node in enumerate(timeline.nodes):
        y = TOP + number * timeline.gpus_per_node * LANE
        height = timeline.gpus_per_node * LANE
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{WIDTH}" height="{height}" fill="#f4f4f4"'
            ' stroke="#bbb"/>'
            f'<text x="{LEFT - 8}" y="{y + height / 2 + 4}" text-anchor="end">'
            f"{html.escape(node)}</text>"
        )
    for bar in timeline.bars():
        y = TOP + (timeline.nodes.index(bar.node) * timeline.gpus_per_node + bar.first) * LANE
        x, width = LEFT + (bar.start - start) * scale, (bar.end - bar.start) * scale
        height = bar.gpus * LANE
        parts.append(
            f'<rect x="{x:.1f}" y="{y + 0.5}" width="{width:.1f}" height="{height - 1}"'
            f' fill="{colour.get(bar.job, "#999")}" stroke="white" stroke-width="0.7">'
            f"<title>{html.escape(bar.job)}: {bar.gpus} GPUs of {html.escape(bar.node)},"
            f" {bar.start - start:.0f} to {bar.end - start:.0f} s</title></rect>"
        )
        if width > 8 * len(bar.job) + 6 and height >= LANE:
            parts.append(
                f'<text x="{x + width / 2:.1f}" y="{y + height / 2 + 4}" text-anchor="middle"'
                f' fill="{"white" if colour.get(bar.job) in DARK else "#222"}">'
                f"{html.escape(bar.job)}</text>"
            )
    parts += _marks(entries, colour, scale, bottom)
    step = next(s for s in (10, 20, 30, 60, 120, 300, 600, 3600, 10**9) if seconds / s <= 12)
    for tick in range(0, int(seconds) + 1, step):
        x = LEFT + tick * scale
        parts.append(
            f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}" stroke="#555"/>'
            f'<text x="{x:.1f}" y="{bottom + 19}" text-anchor="middle" fill="#555">{tick} s</text>'
        )
    parts.append("</svg>")
    return "\n".join(parts)


def _marks(
    entries: Sequence[Entry], colour: Mapping[str, str], scale: float, bottom: float
) -> list[str]:
    """Submissions as triangles above, deadlines as dashed lines with their names."""
    parts = []
    for entry in entries:
        x = LEFT + entry.submitted * scale
        parts.append(
            f'<path d="M{x - 5:.1f},{TOP - 10} h10 l-5,8 z" fill="{colour[entry.name]}">'
            f"<title>{html.escape(entry.name)} submitted</title></path>"
        )
        if entry.deadline is None or entry.ended is None:
            continue
        x = LEFT + entry.deadline * scale
        if x > LEFT + WIDTH:
            continue
        line = f'<line x1="{x:.1f}" y1="{TOP - 12}" x2="{x:.1f}" y2="{bottom}"'
        parts.append(
            f'{line} stroke="white" stroke-width="5"/>'
            f'{line} stroke="{colour[entry.name]}" stroke-width="2" stroke-dasharray="5 4"/>'
            f'<text x="{x:.1f}" y="{TOP - 16}" text-anchor="middle" fill="{colour[entry.name]}">'
            f"{html.escape(entry.name)} due</text>"
        )
    return parts


STYLE = """
body { font: 15px/1.5 sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; width: 100%; margin: 1em 0 }
th, td { text-align: left; padding: 4px 10px; border-bottom: 1px solid #ddd }
td.n, th.n { text-align: right }
.kept { color: #1a7431; font-weight: bold } .broken { color: #b3261e; font-weight: bold }
.key span { display: inline-block; width: 1em; height: 1em; vertical-align: -2px;
  margin: 0 4px 0 12px }
ol { padding-left: 1.2em }
time { color: #777; margin-right: .6em; font-variant-numeric: tabular-nums }
"""


def page(
    timeline: Timeline, entries: Sequence[Entry], story_lines: Sequence[tuple[float, str]]
) -> str:
    """The whole report as one HTML file that needs nothing else."""
    names = list(dict.fromkeys(entry.name for entry in entries))
    key = "".join(
        f'<span style="background:{COLOURS[i % len(COLOURS)]}"></span>{html.escape(name)}'
        for i, name in enumerate(names)
    )
    rows = "".join(_row(entry) for entry in entries)
    story = "".join(
        f"<li><time>{at:.0f} s</time>{html.escape(text)}</li>" for at, text in story_lines
    )
    gpus = len(timeline.nodes) * timeline.gpus_per_node
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ef-slurm demo</title>
<style>{STYLE}</style></head><body>
<h1>Six jobs with deadlines on {gpus} GPUs</h1>
<p>Nobody asked for a number of GPUs. {timeline.used():.0%} of all GPU time was in use.</p>
<p class="key">{key}; triangles: submitted; dashed lines: deadlines</p>
{svg(timeline, entries)}
<h2>Promises</h2>
<table><tr><th>job</th><th>name</th><th>asked for</th><th class="n">submitted</th>
<th class="n">deadline</th><th class="n">finished</th><th class="n">slack</th><th>promise</th>
<th class="n">starts</th></tr>{rows}</table>
<h2>What happened</h2>
<ol>{story}</ol>
</body></html>
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
