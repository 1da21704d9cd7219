"""Which columns a table has: squeue's `-o` and `-O`, and the layouts that have a name.

Columns are chosen as squeue's are: `%` letters with widths (`-o "%.8i %j"`) or names
(`-O jobid,name:20`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.squeue.columns import COLUMNS, Column

DEFAULT_FORMAT = "%i %j %u %T %b %p %E %e %L %q %R"
LONG_FORMAT = "%i %P %j %u %a %k %T %M %D %b %m %p %E %e %L %q %g %R"
START_FORMAT = "%i %j %u %T %S %b %E %e %L %q %R"
MOST_WIDTH = 65536
"""Characters of a column."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A column in a layout; `width` None fits the widest text."""

    column: Column
    width: int | None = None
    right: bool | None = None
    gap: str = " "


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table.

    Args:
        yields: whether columns give way to others where the terminal is narrow; those that somebody
            has chosen do not.
    """

    cells: tuple[Cell, ...]
    yields: bool = False


_BY_LETTER = {column.letter: column for column in COLUMNS}
_BY_NAME = {column.name: column for column in COLUMNS}


def named(text: str) -> Layout:
    """One of the layouts that have a name."""
    return Layout(tuple(parse_letters(text)), yields=True)


def column_named(name: str) -> Column | None:
    """A column by its letter or its name."""
    return _BY_LETTER.get(name) or _BY_NAME.get(name.lower())


def known_columns() -> str:
    """All of them, for an error message."""
    return ", ".join(f"%{column.letter} {column.name}" for column in COLUMNS)


def parse_letters(text: str, where: str = "--format") -> list[Cell]:
    """The layout of `%[[.]WIDTH]LETTER` fields with text between them (squeue(1), --format).

    Args:
        where: what the text is of, for errors.

    Raises:
        UsageError: an unknown letter, or no field at all.
    """
    cells: list[Cell] = []
    for dot, width, letter, gap in re.findall(r"%(\.?)([0-9]*)(.?)([^%]*)", text, re.DOTALL):
        column = _BY_LETTER.get(letter)
        if column is None:
            raise UsageError(f"{where}: %{letter} is not known; there is {known_columns()}")
        right = True if dot else None
        cells.append(
            Cell(column, _width(width, f"%{dot}{width}{letter}", where), right, gap or " ")
        )
    if not cells:
        raise UsageError(f"{where}={text}: no %LETTER in it; the default is {DEFAULT_FORMAT!r}")
    return cells


def parse_names(text: str, where: str = "--Format") -> list[Cell]:
    """The layout of `name[:[.]width]` fields (squeue(1), --Format).

    Args:
        where: what the text is of, for errors.

    Raises:
        UsageError: an unknown name or a width that is no number.
    """
    cells = []
    for field in text.split(","):
        name, _, width = field.strip().lower().partition(":")
        column = _BY_NAME.get(name)
        if column is None:
            known = ", ".join(column.name for column in COLUMNS)
            raise UsageError(f"{where}: {name!r} is not known; there is {known}")
        digits = width.removeprefix(".")
        if width and not (digits.isascii() and digits.isdecimal()):
            raise UsageError(f"{where}: {field.strip()!r}: the width is no number")
        right = True if width.startswith(".") else None
        cells.append(Cell(column, _width(digits, field.strip(), where), right))
    return cells


def _width(digits: str, field: str, where: str) -> int | None:
    if not digits:
        return None
    if len(digits) > 9 or int(digits) > MOST_WIDTH:
        raise UsageError(f"{where}: {field!r}: the width is {MOST_WIDTH} at most")
    return int(digits)
