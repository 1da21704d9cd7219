"""Numbers as people and programs write them: ASCII digits, a point, an exponent.

Python's own `float` and `int` take more: digits of any script, `1_000`, `nan`, `inf`. In a file or
an option those are mistakes, and which of them is one must not depend on who reads it.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.A | re.I)
_WHOLE = re.compile(r"\d{1,18}", re.A)
_AMOUNT = re.compile(
    r"(\d{1,18}(?:_\d{1,18}){0,6}|\d{0,18}\.\d{1,18})(?:[eE]\+?(\d{1,2}))?([kKMGT]?)", re.A
)
_FACTORS = {"": 0, "K": 3, "M": 6, "G": 9, "T": 12}
MOST_OF_AN_AMOUNT = 10**18


def parse_number(text: str) -> float | None:
    """The finite number in `text`, spaces around it ignored; None where there is none.

    >>> parse_number(" 2.5e3 "), parse_number("1_000"), parse_number("nan"), parse_number("1e999")
    (2500.0, None, None, None)
    """
    stripped = text.strip()
    if _DECIMAL.fullmatch(stripped) is None:
        return None
    value = float(stripped)
    return value if math.isfinite(value) else None


def parse_count(text: str) -> int | None:
    """The whole number of 0 or more in `text`, at most 18 digits; None where there is none.

    >>> parse_count("08"), parse_count("-1"), parse_count("8.0"), parse_count("٣")
    (8, None, None, None)
    """
    stripped = text.strip()
    return int(stripped) if _WHOLE.fullmatch(stripped) else None


def parse_amount(text: str) -> int:
    """A count as people write it: 20000, 20_000, 2e4, 20k, 1.5M; 1 or more, and whole.

    k, M, G and T are thousands, millions and so on. For options that count iterations, samples or
    GPUs; in files, and between programs, numbers are as `parse_count` has them.

    Raises:
        ValueError: it is none; the text says what would be one.

    >>> [parse_amount(text) for text in ("20_000", "1e4", "1.5M", " 08 ")]
    [20000, 10000, 1500000, 8]
    >>> parse_amount("1.5")
    Traceback (most recent call last):
    ValueError: '1.5' is not a whole number of 1 or more (as in 20000, 20_000, 20k, 2e4)
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is not None:
        digits, exponent, letter = found.groups()
        power = int(exponent or 0) + _FACTORS[letter.upper()]
        value = Decimal(digits.replace("_", "")).scaleb(power)
        if value == value.to_integral_value() and 1 <= value <= MOST_OF_AN_AMOUNT:
            return int(value)
    shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    wanted = "a whole number of 1 or more (as in 20000, 20_000, 20k, 2e4)"
    raise ValueError(f"{shown!r} is not {wanted}")


_LONGEST_SHOWN = 60
