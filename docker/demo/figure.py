"""The chart of a demo's report as the README's picture: by day and by night, as SVG.

    cd docker && PYTHONPATH=.. python3 -m demo.figure REPORT.html ../docs/pictures

draws `demo-light.svg` and `demo-dark.svg`. Needs ef-slurm[web].
"""

from __future__ import annotations

import html
import json
import re
import sys
from pathlib import Path

from ef_slurm.charts.chart import Chart
from ef_slurm.charts.library import write_figure
from ef_slurm.charts.style import DARK, LIGHT
from ef_slurm.formats.errors import FormatError

_FIGURE = re.compile(
    r'<div class="chart"[^>]*aria-label="([^"]*)">\s*'
    r'<script type="application/json">(.*?)</script>',
    re.DOTALL,
)
THEMES = (("light", LIGHT), ("dark", DARK))


def chart_of(report: str) -> Chart:
    """The first chart of a report.

    Raises:
        FormatError: there is none.
    """
    found = _FIGURE.search(report)
    if found is None:
        raise FormatError("no chart in the report: it was made without ef-slurm[web]")
    return Chart(html.unescape(found[1]), json.loads(found[2]))


def main(report: str, directory: str) -> int:
    """Draw both; the exit code."""
    try:
        chart = chart_of(Path(report).read_text(encoding="utf-8"))
        for name, theme in THEMES:
            file = Path(directory) / f"demo-{name}.svg"
            write_figure("", [("", chart)], file, theme)
    except (FormatError, OSError) as error:
        print(f"{report}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
