"""Numbers and times as people read them."""

from __future__ import annotations

import enum
from datetime import datetime, tzinfo

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def iso(at: float, zone: tzinfo) -> str:
    """A time as an option to paste: ``2026-11-22T18:00:00+01:00``."""
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")


def clock(at: float, now: float, zone: tzinfo) -> str:
    """A time for a table: ``18:00:05`` today, ``11-22T18:00`` otherwise."""
    local = datetime.fromtimestamp(round(at), zone)
    today = datetime.fromtimestamp(now, zone).date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%m-%dT%H:%M}"


def span(seconds: float) -> str:
    """A length of time in words, to two neighbouring units.

    >>> [span(s) for s in (0.4, 48, 125, 7260, 180000)]
    ['0 s', '48 s', '2 min 5 s', '2 h 1 min', '2 d 2 h']
    """
    rest = round(abs(seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number} {unit}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return ("-" if seconds < 0 and parts else "") + (" ".join(parts) or "0 s")


def squeue_span(seconds: float) -> str:
    """A length of time as squeue prints it, negative ones with a minus.

    >>> squeue_span(93784), squeue_span(-5)
    ('1-02:03:04', '-0:05')
    """
    whole = round(abs(seconds))
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    sign = "-" if seconds < 0 and whole else ""
    if days:
        return f"{sign}{days}-{hours:02}:{minutes:02}:{left:02}"
    if hours:
        return f"{sign}{hours}:{minutes:02}:{left:02}"
    return f"{sign}{minutes}:{left:02}"


def gpus(number: int) -> str:
    """``1 GPU``, ``4 GPUs``.

    >>> gpus(1), gpus(4)
    ('1 GPU', '4 GPUs')
    """
    return f"{number} GPU" if number == 1 else f"{number} GPUs"


class Tone(enum.Enum):
    """How a cell is coloured on a terminal."""

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    DIM = "dim"
