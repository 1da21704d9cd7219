"""What coverage.py measured, as a table of the files that lack most."""

import json
import tomllib
from pathlib import Path

SHOWN = 10


def worst_files(report: str, shown: int = SHOWN) -> str:
    """The files of which the smallest part of lines and branches was run, and the total.

    Args:
        report: the text of `coverage json`.
        shown: most files in the table.
    """
    measured = json.loads(report)
    rows = sorted(
        (file["summary"]["percent_covered"], name, file["summary"])
        for name, file in measured["files"].items()
        if file["summary"]["num_statements"]
    )
    total = measured["totals"]
    lines = [f"least covered of {len(rows)} files:  lines and branches that no unit test ran"]
    for percent, name, summary in [*rows[:shown], (total["percent_covered"], "all files", total)]:
        missing, branches = summary["missing_lines"], summary["missing_branches"]
        lines.append(f"  {percent:5.1f} %  {missing:>5} {branches:>5}  {name}")
    return "\n".join(lines)


def required(checkout: Path) -> float:
    """Percent of lines and branches that the project wants to be run."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    return float(project["tool"]["coverage"]["report"]["fail_under"])


def missing(report: str, required: float) -> str:
    """Says that less was run than is required, in percent; empty where it was not."""
    total: float = json.loads(report)["totals"]["percent_covered"]
    if total >= required:
        return ""
    return f"unit tests ran {total:.2f} % of lines and branches, {required:g} % are required"
