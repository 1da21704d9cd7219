"""Counts by time, and parts of one by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ef_slurm.charts.chart import BLUE, GREY, SERIES, Chart, Spec, TimeAxis, colours, frame
from ef_slurm.charts.lines import HEIGHT, Values

_BAR_PIXELS = 30
_THIN_PIXELS = 13


def stacked(
    label: str,
    edges: Sequence[float],
    counts: Mapping[str, Sequence[float]],
    groups: Mapping[str, str],
    axis: TimeAxis,
    values: Values,
) -> Chart:
    """Bars of equal bins of time, stacked by group.

    Args:
        edges: of the bins, one more than values.
        counts: by group, from the bottom up.
        groups: name → colour.
    """
    rows = []
    levels = [0.0] * (len(edges) - 1)
    for name, column in counts.items():
        for place, count in enumerate(column):
            if not count:
                continue
            rows.append(
                {
                    "s": axis.place(edges[place]),
                    "e": axis.place(edges[place + 1]),
                    "y": levels[place],
                    "y2": levels[place] + count,
                    "name": name,
                    "tip": f"{count:g} {name}",
                }
            )
            levels[place] += count
    spec: Spec = {
        "width": "container",
        "height": HEIGHT,
        "encoding": {"y": values.encoding(max(levels)), "color": colours(dict(groups))},
        "layer": [
            frame(axis),
            {
                "data": {"values": rows},
                "mark": {"type": "rect", "stroke": {"expr": "paper"}, "strokeWidth": 0.7},
                "encoding": {
                    "x": {"field": "s", "type": axis.kind},
                    "x2": {"field": "e"},
                    "y": {"field": "y", "type": "quantitative"},
                    "y2": {"field": "y2"},
                    "color": {"field": "name"},
                    "tooltip": {"field": "tip", "type": "nominal"},
                },
            },
        ],
    }
    if len(groups) < 2:
        spec["encoding"]["color"]["legend"] = None
    return Chart(label, spec)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of one, by name; `ours` is what the reader looks for."""

    name: str
    value: float
    ours: bool = False


def ranked(label: str, parts: Sequence[Part]) -> Chart:
    """Parts of one as bars, one below the other, with their names and numbers."""
    rows = [
        {"name": part.name, "v": part.value, "text": f"{part.value:.1%}", "ours": part.ours}
        for part in parts
    ]
    y: Spec = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"ticks": False, "domain": False, "labelLimit": 150, "labelFontSize": 13},
    }
    x: Spec = {
        "field": "v",
        "type": "quantitative",
        "title": None,
        "scale": {"domain": [0, 1.12]},
        "axis": {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]},
    }
    spec: Spec = {
        "width": "container",
        "height": max(1, len(rows)) * _BAR_PIXELS,
        "data": {"values": rows},
        "encoding": {"x": x, "y": y},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.7}, "cornerRadiusEnd": 2},
                "encoding": {
                    "color": {"condition": {"test": "datum.ours", "value": BLUE}, "value": GREY}
                },
            },
            {
                "mark": {
                    "type": "text",
                    "align": "left",
                    "dx": 5,
                    "fontWeight": "bold",
                    "color": {"expr": "ink"},
                },
                "encoding": {"text": {"field": "text"}},
            },
        ],
    }
    return Chart(label, spec)


@dataclass(frozen=True, slots=True)
class GroupedPart:
    """A part of one (None: there is none) of `series` for `name`."""

    name: str
    series: str
    value: float | None


def grouped(label: str, parts: Sequence[GroupedPart]) -> Chart:
    """Several bars for each name, one for each series."""
    series = list(dict.fromkeys(part.series for part in parts))
    names = list(dict.fromkeys(part.name for part in parts))
    rows = [
        {"name": part.name, "series": part.series, "v": part.value or 0.0,
         "text": "-" if part.value is None else f"{part.value:.1%}"}
        for part in parts
    ]  # fmt: skip
    painted = {name: SERIES[place % len(SERIES)] for place, name in enumerate(series)}
    spec: Spec = {
        "width": "container",
        "height": max(1, len(names)) * (len(series) * _THIN_PIXELS + 10),
        "data": {"values": rows},
        "encoding": {
            "x": {
                "field": "v",
                "type": "quantitative",
                "title": None,
                "scale": {"domain": [0, 1.15]},
                "axis": {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]},
            },
            "y": {
                "field": "name",
                "type": "nominal",
                "sort": None,
                "title": None,
                "axis": {"ticks": False, "domain": False, "labelLimit": 110},
                "scale": {"paddingInner": 0.2},
            },
            "yOffset": {"field": "series", "sort": None},
            "color": colours(painted) | {"field": "series"},
        },
        "layer": [
            {"mark": {"type": "bar"}},
            {
                "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 10,
                         "color": {"expr": "ink"}},
                "encoding": {"text": {"field": "text"}, "color": None},
            },
        ],
    }  # fmt: skip
    return Chart(label, spec)
