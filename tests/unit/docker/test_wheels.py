"""What pip fetches for hosts whose Debian release lacks it."""

from __future__ import annotations

import re

from mini import wheels
from mini.python_environment import CONSTRAINTS
from mini.settings import SUITES


def test_what_a_release_lacks_can_be_fetched() -> None:
    fetched = wheels.available()
    for name, suite in SUITES.items():
        assert suite.lacks <= fetched.keys(), name
        assert bool(suite.lacks) == bool(suite.python), name


def test_jobs_train_with_the_releases_that_the_tests_have() -> None:
    def plain(line: str) -> str:
        return re.sub(r"\+cpu$", "", line).lower().replace("_", "-")

    pinned = {plain(line) for line in CONSTRAINTS.read_text().splitlines()}
    fetched = {plain(line) for line in wheels.lines_of(wheels.NEWER_TORCH)}
    assert fetched <= pinned
