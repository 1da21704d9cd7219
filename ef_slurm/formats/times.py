"""Points in time as people write them: all that sbatch takes for --begin and --deadline, and more.

- `HH:MM[:SS] [AM|PM]`, `midnight`, `noon`, `elevenses`, `fika`, `teatime`: the next such moment;
- `today`, `tomorrow`, `MMDD[YY]`, `MM/DD[/YY]`, `MM.DD[.YY]`, `YYYY-MM-DD`: that day at 00:00, or
  at a time of day given before or after it, with a space, `-` or `T` between them;
- `now`, `now+COUNT[UNIT]`, `+COUNT[UNIT]…` (`+6h`, `+1h30m`): from now on; in `now+` forms a count
  alone is in seconds, as Slurm has it; after a bare `+` it needs its unit;
- `uts1735689600`: UTC epoch seconds;
- ISO 8601 with a zone: `2026-01-31T12:00:00+01:00`, `…Z`.

The words are those of sbatch(1), --begin. Pure: `now` and the zone come from the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

FORMS = (
    "HH:MM[:SS], noon, tomorrow, MM/DD[/YY], YYYY-MM-DD[THH:MM[:SS]], now+2hours, +6h, "
    "or ISO 8601 with a zone"
)

_NAMED_TIMES = {
    "midnight": time(0),
    "elevenses": time(11),
    "noon": time(12),
    "fika": time(15),
    "teatime": time(16),
}
_UNITS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
    "w": 604800,
    "week": 604800,
}
_COUNT = r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*"
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s*([ap])m)?", re.I | re.A)
_ISO_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})", re.A)
_SLASHED = re.compile(r"(\d{1,2})([/.])(\d{1,2})(?:\2(\d{2}))?(?!\d)", re.A)
_PACKED = re.compile(r"(\d{2})(\d{2})(\d{2})?(?!\d)", re.A)
_ZONED = re.compile(r"\d{4}-\d{2}-\d{2}[T ].*(?:Z|[+-]\d{2}:?\d{2})", re.I | re.A)
_GAP = re.compile(r"[\s\-T]+", re.I)


_LAST_YEAR = 2999
_LATEST = datetime(_LAST_YEAR, 12, 31, tzinfo=UTC).timestamp()


class InstantError(ValueError):
    """Not a point in time that can be used. The message says why and what could be."""


def parse_instant(text: str, now: float, zone: tzinfo) -> float:
    """The UTC epoch seconds that `text` means.

    Args:
        text: in one of the forms above.
        now: the present, UTC epoch seconds.
        zone: what local times are local to, usually a `zoneinfo.ZoneInfo`.

    Raises:
        InstantError: in none of the forms; no such day or time; a local time that the clock
            change skips or repeats; not in the future.

    >>> from zoneinfo import ZoneInfo
    >>> parse_instant("+6h", 0.0, ZoneInfo("Europe/Berlin"))
    21600.0
    >>> parse_instant("1970-01-02", 0.0, ZoneInfo("UTC"))
    86400.0
    """
    instant = _instant(text.strip(), now, zone)
    if instant > _LATEST:
        raise InstantError(f"{text!r} is after the year {_LAST_YEAR}")
    if instant <= now:
        when = _shown(instant, zone)
        raise InstantError(f"{text!r} is {when}: not in the future (now: {_shown(now, zone)})")
    return instant


def format_instant(instant: float, zone: tzinfo) -> str:
    """Local time with its zone, to the second: "2026-01-31 12:00:00 CET".

    >>> format_instant(0.0, UTC)
    '1970-01-01 00:00:00 UTC'
    """
    return _shown(instant, zone)


def _instant(text: str, now: float, zone: tzinfo) -> float:
    lowered = text.lower()
    if re.fullmatch(r"uts\d{7,12}", lowered, re.A):
        return float(lowered[3:])
    if lowered.startswith(("now", "+")):
        return now + _delta(text)
    if _ZONED.fullmatch(text):
        try:
            return datetime.fromisoformat(text).timestamp()
        except ValueError as error:
            raise InstantError(f"{text!r} is no ISO 8601 time: {error}") from None
    return _local(text, now, zone)


def _delta(text: str) -> float:
    """Seconds in "now", "now+COUNT[UNIT]", "now-…" and "+COUNT UNIT…"."""
    match = re.fullmatch(rf"(now)?\s*(?:([+-])\s*((?:{_COUNT})+))?", text, re.I | re.A)
    if match is None:
        raise InstantError(f"{text!r} is no point in time: give {FORMS}")
    seconds = 0.0
    counts = re.findall(_COUNT, match[3] or "", re.I | re.A)
    for number, unit in counts:
        if not unit and (match[1] is None or len(counts) > 1):
            raise InstantError(f"{text!r}: {number} of what? Give a unit: s, m, h, d or w")
        word = unit.lower()
        factor = _UNITS.get(word, _UNITS.get(word.removesuffix("s"))) if word else 1
        if factor is None:
            raise InstantError(f"{text!r}: unknown unit {unit!r}: give s, m, h, d or w")
        seconds += float(number) * factor
    return -seconds if match[2] == "-" else seconds


def _local(text: str, now: float, zone: tzinfo) -> float:
    """A day, a time of day, or both, on the wall clock of `zone`."""
    present = datetime.fromtimestamp(now, zone)
    day: date | None = None
    clock: time | None = None
    year_given = True
    for part in _parts(text, present.date()):
        if isinstance(part, time):
            if clock is not None:
                raise InstantError(f"{text!r} gives two times of day")
            clock = part
            continue
        if day is not None:
            raise InstantError(f"{text!r} gives two days")
        day, year_given = part
    if day is None:
        if clock is None:
            raise InstantError(f"{text!r} is no point in time: give {FORMS}")
        today = present.date()
        over = _is_over(today, clock, now, zone)
        return _on_wall(text, today + timedelta(days=1) if over else today, clock, zone)
    chosen = clock or time(0)
    if year_given:
        return _on_wall(text, day, chosen, zone)
    # Without a year: the next such day, be it 29 February.
    for year in range(present.year, present.year + 9):
        try:
            candidate = day.replace(year=year)
        except ValueError:
            continue
        if not _is_over(candidate, chosen, now, zone):
            return _on_wall(text, candidate, chosen, zone)
    raise InstantError(f"{text!r}: there is no such day")


def _parts(text: str, today: date) -> Iterator[time | tuple[date, bool]]:
    """The days and times of day in `text`; a day with whether its year was given."""
    place = 0
    lowered = text.lower()
    if not text:
        raise InstantError(f"an empty text is no point in time: give {FORMS}")
    while place < len(text):
        gap = _GAP.match(text, place)
        # A "T" may begin "today", "tomorrow" or "teatime".
        if gap and not lowered.startswith(("today", "tomorrow", "teatime"), gap.end() - 1):
            place = gap.end()
            continue
        if gap and gap.end() - 1 > place:
            place = gap.end() - 1
        for word, clock in _NAMED_TIMES.items():
            if lowered.startswith(word, place):
                yield clock
                place += len(word)
                break
        else:
            if lowered.startswith("today", place):
                yield today, True
                place += len("today")
            elif lowered.startswith("tomorrow", place):
                yield today + timedelta(days=1), True
                place += len("tomorrow")
            else:
                part, place = _number(text, place)
                yield part


def _number(text: str, place: int) -> tuple[time | tuple[date, bool], int]:
    """A time of day or a day in digits, and where it ends."""
    try:
        if match := _CLOCK.match(text, place):
            hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
            if match[4]:
                if not 1 <= hour <= 12:
                    raise InstantError(f"{text!r}: {hour} {match[4]}m is no hour of the clock")
                hour = hour % 12 + (12 if match[4].lower() == "p" else 0)
            return time(hour, minute, second), match.end()
        if match := _ISO_DAY.match(text, place):
            if int(match[1]) > _LAST_YEAR:
                raise InstantError(f"{text!r} is after the year {_LAST_YEAR}")
            return (date(int(match[1]), int(match[2]), int(match[3])), True), match.end()
        if match := _SLASHED.match(text, place):
            return _month_day(match[1], match[3], match[4]), match.end()
        if match := _PACKED.match(text, place):
            return _month_day(match[1], match[2], match[3]), match.end()
    except ValueError as error:
        if isinstance(error, InstantError):
            raise
        raise InstantError(f"{text!r}: {error}") from None
    raise InstantError(f"{text!r} is no point in time from {text[place:]!r} on: give {FORMS}")


def _month_day(month: str, day: str, year: str | None) -> tuple[date, bool]:
    if year is None:
        return date(2000, int(month), int(day)), False  # a leap year, so that 02/29 passes
    return date(2000 + int(year), int(month), int(day)), True


def _is_over(day: date, clock: time, now: float, zone: tzinfo) -> bool:
    """Whether `zone`'s wall clock will not show it any more."""
    moment = datetime.combine(day, clock, zone)
    return max(moment.timestamp(), moment.replace(fold=1).timestamp()) <= now


def _on_wall(text: str, day: date, clock: time, zone: tzinfo) -> float:
    """The instant at which `zone`'s wall clock shows it.

    Raises:
        InstantError: it never shows it, or twice.
    """
    early = datetime.combine(day, clock, zone)
    late = early.replace(fold=1)
    back = datetime.fromtimestamp(early.timestamp(), zone)
    wall = f"{datetime.combine(day, clock):%Y-%m-%d %H:%M:%S}"
    if back.replace(tzinfo=None) != early.replace(tzinfo=None):
        raise InstantError(
            f"{text!r} is {wall}, which the clocks skip here (daylight saving time): "
            "give another time, or ISO 8601 with a zone"
        )
    if early.utcoffset() != late.utcoffset():
        first, second = (
            datetime.fromtimestamp(moment.timestamp(), zone).isoformat() for moment in (early, late)
        )
        raise InstantError(
            f"{text!r} is {wall}, which the clocks show twice here (daylight saving time): "
            f"give {first} or {second}"
        )
    return early.timestamp()


def _shown(instant: float, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(instant, zone):%Y-%m-%d %H:%M:%S %Z}"
