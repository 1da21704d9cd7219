"""What unit tests of several rooms share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Table = Callable[[str, str], Path]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Writes a file of the given name and text."""

    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return write
