"""Errors of input files, worded for the person who wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_SHOWN = 10


class FormatError(ValueError):
    """A file that cannot be used or written. Its text is the whole message."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in an input file. Lines count from 1; None where no single line is meant."""

    file: Path
    line: int | None
    column: str | None
    message: str

    def __str__(self) -> str:
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        column = "" if self.column is None else f" column {self.column!r}:"
        return f"{place}:{column} {self.message}"


class InputError(FormatError):
    """An input file that cannot be used, with everything found wrong in it."""

    def __init__(self, problems: list[Problem]) -> None:
        lines = [str(problem) for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f"… and {len(problems) - _SHOWN} more problems")
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)

    @classmethod
    def one(
        cls, file: Path, message: str, *, line: int | None = None, column: str | None = None
    ) -> InputError:
        """An error with a single problem."""
        return cls([Problem(file, line, column, message)])
