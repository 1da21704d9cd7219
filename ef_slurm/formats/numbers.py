"""Numbers as people and programs write them: ASCII digits, a point, an exponent.

Python's own `float` and `int` take more: digits of any script, `1_000`, `nan`, `inf`. In a file or
an option those are mistakes, and which of them is one must not depend on who reads it.
"""

from __future__ import annotations

import math
import re

_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.A | re.I)
_WHOLE = re.compile(r"\d{1,18}", re.A)


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
