"""Vega-Lite as the Python package vl-convert brings it: JavaScript for browsers, and files.

It is an optional extra. A child process asks it for the JavaScript, since it starts a JavaScript
engine of some 160 MB for that, which no daemon has to keep.
"""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ef_slurm.charts.chart import Chart
from ef_slurm.charts.style import LIGHT, Theme, themed
from ef_slurm.formats.errors import FormatError
from ef_slurm.formats.files import write_whole

FORMATS = ("png", "svg", "pdf")
PACKAGE = "vl-convert-python"
"""What PyPI calls it."""
_MODULE = "vl_convert"
_BUNDLE_SECONDS = 120.0
_PROGRAM = (
    "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())"
)
_WIDTH = 960
_PIXELS = 2.0  # of a picture for one of the chart


class ChartsError(FormatError):
    """Nothing can be drawn here; the text says why, and what would help."""


def is_there() -> bool:
    """Whether charts can be drawn."""
    return importlib.util.find_spec(_MODULE) is not None


def need(extra: str) -> None:
    """Refuse, before work is done, what could not be drawn after it.

    Args:
        extra: of ef-slurm that brings the package.

    Raises:
        ChartsError: the package is missing.
    """
    if not is_there():
        raise ChartsError(
            f"charts need the Python package {PACKAGE}, which is not installed: install "
            f"ef-slurm[{extra}]"
        )


def check_file(file: Path, extra: str) -> None:
    """Refuse a figure's name that ends in no known format, and a figure that cannot be drawn.

    Raises:
        ChartsError: one of the two.
    """
    if _format(file) not in FORMATS:
        wanted = ", ".join(f".{name}" for name in FORMATS)
        raise ChartsError(f"figure {str(file)!r} is not valid: its name must end in {wanted}")
    need(extra)


def javascript() -> str:
    """All that a browser needs to draw, as one script: it sets `window.vegaEmbed`.

    Raises:
        ChartsError: the package is missing, or does not give it.
    """
    need("web")
    return _javascript()


@functools.cache
def _javascript() -> str:
    # -P: no module of the working directory's is taken for the package.
    command = [sys.executable, "-P", "-c", _PROGRAM]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, timeout=_BUNDLE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ChartsError(f"{PACKAGE} gives no JavaScript: {error}") from error
    return done.stdout.decode()


def write_figure(
    title: str, charts: Sequence[tuple[str, Chart]], file: Path, theme: Theme = LIGHT
) -> None:
    """Charts one below the other in a file, as on paper.

    Args:
        title: above all of them; empty for none.
        charts: each with its heading.
        file: its suffix says the format.

    Raises:
        ChartsError: the package is missing, or draws nothing.
        FormatError: the file cannot be written.
    """
    need("web")
    import vl_convert  # heavy, and only needed here

    datasets = {
        name: rows for _, chart in charts for name, rows in chart.spec.get("datasets", {}).items()
    }
    above = {"title": {"text": title, "fontSize": 16, "anchor": "start", "offset": 14}}
    spec = {
        "datasets": datasets,
        **(above if title else {}),
        "padding": 16,
        "vconcat": [_on_paper(heading, chart) for heading, chart in charts],
        "resolve": {"scale": {"color": "independent"}, "legend": {"color": "independent"}},
        "spacing": 22,
    }
    makers: Mapping[str, Callable[[Any], bytes]] = MappingProxyType(
        {
            "png": lambda one: vl_convert.vegalite_to_png(one, scale=_PIXELS),
            "svg": lambda one: vl_convert.vegalite_to_svg(one).encode(),
            "pdf": vl_convert.vegalite_to_pdf,
        }
    )
    try:
        drawn = makers[_format(file)](themed(spec, theme, _WIDTH))
    except ValueError as error:
        raise ChartsError(f"{PACKAGE} draws nothing: {error}") from error
    write_whole(file, drawn)


def _on_paper(heading: str, chart: Chart) -> dict[str, Any]:
    spec = {**chart.spec, "width": _WIDTH}
    spec.pop("datasets", None)
    return {**spec, "title": heading} if heading else spec


def _format(file: Path) -> str:
    return file.suffix.lstrip(".").lower()
