"""Texts of other people on a terminal and in a log."""

import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.printing import (
    LONGEST_LOG_LINE,
    LogFormatter,
    cut,
    printable,
    shortened,
    width,
)

POWERFUL = (
    "\x1b[2J\x1b[H",  # clears the screen
    "\x1b]0;title\x07",
    "\x9b31m",  # the one-character form of ESC [
    "a\nforged row",
    "a\rforged row",
    "a\x0bb\x0cc\x85d\u2028e\u2029f",
    "\u202egnp.exe",  # right to left
    "\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    "\u200b\u2060\ufeff\u00ad",  # invisible
    "\x00\x07\x08\x7f",
    "\udcff\ud83d",
    "\U000e0041",  # tag letters
)


@pytest.mark.parametrize("text", POWERFUL, ids=ascii)
def test_what_has_power_over_a_terminal_is_escaped(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode("utf-8")
    assert len(shown.splitlines()) == 1


@given(st.text(st.characters(codec=None, categories=None)))
def test_whatever_comes_is_one_line_that_can_be_written(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    shown.encode("utf-8")


@pytest.mark.parametrize("text", ["bert-large_v2 (run 7)", "Übung", "学習", "सीखना", "обучение"])
def test_letters_of_any_script_stay(text: str) -> None:
    assert printable(text) == text


@given(st.text("ab学e\u0301", max_size=20), st.integers(0, 20))
def test_a_cut_text_fits(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns
    assert text.startswith(cut(text, columns))


def test_shortened() -> None:
    assert shortened("a" * 10, 4) == "aaaa… (6 characters more)"


def formatted(message: str, *arguments: object, error: bool = False) -> str:
    formatter = LogFormatter("%(levelname)s %(message)s")
    try:
        raise ValueError(message)
    except ValueError:
        info = sys.exc_info() if error else None
    record = logging.LogRecord("x", logging.INFO, "f", 1, message, arguments, info)
    return formatter.format(record)


def test_a_log_line_is_one_line_and_not_endless() -> None:
    assert formatted("job of %s", "x\n2026 INFO forged") == r"INFO job of x\n2026 INFO forged"
    assert len(formatted("%s", "x" * 1_000_000)) < LONGEST_LOG_LINE + 100


def test_an_error_in_a_log_forges_no_line() -> None:
    first, *rest = formatted("bad\n2026 INFO forged\x1b[2J", error=True).split("\n")
    assert first.startswith("INFO bad")
    assert rest
    assert all(line.startswith("  | ") and "\x1b" not in line for line in rest)
