"""Charts in HTML, which loads nothing and runs nothing that is not its own."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from markupsafe import Markup, escape

from ef_slurm.charts.chart import Chart
from ef_slurm.charts.style import themes


def data_block(content: Any, identity: str = "") -> Markup:
    """JSON that a script on the page can read. It is no script, and cannot end the block."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    name = f' id="{escape(identity)}"' if identity else ""
    return Markup(f'<script type="application/json"{name}>{text}</script>')  # noqa: S704 - escaped


def figure(chart: Chart) -> Markup:
    """Where a chart is drawn. Those who do not see it are told what it shows."""
    kind = "canvas" if chart.dense else "svg"
    return Markup(  # noqa: S704 - escaped
        f'<div class="chart" data-renderer="{kind}" role="img" aria-label="{escape(chart.label)}">'
        f'{data_block(chart.spec)}<div class="drawn" aria-hidden="true"></div></div>'
    )


def theme_block() -> Markup:
    """What `draw.js` needs to know once for each page."""
    return data_block(themes(), "chart-themes")


def draw_script() -> str:
    """Our own part of the drawing."""
    return _text("draw.js")


def stylesheet() -> str:
    """How pages with charts look."""
    return _text("page.css")


def inline_script(text: str) -> Markup:
    """A script inside a page, for reports that are one file.

    Neither of the two texts that end a script, or hide its end, occurs in code outside of strings
    and patterns, where a backslash changes nothing.
    """
    safe = text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    return Markup(f"<script>{safe}</script>")  # noqa: S704 - our own file, or the library's


def _text(name: str) -> str:
    return (resources.files("ef_slurm.charts") / name).read_text(encoding="utf-8")
