"""Who holds which GPUs when: a row for each GPU, nodes one below the other."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ef_slurm.charts.chart import Chart, Spec, TimeAxis, colours, frame

MOST_LABELLED = 1500
"""Bars beyond which none has its name in it."""
_LEAST_NAMED = 0.015
"""Of all the time shown, below which no screen has room for a name."""
_DENSE = 3000
_LOW, _HIGH = 120, 560
_ROW_PIXELS, _NAME_PIXELS = 14.0, 15.0
_SHADES = (1.0, 0.84, 0.7)


@dataclass(frozen=True, slots=True)
class Item:
    """A job: its name, the group that gives it its colour, and what is told of it, line by line."""

    name: str
    group: str
    tip: str


@dataclass(frozen=True, slots=True)
class Bar:
    """An item (by its number) holds `height` GPUs from `row` on, from `start` to `end`."""

    item: int
    start: float
    end: float
    row: int
    height: int
    planned: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """A node: its first row, its GPUs, and its name."""

    name: str
    row: int
    height: int


@dataclass(frozen=True, slots=True)
class Closed:
    """GPUs that may not be used from `start` to `end`, and why."""

    start: float
    end: float
    row: int
    height: int
    tip: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A deadline: a line across the rows of what has to be done by then."""

    item: int
    at: float
    row: int
    height: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a Gantt chart shows.

    Args:
        rows: GPUs in all.
        groups: name → colour, in the order of the legend.
        lanes: none where GPUs are only counted.
        now: where the past ends and the plan begins; None for no such line.
    """

    rows: int
    items: Sequence[Item]
    bars: Sequence[Bar]
    groups: Mapping[str, str]
    lanes: Sequence[Lane] = ()
    closed: Sequence[Closed] = ()
    marks: Sequence[Mark] = ()
    now: float | None = None


def gantt(label: str, shown: Allocation, axis: TimeAxis, height: float | None = None) -> Chart:
    """The chart.

    Args:
        height: in pixels; None for one that suits the number of rows.
    """
    tall = height or min(max(shown.rows * _ROW_PIXELS, _LOW), _HIGH)
    items: list[Spec] = [
        {
            "i": number,
            "name": item.name,
            "group": item.group,
            "tip": item.tip,
            "shade": _SHADES[number % len(_SHADES)],
        }
        for number, item in enumerate(shown.items)
    ]
    # Charts of one figure share their data sets' names.
    named = f"items-{zlib.crc32(json.dumps([label, items]).encode()):08x}"
    layers = [frame(axis), *_background(shown, axis), _bars(shown, axis, named)]
    if shown.marks:
        layers.append(_marks(shown, axis, named))
    if len(shown.bars) <= MOST_LABELLED:
        layers.append(_names(shown, axis, named, tall))
    if shown.now is not None:
        layers += _now(axis, shown.now)
    present = {item.group for item in shown.items}
    spec: Spec = {
        "width": "container",
        "height": tall,
        "datasets": {named: items},
        "encoding": {
            "y": {
                "type": "quantitative",
                "title": None if shown.lanes else "GPUs",
                "scale": {"domain": [0, shown.rows], "reverse": True, "nice": False},
                "axis": _lane_axis(shown, tall),
            },
            "color": colours({k: v for k, v in shown.groups.items() if k in present}),
        },
        "layer": layers,
    }
    return Chart(label, spec, dense=len(shown.bars) > _DENSE)


def _lane_axis(shown: Allocation, tall: float) -> Spec:
    """The nodes' names, as many of them as there is room for."""
    plain: Spec = {"grid": False, "tickMinStep": 1, "labelOverlap": "greedy"}
    if not shown.lanes:
        return plain
    every = -(-len(shown.lanes) * _NAME_PIXELS // tall)
    named = [lane for number, lane in enumerate(shown.lanes) if number % int(max(every, 1)) == 0]
    middles = [lane.row + lane.height / 2 for lane in named]
    names = [lane.name for lane in named]
    return {
        **plain,
        "values": middles,
        "ticks": False,
        "labelOverlap": False,
        # Both are literals of JSON: a name is never read as anything else.
        "labelExpr": f"{json.dumps(names)}[indexof({json.dumps(middles)}, datum.value)]",
    }


def _background(shown: Allocation, axis: TimeAxis) -> list[Spec]:
    layers: list[Spec] = []
    if shown.lanes:
        layers.append(
            {
                "data": {"values": [{"y": lane.row, "y2": lane.row + lane.height}
                                    for lane in shown.lanes[1::2]]},
                "mark": {"type": "rect", "color": {"expr": "muted"}, "opacity": 0.12},
                "encoding": {"x": None, "color": None, "y": {"field": "y"}, "y2": {"field": "y2"}},
            }
        )  # fmt: skip
    if shown.closed:
        values = [
            {
                "s": axis.place(one.start),
                "e": axis.place(one.end),
                "y": one.row,
                "y2": one.row + one.height,
                "tip": one.tip,
            }
            for one in shown.closed
        ]
        layers.append(
            {
                "data": {"values": values},
                "mark": {
                    "type": "rect",
                    "clip": True,
                    "color": {"expr": "muted"},
                    "opacity": 0.4,
                    "stroke": {"expr": "muted"},
                    "strokeDash": [3, 3],
                },
                "encoding": {**_box(axis), "color": None, "tooltip": {"field": "tip"}},
            }
        )
    return layers


def _box(axis: TimeAxis) -> Spec:
    return {
        "x": {"field": "s", "type": axis.kind},
        "x2": {"field": "e"},
        "y": {"field": "y", "type": "quantitative"},
        "y2": {"field": "y2"},
    }


def _looked_up(named: str) -> list[Spec]:
    return [
        {
            "lookup": "i",
            "from": {
                "data": {"name": named},
                "key": "i",
                "fields": ["name", "group", "tip", "shade"],
            },
        }
    ]


def _bars(shown: Allocation, axis: TimeAxis, named: str) -> Spec:
    return {
        "data": {"values": [_bar(bar, axis) for bar in shown.bars]},
        "transform": _looked_up(named),
        "mark": {
            "type": "rect",
            "clip": True,
            "opacity": {"expr": "datum.p ? 0.45 : datum.shade"},
            "stroke": {"expr": "paper"},
            "strokeWidth": 0.3 if len(shown.bars) > _DENSE else 1,
        },
        "encoding": {
            **_box(axis),
            "color": {"field": "group"},
            "tooltip": {"field": "tip", "type": "nominal"},
        },
    }


def _bar(bar: Bar, axis: TimeAxis) -> Spec:
    values: Spec = {
        "i": bar.item,
        "s": axis.place(bar.start),
        "e": axis.place(bar.end),
        "y": bar.row,
        "y2": bar.row + bar.height,
    }
    return {**values, "p": 1} if bar.planned else values


def _names(shown: Allocation, axis: TimeAxis, named: str, tall: float) -> Spec:
    """Each bar's name in it, where it has room for some of it."""
    # Scales are no help: they have other names in a chart that is a part of a figure.
    whole = axis.place(axis.end) - axis.place(axis.start)
    wide = f"((datum.e - datum.s) * across / {max(whole, 1e-9)})"
    high = f"((datum.y2 - datum.y) * {tall / shown.rows})"
    least = _LEAST_NAMED * (axis.end - axis.start)
    return {
        "data": {"values": [_bar(bar, axis) for bar in shown.bars if bar.end - bar.start >= least]},
        "transform": [*_looked_up(named), {"calculate": "(datum.y + datum.y2) / 2", "as": "m"}],
        "mark": {
            "type": "text",
            "clip": True,
            "align": "left",
            "baseline": "middle",
            "dx": 4,
            "fontSize": 11,
            "color": {"expr": "datum.p ? ink : '#101418'"},
            "limit": {"expr": f"max(1, {wide} - 7)"},
            "opacity": {"expr": f"{wide} > 26 && {high} > 9 ? 1 : 0"},
            "tooltip": None,
        },
        "encoding": {
            "x": {"field": "s", "type": axis.kind},
            "y": {"field": "m", "type": "quantitative"},
            "text": {"field": "name"},
            "color": None,
        },
    }


def _marks(shown: Allocation, axis: TimeAxis, named: str) -> Spec:
    values = [
        {"i": one.item, "s": axis.place(one.at), "y": one.row, "y2": one.row + one.height}
        for one in shown.marks
    ]
    return {
        "data": {"values": values},
        "transform": _looked_up(named),
        "mark": {
            "type": "rule",
            "clip": True,
            "color": {"expr": "ink"},
            "strokeWidth": 2,
            "strokeDash": [4, 2],
        },
        "encoding": {
            "x": {"field": "s", "type": axis.kind},
            "y": {"field": "y", "type": "quantitative"},
            "y2": {"field": "y2"},
            "color": None,
            "tooltip": {"field": "tip", "type": "nominal"},
        },
    }


def _now(axis: TimeAxis, now: float) -> list[Spec]:
    values = [{"s": axis.place(now)}]
    where = {"x": {"field": "s", "type": axis.kind}, "color": None, "y": None}
    return [
        {
            "data": {"values": values},
            "mark": {"type": "rule", "color": {"expr": "ink"}, "strokeWidth": 1.5},
            "encoding": where,
        },
        {
            "data": {"values": values},
            "mark": {
                "type": "text",
                "text": "now",
                "color": {"expr": "ink"},
                "baseline": "bottom",
                "dy": -3,
                "y": 0,
            },
            "encoding": where,
        },
    ]
