"""What goes up and down over time, and how fast a training goes on how many GPUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ef_slurm.charts.chart import GREY, SERIES, Chart, Spec, TimeAxis, colours, frame

HEIGHT = 220


@dataclass(frozen=True, slots=True)
class Line:
    """Steps: from each time on, until the next one, the value beside it.

    Args:
        filled: whether the area below it is painted rather than its edge.
    """

    name: str
    points: Sequence[tuple[float, float]]
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Values:
    """The axis of values.

    Args:
        most: its end; None for what is there.
        form: of the numbers, as d3-format has it.
        whole: whether there are no parts of one.
    """

    title: str
    most: float | None = None
    form: str = "~g"
    whole: bool = False

    def encoding(self, most: float = 0.0) -> Spec:
        """The y axis.

        Args:
            most: the largest value that is there.
        """
        scale: Spec = {"zero": True}
        if self.most is not None:
            scale |= {"domain": [0, self.most], "clamp": True}
        axis: Spec = {"format": self.form, "labelOverlap": "greedy", "tickCount": 5}
        if self.whole:
            step = max(1, 10 ** max(0, math.floor(math.log10(max(most, 1.0)) - 0.3)))
            step = next(step * part for part in (1, 2, 5, 10) if most <= 6 * step * part)
            axis["values"] = list(range(0, math.ceil(most) + step, step))
        return {"type": "quantitative", "title": self.title, "scale": scale, "axis": axis}


def steps(
    label: str,
    lines: Sequence[Line],
    axis: TimeAxis,
    values: Values,
    marks: Sequence[tuple[float, str]] = (),
) -> Chart:
    """Step lines over time.

    Args:
        marks: moments with a name each, as lines across.
    """
    painted = {
        line.name: GREY if line.filled and len(lines) > 1 else SERIES[place % len(SERIES)]
        for place, line in enumerate(lines)
    }
    back_to_front = sorted(lines, key=lambda one: not one.filled)
    layers = [frame(axis), *(_step(line, axis) for line in back_to_front)]
    most = max((value for line in lines for _, value in line.points), default=0.0)
    for number, (at, name) in enumerate(marks):
        layers += _moment(axis, at, name, number)
    spec: Spec = {
        "width": "container",
        "height": HEIGHT,
        "encoding": {"y": values.encoding(most), "color": colours(painted)},
        "layer": layers,
    }
    if len(lines) < 2:
        spec["encoding"]["color"]["legend"] = None
    return Chart(label, spec)


def _step(line: Line, axis: TimeAxis) -> Spec:
    kind = {"type": "area", "opacity": 0.35} if line.filled else {"type": "line", "strokeWidth": 2}
    return {
        "data": {
            "values": [
                {"x": axis.place(at), "y": value, "name": line.name} for at, value in line.points
            ]
        },
        "mark": {**kind, "interpolate": "step-after", "clip": True},
        "encoding": {
            "x": {"field": "x", "type": axis.kind},
            "y": {"field": "y", "type": "quantitative"},
            "color": {"field": "name"},
        },
    }


def _moment(axis: TimeAxis, at: float, name: str, number: int) -> list[Spec]:
    if not axis.start <= at <= axis.end:
        return []
    values = [{"x": axis.place(at)}]
    where = {"x": {"field": "x", "type": axis.kind}, "color": None, "y": None}
    late = at > (axis.start + axis.end) / 2
    return [
        {
            "data": {"values": values},
            "mark": {"type": "rule", "color": {"expr": "ink"}, "strokeDash": [4, 3]},
            "encoding": where,
        },
        {
            "data": {"values": values},
            "mark": {
                "type": "text",
                "text": name,
                "color": {"expr": "ink"},
                "align": "right" if late else "left",
                "dx": -4 if late else 4,
                "baseline": "top",
                "y": 4 + 15 * number,
            },
            "encoding": where,
        },
    ]


@dataclass(frozen=True, slots=True)
class SpeedCurve:
    """How fast a training goes on GPUs of one type.

    Args:
        expected: (GPUs, iterations/s).
        promised: on which promises count; empty where that is the same.
        measured: what was seen.
    """

    name: str
    expected: Sequence[tuple[int, float]]
    promised: Sequence[tuple[int, float]] = ()
    measured: Sequence[tuple[int, float]] = ()


def speed_curves(label: str, curves: Sequence[SpeedCurve], title: str = "") -> Chart:
    """Throughput curves, with what was measured."""
    painted = {curve.name: SERIES[place % len(SERIES)] for place, curve in enumerate(curves)}
    sizes = sorted(
        {gpus for one in curves for gpus, _ in (*one.expected, *one.promised, *one.measured)}
    )
    x: Spec = {
        "type": "quantitative",
        "title": "GPUs",
        "scale": {"type": "log", "base": 2, "nice": False, "domain": _domain(sizes)},
        "axis": {"values": sizes, "format": "d", "labelOverlap": "greedy"},
    }
    layers = [layer for curve in curves for layer in _speed_layers(curve)]
    spec: Spec = {
        "width": "container",
        "height": HEIGHT,
        "encoding": {
            "x": x,
            "y": Values("iterations/s").encoding(),
            "color": colours(painted),
        },
        "layer": layers,
    }
    if len(curves) < 2:
        spec["encoding"]["color"]["legend"] = None
    if title:
        spec["title"] = title
    return Chart(label, spec)


def _domain(sizes: Sequence[int]) -> list[float]:
    """A log axis of one size alone has no length."""
    if not sizes:
        return [1, 2]
    return [sizes[0] * 0.9, sizes[-1] * 1.12]


def _speed_layers(curve: SpeedCurve) -> list[Spec]:
    colour = {"color": {"field": "name"}}
    x = {"field": "g", "type": "quantitative"}
    low = dict(curve.promised)
    rows = [
        {"g": gpus, "r": rate, "low": low.get(gpus, rate), "name": curve.name,
         "tip": f"{curve.name}\n{gpus} GPUs: {rate:.4g} iterations/s expected"
         + (f"\npromised on: {low[gpus]:.4g}" if gpus in low else "")}
        for gpus, rate in curve.expected
    ]  # fmt: skip
    layers: list[Spec] = []
    if curve.promised:
        layers.append(
            {
                "data": {"values": rows},
                "mark": {"type": "area", "opacity": 0.25},
                "encoding": {
                    "x": x,
                    "y": {"field": "low", "type": "quantitative"},
                    "y2": {"field": "r"},
                    **colour,
                },
            }
        )
    layers.append(
        {
            "data": {"values": rows},
            "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 20}},
            "encoding": {
                "x": x,
                "y": {"field": "r", "type": "quantitative"},
                "tooltip": {"field": "tip", "type": "nominal"},
                **colour,
            },
        }
    )
    if curve.measured:
        seen = [
            {"g": gpus, "r": rate, "name": curve.name,
             "tip": f"{curve.name}\nmeasured on {gpus} GPUs: {rate:.4g} iterations/s"}
            for gpus, rate in curve.measured
        ]  # fmt: skip
        layers.append(
            {
                "data": {"values": seen},
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 90,
                    "opacity": 1,
                    "stroke": {"expr": "ink"},
                },
                "encoding": {
                    "x": x,
                    "y": {"field": "r", "type": "quantitative"},
                    "tooltip": {"field": "tip", "type": "nominal"},
                    **colour,
                },
            }
        )
    return layers
