"""Durations and times are read and printed in `formats` only, so that they mean one thing."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "ef_slurm"
PLACES = {PACKAGE / "formats" / f"{name}.py" for name in ("durations", "times", "wall_clock")}
# What runs inside the job imports nothing of ours.
ALONE = {*(PACKAGE / "contract").rglob("*.py"), *(PACKAGE / "training").rglob("*.py")}
CONVERSIONS = {"fromisoformat", "isoformat", "fromtimestamp", "strptime", "strftime"}
SECONDS = {86400, 604800}


@pytest.mark.parametrize(
    "path",
    sorted({*PACKAGE.rglob("*.py")} - PLACES - ALONE),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_nobody_else_converts(path: Path) -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in CONVERSIONS)
        or (isinstance(node, ast.Constant) and type(node.value) is int and node.value in SECONDS)
    ]
    assert not found, "use formats/durations.py or formats/times.py"
