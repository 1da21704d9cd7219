"""How charts look by day and by night, on paper and on a screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ef_slurm.charts.chart import SERIES, Spec

_FONT = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of text, background, grid, and of what is less important."""

    ink: str
    paper: str
    muted: str
    grid: str


LIGHT = Theme(ink="#1d2733", paper="#ffffff", muted="#5a6673", grid="#e3e7ec")
DARK = Theme(ink="#e4e9ef", paper="#171c22", muted="#9aa6b2", grid="#2d353e")


def config(theme: Theme) -> Spec:
    """Vega-Lite's configuration."""
    return {
        "background": "transparent",
        "font": _FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": theme.muted,
            "titleColor": theme.muted,
            "gridColor": theme.grid,
            "domainColor": theme.muted,
            "tickColor": theme.muted,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "labelLimit": 130,
        },
        "legend": {
            "labelColor": theme.ink,
            "titleColor": theme.ink,
            "labelFontSize": 12,
            "labelLimit": 260,
            "symbolType": "square",
            "symbolSize": 130,
            "symbolStrokeWidth": 2,
            "orient": "top",
            "columnPadding": 16,
        },
        "title": {"color": theme.ink, "fontSize": 14, "anchor": "start"},
        "range": {"category": list(SERIES)},
        "text": {"fontSize": 12},
    }


def parameters(theme: Theme, across: Spec) -> list[Spec]:
    """What specifications may ask for by name; `across` is the width, a value or an expression."""
    names = ("ink", "paper", "muted")
    colours = [{"name": name, "value": getattr(theme, name)} for name in names]
    return [*colours, {"name": "across", **across}]


def themes() -> Mapping[str, Any]:
    """Both, as `draw.js` takes them."""
    pairs = (("light", LIGHT), ("dark", DARK))
    return {
        name: {"config": config(theme), "params": parameters(theme, {"expr": "width"})}
        for name, theme in pairs
    }


def themed(spec: Mapping[str, Any], theme: Theme, width: float) -> Spec:
    """A whole specification of charts that are `width` pixels wide, for a file."""
    background = {"background": theme.paper}
    return {
        **spec,
        "params": parameters(theme, {"value": width}),
        "config": {**config(theme), **background},
    }
