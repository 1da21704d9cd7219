"""The forms of a moment, as --help and the documentation show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap

SHORT = (
    "18:00, 6pm, tomorrow, friday 18:00, 3h, now+2hours, MM/DD[/YY], YYYY-MM-DD[THH:MM[:SS]] "
    "or ISO 8601 with a zone"
)
"""For an error."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a moment.

    Args:
        written: with [optional] parts.
        meaning: in a sentence of --help.
        examples: texts that are valid at any time.
        slurm: whether it is sbatch's too.
    """

    written: str
    meaning: str
    examples: tuple[str, ...]
    slurm: bool = False


FORMS = (
    Form(
        "18:00[:30], 6pm, 6:30 pm", "the next time that the clock shows it", ("18:00", "6pm"), True
    ),
    Form(
        "noon, midnight, teatime, fika",
        "12:00, 0:00, 16:00, 15:00 (and elevenses)",
        ("noon", "teatime"),
        True,
    ),
    Form("3h, 90min, 1h30m, 2 days", "so long from now", ("3h", "1h30m")),
    Form("+6h, in 3 hours, +1-12:00:00", "the same", ("+6h", "in 3 hours", "+1-12:00:00")),
    Form("now+COUNT[UNIT]", "the same; without a unit seconds", ("now+2hours", "now+90"), True),
    Form("tomorrow, today", "the end of that day", ("tomorrow", "today"), True),
    Form("friday, fri", "the end of the next such day", ("friday", "fri")),
    Form("2026-12-24, 24 Dec [2026]", "the end of that day", ("2999-12-24", "24 Dec"), True),
    Form("12/24[/26], 12.24[.26], 1224[26]", "the same: month, day, year", ("12/24", "1224"), True),
    Form(
        "friday 18:00, 2026-12-24T18:00",
        "that time of that day",
        ("tomorrow 9am", "18:00 friday", "2999-12-24T18:00", "12/24-18:00"),
        True,
    ),
    Form(
        "18:00 UTC, 18:00+01:00",
        "in that zone instead of yours (also 18:00 Europe/Berlin)",
        ("18:00 UTC", "2999-12-24T18:00:00+01:00", "18:00 Europe/Berlin"),
    ),
    Form("@1798131600, uts1798131600", "UTC epoch seconds", ("@32503000000", "uts32503000000")),
)

RULES = (
    "A day alone means its end (23:59:59), where something is to begin its beginning.",
    "A time that the clocks skip or show twice (daylight saving time) means the first moment at "
    "which they show it or a later one; you are told.",
    "The answer shows date, time and zone in full.",
)

_WIDTH = 36


def help_lines() -> Iterator[str]:
    """The forms and rules as lines of --help."""
    for form in FORMS:
        yield f"  {form.written:<{_WIDTH}} {form.meaning}"
    for rule in RULES:
        yield from wrap(rule, 100, initial_indent="  ", subsequent_indent="  ")


def markdown_table() -> Iterator[str]:
    """The forms as a table of the documentation."""
    yield "| written | means | sbatch's too |"
    yield "|---|---|---|"
    for form in FORMS:
        yield f"| `{form.written}` | {form.meaning} | {'yes' if form.slurm else ''} |"
