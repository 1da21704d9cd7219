"""Texts of other people as they may go to a terminal, a log or a report.

A job's name, a note and an error message of Slurm's may hold whatever their author likes: escape
sequences that rewrite the screen, line breaks that forge a row, letters that turn the reading
direction round, or so many of them that everything else is pushed out of sight. Everything that is
printed for people goes through `printable`. JSON has escapes of its own and stays exact.
"""

from __future__ import annotations

import logging
import unicodedata

LONGEST_LOG_LINE = 4000
"""Characters of one message in a log; what is longer is cut, and how much of it is said."""


def printable(text: str) -> str:
    r"""A text on one line and without power over what shows it.

    Control characters, line breaks, invisible and direction-changing characters and halves of
    surrogate pairs are written as Python escapes them. Letters of any script stay.

    >>> print(printable("\x1b[2Jbert\n1 root"))
    \x1b[2Jbert\n1 root
    >>> print(printable("Übung \u202e"))
    Übung \u202e
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def shortened(text: str, longest: int) -> str:
    """A text of at most about `longest` characters, which says how much was left out.

    >>> shortened("abcdef", 3), shortened("abc", 3)
    ('abc… (3 characters more)', 'abc')
    """
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest} characters more)"


def width(text: str) -> int:
    """How many columns of a terminal a printable text takes.

    >>> width("bert"), width("学習")
    (4, 4)
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut(text: str, columns: int) -> str:
    """As much of a printable text as fits into so many columns of a terminal."""
    if width(text) <= columns:
        return text
    used = 0
    for place, character in enumerate(text):
        used += _columns(character)
        if used > columns:
            return text[:place]
    return text


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class LogFormatter(logging.Formatter):
    """One line per message, whatever it holds; lines of a traceback are indented below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line."""
        record.message = printable(shortened(record.message, LONGEST_LOG_LINE))
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802
        """The traceback."""
        lines = super().formatException(ei).splitlines()  # type: ignore[arg-type]
        return "\n".join(f"  | {printable(shortened(line, LONGEST_LOG_LINE))}" for line in lines)
