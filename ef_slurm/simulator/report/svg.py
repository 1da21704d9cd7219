"""Small charts as SVG text: bars, lines, stacked bins. No dependency, one look.

Colours are Okabe and Ito's, which people with colour-blindness can tell apart; no chart relies on
them alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from ef_slurm.simulator.report.series import (
    OUTCOME_LABELS,
    STACKED,
    JobOutcome,
    OutcomeBins,
    TimeLine,
    ticks,
    time_unit,
)

COLOURS = {
    JobOutcome.MET: "#0072b2",
    JobOutcome.TURNED_AWAY: "#b4bcc6",
    JobOutcome.LATE: "#e69f00",
    JobOutcome.BROKEN: "#c8102e",
    JobOutcome.BEST_EFFORT: "#009e73",
}
LINE_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#8a6d00",
    "#56b4e9",
    "#555555",
    "#e69f00",
)
WIDTH = 1100
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 12, 40


class _Canvas:
    """An SVG with axes: x from 0 to `x_max` in `unit`, y from 0 to `y_max`."""

    def __init__(self, height: int, x_max: float, y_max: float, label: str) -> None:
        self._height = height
        self._x_max = x_max
        self._y_max = y_max
        self._parts = [
            f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        ]

    def x(self, value: float) -> float:
        return _LEFT + value / self._x_max * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return self._height - _BOTTOM - value / self._y_max * (self._height - _TOP - _BOTTOM)

    def add(self, part: str) -> None:
        self._parts.append(part)

    def text(self, x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> None:
        self.add(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
        )

    def time_axis(self, seconds: float) -> None:
        unit, name = time_unit(seconds)
        base = self._height - _BOTTOM
        for tick in ticks(seconds / unit):
            x = self.x(tick * unit)
            self.add(f'<path class="tick" d="M{x:.1f} {base}v5"/>')
            self.text(x, base + 19, f"{tick:g}")
        self.text((WIDTH + _LEFT) / 2, self._height - 4, f"{name} since the first submission")

    def value_axis(self, values: Sequence[float], form: str, title: str) -> None:
        for value in values:
            y = self.y(value)
            self.add(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
            self.text(_LEFT - 8, y + 4, format(value, form), "end")
        middle = (self._height - _BOTTOM + _TOP) / 2
        self.text(14, middle, title, more=f' transform="rotate(-90 14 {middle:.1f})"')

    def done(self) -> str:
        return "".join([*self._parts, "</svg>"])


def lines(named: Sequence[tuple[str, Sequence[float]]], seconds: float, title: str) -> str:
    """Parts of one over time, a step line per name.

    Args:
        named: (name, values of equal bins of time).
        seconds: that the bins of each cover.
        title: of the value axis.
    """
    canvas = _Canvas(240, seconds, 1.0, title)
    canvas.value_axis([0, 0.25, 0.5, 0.75, 1.0], ".0%", title)
    canvas.time_axis(seconds)
    for place, (name, values) in enumerate(named):
        width = seconds / len(values)
        path = [f"M{canvas.x(0):.1f} {canvas.y(0):.1f}"]
        for number, value in enumerate(values):
            path.append(f"V{canvas.y(min(value, 1.0)):.1f}H{canvas.x((number + 1) * width):.1f}")
        colour = LINE_COLOURS[place % len(LINE_COLOURS)]
        canvas.add(
            f'<path fill="none" stroke="{colour}" stroke-width="1.6" d="{"".join(path)}">'
            f"<title>{escape(name)}</title></path>"
        )
    return canvas.done()


def time_line(line: TimeLine) -> str:
    """Efficiency as a line over the GPUs in use as an area."""
    seconds = float(line.edges[-1] - line.edges[0])
    width = seconds / len(line.in_use)
    canvas = _Canvas(240, seconds, 1.0, "Cluster efficiency and GPUs in use over time")
    canvas.value_axis([0, 0.25, 0.5, 0.75, 1.0], ".0%", "of the cluster")
    canvas.time_axis(seconds)
    base = canvas.y(0)
    area = [f"M{canvas.x(0):.1f} {base:.1f}"]
    curve = [f"M{canvas.x(0):.1f} {base:.1f}"]
    for number, (used, gained) in enumerate(zip(line.in_use, line.efficiency, strict=True)):
        right = canvas.x((number + 1) * width)
        area.append(f"V{canvas.y(min(float(used), 1.0)):.1f}H{right:.1f}")
        curve.append(f"V{canvas.y(min(float(gained), 1.0)):.1f}H{right:.1f}")
    area.append(f"V{base:.1f}Z")
    canvas.add(f'<path fill="#d7e3ef" d="{"".join(area)}"/>')
    canvas.add(f'<path fill="none" stroke="#0072b2" stroke-width="1.6" d="{"".join(curve)}"/>')
    return canvas.done()


def outcomes(bins: OutcomeBins) -> str:
    """Jobs by time of submission, stacked by what became of them."""
    seconds = float(bins.edges[-1] - bins.edges[0])
    totals = [sum(column) for column in zip(*bins.counts.values(), strict=True)]
    highest = max([1, *totals])
    canvas = _Canvas(240, seconds, highest, "Deadlines met and missed by time of submission")
    canvas.value_axis([t for t in ticks(highest, 4) if t == int(t)], ".0f", "jobs")
    canvas.time_axis(seconds)
    width = seconds / len(totals)
    for place in range(len(totals)):
        level = 0
        for one in STACKED:
            count = bins.counts[one][place]
            if not count:
                continue
            left, right = canvas.x(place * width), canvas.x((place + 1) * width)
            top, bottom = canvas.y(level + count), canvas.y(level)
            canvas.add(
                f'<rect x="{left + 0.7:.1f}" y="{top:.1f}" width="{right - left - 1.4:.1f}" '
                f'height="{bottom - top:.1f}" fill="{COLOURS[one]}">'
                f"<title>{count} {OUTCOME_LABELS[one]}</title></rect>"
            )
            level += count
    return canvas.done()


class AccountBar(NamedTuple):
    """What one account got under one policy: deadlines met and GPU-hours, as parts of one."""

    policy: str
    colour: str
    ratio: float | None
    share: float


def account_bars(rows: Mapping[str, Sequence[AccountBar]]) -> str:
    """Two columns of horizontal bars, one row per account.

    Args:
        rows: the bars by account, one per policy.
    """
    thick, gap, left, wide = 14, 18, 150, 380
    height = sum(len(row) * thick + gap for row in rows.values()) + 34
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Who got what">']
    columns = ((left, "deadlines met"), (left + wide + 90, "part of GPU-hours"))
    for start, title in columns:
        parts.append(f'<text x="{start}" y="14">{title}</text>')
    top = 26
    for account, row in rows.items():
        middle = top + len(row) * thick / 2 + 4
        parts.append(
            f'<text x="{left - 10}" y="{middle:.1f}" text-anchor="end">{escape(account)}</text>'
        )
        for bar in row:
            for (start, title), value in zip(columns, (bar.ratio, bar.share), strict=True):
                shown = "-" if value is None else f"{value:.1%}"
                width = wide * (value or 0.0)
                parts.append(
                    f'<rect x="{start}" y="{top}" width="{width:.1f}" height="{thick - 2}" '
                    f'fill="{bar.colour}"><title>{escape(account)}, {escape(bar.policy)}: {title} '
                    f"{shown}</title></rect>"
                    f'<text x="{start + width + 5:.1f}" y="{top + thick - 4}">{shown}</text>'
                )
            top += thick
        top += gap
    return "".join([*parts, "</svg>"])


def bars(values: Sequence[tuple[str, float]], title: str) -> str:
    """Ratios by policy, like the paper's Figure 8.

    Args:
        values: (policy, 0 to 1).
        title: of the value axis.
    """
    canvas = _Canvas(300, float(len(values)), 1.0, title)
    canvas.value_axis([0, 0.25, 0.5, 0.75, 1.0], ".0%", title)
    for place, (name, value) in enumerate(values):
        left, right = canvas.x(place + 0.2), canvas.x(place + 0.8)
        top, bottom = canvas.y(value), canvas.y(0)
        colour = COLOURS[JobOutcome.MET] if name.startswith("elasticflow") else "#8b98a8"
        canvas.add(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{bottom - top:.1f}" rx="2" fill="{colour}"/>'
        )
        middle = (left + right) / 2
        inside = value > 0.93
        canvas.text(
            middle,
            top + 20 if inside else top - 7,
            f"{value:.1%}",
            more=' class="value"' + (' fill="#fff"' if inside else ""),
        )
        canvas.text(middle, bottom + 20, name, more=' class="name"')
    return canvas.done()
