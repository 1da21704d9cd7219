"""A chart: what Vega-Lite is to draw, and what it shows in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""

# Okabe and Ito's, lightened until black text is read on them: told apart by the colour-blind, and
# seen on white and on black.
BLUE = "#6cb2e8"
AMBER = "#eeb047"
RED = "#ef7d72"
GREEN = "#63c79f"
GREY = "#a9b3be"
VIOLET = "#cf9bc6"
SERIES = (BLUE, "#d97b3b", "#3fae86", "#c481b7", "#a98f2c", "#5f7fd6", GREY, RED)
"""Of lines and bars that are told apart by a legend."""


_TIME_LABEL = (
    "hours(datum.value) + minutes(datum.value) + seconds(datum.value) == 0"
    " ? timeFormat(datum.value, '%a %d')"
    " : timeFormat(datum.value, seconds(datum.value) == 0 ? '%H:%M' : '%H:%M:%S')"
)


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw.

    Args:
        label: what it shows, for those who do not see it.
        spec: Vega-Lite's. It may use the parameters `ink`, `paper` and `muted`, the colours of
            text, background and what is less important, which differ by day and night, and
            `across`, its width in pixels.
        dense: whether there are so many marks that a picture is quicker to draw than a drawing.
    """

    label: str
    spec: Mapping[str, Any]
    dense: bool = False


@dataclass(frozen=True, slots=True)
class Clock:
    """An axis of time with dates. `start` and `end` are UTC epoch seconds; it shows local time."""

    start: float
    end: float

    def place(self, at: float) -> float:
        """Where a moment is on the axis, in Vega's milliseconds."""
        return round(1000.0 * min(max(at, self.start), self.end))

    @property
    def kind(self) -> str:
        """The axis's type."""
        return "temporal"

    def encoding(self) -> Spec:
        """The x axis."""
        return {
            "type": self.kind,
            "title": None,
            "scale": {"nice": False},
            "axis": {
                "labelOverlap": "greedy",
                "labelFlush": False,
                "grid": True,
                "labelExpr": _TIME_LABEL,
                "tickCount": {"expr": "ceil(width / 70)"},
            },
        }


@dataclass(frozen=True, slots=True)
class Elapsed:
    """An axis of time without dates.

    Args:
        start, end: seconds on whatever clock.
        unit: seconds of what is counted; `name` what that is called.
        since: what happened at `start`.
    """

    start: float
    end: float
    unit: float
    name: str
    since: str = "the first submission"

    def place(self, at: float) -> float:
        """Where a moment is on the axis."""
        within = min(max(at, self.start), self.end)
        return round((within - self.start) / self.unit, 5)

    @property
    def kind(self) -> str:
        """The axis's type."""
        return "quantitative"

    def encoding(self) -> Spec:
        """The x axis."""
        return {
            "type": self.kind,
            "title": f"{self.name} since {self.since}",
            "scale": {"nice": False, "zero": False},
            "axis": {"labelOverlap": "greedy", "labelFlush": False, "grid": True},
        }


TimeAxis = Clock | Elapsed


def time_unit(seconds: float) -> tuple[float, str]:
    """(Seconds, name) of the unit in which a span of that length is read.

    >>> time_unit(7200.0), time_unit(90.0)
    ((3600.0, 'hours'), (1.0, 'seconds'))
    """
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * unit:
            return unit, name
    return 1.0, "seconds"


def frame(axis: TimeAxis) -> Spec:
    """A layer that draws nothing but the axis of time: the layers beside it name fields only.

    Its ends are data: a domain of moments is none to Vega's interpreter.
    """
    return {
        "data": {"values": [{"x": axis.place(axis.start)}, {"x": axis.place(axis.end)}]},
        "mark": {"type": "point", "opacity": 0, "tooltip": None},
        "encoding": {"x": axis.encoding() | {"field": "x"}, "y": None, "color": None},
    }


def colours(groups: Mapping[str, str]) -> Spec:
    """A scale and a legend of what each colour means.

    Args:
        groups: name → colour.
    """
    return {
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(groups), "range": list(groups.values())},
        "legend": {"orient": "top"},
    }
