"""Amounts of disk space for people."""

from __future__ import annotations

_UNITS = ("B", "K", "M", "G", "T", "P")


def format_bytes(count: int) -> str:
    """An amount in three digits or so, as `ls -h` and `du -h` have it.

    >>> format_bytes(0), format_bytes(999), format_bytes(1536), format_bytes(40 * 1024**3)
    ('0B', '999B', '1.5K', '40G')
    """
    amount, unit = float(count), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    digits = f"{amount:.1f}" if unit and amount < 9.95 else f"{amount:.0f}"
    return f"{digits}{_UNITS[unit]}"
