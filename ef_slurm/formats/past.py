"""Points in time that have been, as people write them for a history.

- `7d`, `12h`, `2weeks`, and sacct's `now-7days`: so long ago;
- `today`, `yesterday`, `2026`, `2026-11`, `2026-11-26`, `11/26[/26]`: that day, month or year;
- `HH:MM[:SS]`: the last such moment; after a day (with a space or `T`) that moment of it;
- `now`, `@1735689600`, `uts1735689600`: UTC epoch seconds;
- ISO 8601 with a zone.

A day, month or year begins with its first moment and, where the end of something is asked for, ends
with its last. Pure: `now` and the zone come from the caller.
"""

from __future__ import annotations

import re
from datetime import date, time, timedelta, tzinfo

from ef_slurm.formats.durations import DurationError, parse_counts
from ef_slurm.formats.times import InstantError, format_instant, parse_zoned
from ef_slurm.formats.wall_clock import moments, start_of, today

FORMS = (
    "7d, 12h, now-7days, today, yesterday, 2026-11, 2026-11-26, 2026-11-26T14:30, 14:30, "
    "@1735689600, or ISO 8601 with a zone"
)
_EPOCH = re.compile(r"(?:@|uts)(\d{1,12}(?:\.\d+)?)", re.I | re.A)
_AGO = re.compile(r"(?:now)?\s*-?\s*(\d.*)", re.I | re.A | re.S)
_CLOCK = re.compile(r"(?:(.*?)[T ]\s*)?(\d{1,2}):(\d{2})(?::(\d{2}))?", re.I | re.A | re.S)
_DAY = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?", re.A)
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})(?:/(\d{2}|\d{4}))?", re.A)


def parse_past(text: str, now: float, zone: tzinfo, *, end: bool = False) -> float:
    """The UTC epoch seconds that `text` means.

    Args:
        text: in one of the forms above.
        now: the present, UTC epoch seconds.
        zone: what local times are local to, as `formats.wall_clock` has it.
        end: the end of a day, month or year is meant, not its beginning; it may be to come.

    Raises:
        InstantError: in none of the forms, no such day or time, or not in the past.

    >>> from zoneinfo import ZoneInfo
    >>> parse_past("1970-01-02", 1e6, ZoneInfo("UTC"))
    86400.0
    >>> parse_past("1970-01-02", 1e6, ZoneInfo("UTC"), end=True)
    172800.0
    >>> parse_past("7d", 1e6, ZoneInfo("UTC"))
    395200.0
    """
    try:
        first, last = _span(text.strip(), now, zone)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InstantError):
            raise
        raise InstantError(f"{text!r} is no point in time: {error}; give {FORMS}") from None
    if first > now:
        when, present = format_instant(first, zone), format_instant(now, zone)
        raise InstantError(f"{text!r} is {when}: not in the past (now: {present})")
    # No cluster has a record of before 1970.
    return max(0.0, last if end else first)


def _span(text: str, now: float, zone: tzinfo) -> tuple[float, float]:
    """The first moment that is meant, and the first that is not any more."""
    lowered = text.lower()
    if lowered == "now":
        return now, now
    if match := _EPOCH.fullmatch(text):
        return (at := float(match[1])), at
    zoned = parse_zoned(text)
    if zoned is not None:
        return zoned, zoned
    if match := _CLOCK.fullmatch(text):
        return (at := _moment(match, text, now, zone)), at
    days = _days(lowered, today(now, zone), text)
    if days is not None:
        return start_of(days[0], zone), start_of(days[1], zone)
    if match := _AGO.fullmatch(text):
        try:
            seconds = parse_counts(match[1])
        except DurationError as error:
            raise InstantError(f"{text!r} is no point in time: {error}; give {FORMS}") from None
        return now - seconds, now - seconds
    raise InstantError(f"{text!r} is no point in time: give {FORMS}")


def _moment(match: re.Match[str], text: str, now: float, zone: tzinfo) -> float:
    """A time of day, of the day before it or the last one that there was."""
    clock = time(int(match[2]), int(match[3]), int(match[4] or 0))
    present = today(now, zone)
    if match[1] is not None:
        days = _days(match[1].strip().lower(), present, text)
        if days is None or days[1] - days[0] != timedelta(days=1):
            raise InstantError(f"{text!r}: {match[1]!r} is no day: give {FORMS}")
        return moments(days[0], clock, zone).instants[0]
    at = moments(present, clock, zone).instants[0]
    if at > now:
        at = moments(present - timedelta(days=1), clock, zone).instants[0]
    return at


def _days(lowered: str, present: date, text: str) -> tuple[date, date] | None:
    """A day, month or year: its first day and the first one after it; None for something else."""
    one = timedelta(days=1)
    if lowered in ("today", "yesterday"):
        day = present if lowered == "today" else present - one
        return day, day + one
    if match := _SLASHED.fullmatch(lowered):
        month, number, year = match.groups()
        if year is not None:
            day = date(int(year) + (2000 if len(year) == 2 else 0), int(month), int(number))
            return day, day + one
        return (day := _last(int(month), int(number), present, text)), day + one
    if match := _DAY.fullmatch(lowered):
        year, month, number = (None if part is None else int(part) for part in match.groups())
        assert year is not None
        if month is None:
            return date(year, 1, 1), date(year + 1, 1, 1)
        if number is None:
            return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
        day = date(year, month, number)
        return day, day + one
    return None


def _last(month: int, number: int, present: date, text: str) -> date:
    """The last such day that there was, be it 29 February."""
    for year in range(present.year, present.year - 9, -1):
        try:
            day = date(year, month, number)
        except ValueError:
            continue
        if day <= present:
            return day
    raise InstantError(f"{text!r}: there is no such day")
