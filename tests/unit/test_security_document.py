"""docs/security.md: every line names a test, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
ROW = re.compile(r"^\| (?!held by|seen in|is trusted|-)(.+?) \|(.*)\|$", re.MULTILINE)


def claims() -> list[tuple[str, str]]:
    """The lines of all tables but the first one, whose lines say who is who."""
    _, _, rest = TEXT.partition("## Users from one another")
    return [
        (sentence, tests)
        for sentence, tests in ROW.findall(rest)
        if sentence.strip() and tests.strip() not in ("held by", "seen in")
    ]


def test_there_are_such_lines() -> None:
    assert len(claims()) > 20


@pytest.mark.parametrize(("sentence", "tests"), claims(), ids=lambda text: text[:50])
def test_every_line_names_its_tests(sentence: str, tests: str) -> None:
    assert sentence.rstrip().endswith(".")
    assert NAMED.search(tests), sentence
    assert not re.sub(NAMED, "", tests).strip(" ,"), f"{sentence}: not only tests: {tests}"


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED.findall(TEXT)}))
def test_every_test_that_is_named_exists(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    known = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            known.add(node.name)
        elif isinstance(node, ast.ClassDef):
            known |= {
                f"{node.name}::{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef)
            }
    named = {name for path, name in NAMED.findall(TEXT) if path == file}
    assert named <= known, named - known
