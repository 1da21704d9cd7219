"""Delimited text files, read so that every complaint can name the file, the line and the column."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ef_slurm.formats.errors import InputError, Problem
from ef_slurm.formats.numbers import parse_number


@dataclass(frozen=True, slots=True)
class Row:
    """One line: its number in the file and its cells by column name."""

    line: int
    cells: dict[str, str]


class TableFile:
    """A header and rows, with a list of the problems found so far.

    Readers note problems with `complain` and go on, so that one run shows them all; `check` raises
    when there are any.
    """

    def __init__(self, file: Path, lines: Sequence[tuple[int, list[str]]] | None = None) -> None:
        """Reads the whole file.

        Args:
            file: comma-separated, quoted where needed.
            lines: (line number, cells) of a file of another kind, as it was read already.

        Raises:
            InputError: it cannot be read, is empty, or its header names a column twice.
        """
        self.file = file
        self.problems: list[Problem] = []
        lines = _read(file) if lines is None else lines
        if not lines:
            raise InputError.one(file, "the file is empty: a header line is needed")
        self.header_line, header = lines[0]
        self.columns = [name.strip() for name in header]
        for name in self.columns:
            if self.columns.count(name) > 1:
                raise InputError.one(
                    file, "stands twice in the header", line=self.header_line, column=name
                )
        self._lines = lines[1:]

    def __len__(self) -> int:
        return len(self._lines)

    def rows(self) -> Iterator[Row]:
        """The rows with as many cells as the header; the others are noted as problems."""
        for line, cells in self._lines:
            if len(cells) != len(self.columns):
                self.complain(
                    line, None, f"{len(cells)} cells, but the header has {len(self.columns)}"
                )
                continue
            yield Row(line, {n: c.strip() for n, c in zip(self.columns, cells, strict=True)})

    def complain(self, line: int | None, column: str | None, message: str) -> None:
        """Notes a problem."""
        self.problems.append(Problem(self.file, line, column, message))

    def check(self) -> None:
        """Raises InputError when a problem was noted."""
        if self.problems:
            raise InputError(self.problems)

    def number(
        self, row: Row, column: str, *, low: float = -math.inf, above: bool = False
    ) -> float | None:
        """The cell as a finite number of at least `low` (more than `low` with `above`).

        A cell that is not is noted as a problem, and None returned.
        """
        text = row.cells[column]
        value = parse_number(text)
        if value is None:
            self.complain(row.line, column, f"{text!r} is not a number")
            return None
        if value < low or (above and value == low):
            wanted = f"more than {low:g}" if above else f"{low:g} or more"
            self.complain(row.line, column, f"{text!r} is not valid: it must be {wanted}")
            return None
        return value


def _read(file: Path) -> list[tuple[int, list[str]]]:
    """(Line number, cells) of every line that is not blank."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            lines = []
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    lines.append((reader.line_num, cells))
            return lines
    except OSError as error:
        raise InputError.one(file, f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError.one(file, "is not a UTF-8 text file") from None
    except csv.Error as error:
        raise InputError.one(
            file, f"is not a readable table: {error}", line=reader.line_num
        ) from None
