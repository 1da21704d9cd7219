"""Days and times of day on a zone's wall clock, through its clock changes. Pure.

There is one rule: a local time means the first moment at which the zone's clocks show it or a later
one. What they skip (02:30 in the night in which they go from 02:00 to 03:00) is the moment of the
change; of what they show twice the first counts, which as a deadline is the safe one. Either way
there is a note that says so, and how the other moment is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from ef_slurm.formats.times import format_iso

_MIDNIGHT = time(0)


@dataclass(frozen=True, slots=True)
class OnWall:
    """Moments at which clocks show a time, in order.

    Args:
        instants: UTC epoch seconds; one, or two where the clocks are put back.
        names: what the zone is called at each of them ("CEST", "CET").
        note: what is to be told of them; "" where there is one as usual.
    """

    instants: tuple[float, ...]
    names: tuple[str, ...]
    note: str = ""


def moments(day: date, clock: time, zone: tzinfo) -> OnWall:
    """When the clocks of `zone` show that time, by the rule above.

    >>> from zoneinfo import ZoneInfo
    >>> moments(date(2026, 3, 29), time(2, 30), ZoneInfo("Europe/Berlin")).note
    'the clocks skip 2026-03-29 02:30:00 (daylight saving time): 2026-03-29T03:00:00+02:00 is meant'
    """
    wall = datetime.combine(day, clock)
    by_fold = [wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    shown = sorted({m.timestamp() for m in by_fold if _local(m.timestamp(), zone) == wall})
    if not shown:
        change = _change(min(m.timestamp() for m in by_fold), zone, wall)
        meant = format_iso(change, zone)
        note = f"the clocks skip {wall:%Y-%m-%d %H:%M:%S} (daylight saving time): {meant} is meant"
        return OnWall((change,), (_name(change, zone),), note)
    note = ""
    if len(shown) > 1:
        first, second = (format_iso(instant, zone) for instant in shown)
        note = (
            f"the clocks show {wall:%Y-%m-%d %H:%M:%S} twice (daylight saving time): {first} is "
            f"meant; the other is {second}"
        )
    return OnWall(tuple(shown), tuple(_name(instant, zone) for instant in shown), note)


def today(now: float, zone: tzinfo) -> date:
    """Which day it is there."""
    return datetime.fromtimestamp(now, zone).date()


def start_of(day: date, zone: tzinfo) -> float:
    """The first moment of a day. UTC epoch seconds."""
    return moments(day, _MIDNIGHT, zone).instants[0]


def end_of(day: date, zone: tzinfo) -> float:
    """The last whole second of a day, which nobody takes for the next one. UTC epoch seconds.

    >>> from datetime import UTC
    >>> end_of(date(1970, 1, 1), UTC)
    86399.0
    """
    return start_of(day + timedelta(days=1), zone) - 1.0


def names_of(year: int, zone: tzinfo) -> tuple[str, ...]:
    """What the zone is called in winter and in summer."""
    halves = (datetime(year, month, 1, tzinfo=zone).tzname() or "" for month in (1, 7))
    return tuple(dict.fromkeys(halves))


def _change(before: float, zone: tzinfo, wall: datetime) -> float:
    """The first whole second at which the clocks show `wall` or later."""
    low, high = int(before) - 1, int(before) + 2 * 86400
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _local(middle, zone) < wall else (low, middle)
    return float(high)


def _local(instant: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(instant, zone).replace(tzinfo=None, fold=0)


def _name(instant: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(instant, zone).tzname() or ""
