"""Points in time: the only place that reads or prints them. UTC epoch seconds inside, always.

People may write (`parse_instant`) all that sbatch takes for --begin and --deadline, and more:

- `HH:MM[:SS] [AM|PM]`, `midnight`, `noon`, `elevenses`, `fika`, `teatime`: the next such moment;
- `today`, `tomorrow`, `MMDD[YY]`, `MM/DD[/YY]`, `MM.DD[.YY]`, `YYYY-MM-DD`: that day at 00:00, or
  at a time of day given before or after it, with a space, `-` or `T` between them;
- `now`, `now+COUNT[UNIT]`, `+COUNT[UNIT]…` (`+6h`, `+1h30m`): from now on; in `now+` forms a count
  alone is in seconds, as Slurm has it; after a bare `+` it needs its unit;
- `uts1735689600`: UTC epoch seconds;
- ISO 8601 with a zone: `2026-01-31T12:00:00+01:00`, `…Z`.

The words are those of sbatch(1), --begin. Slurm's own output has `parse_slurm_time`.
Pure: `now` and the zone come from the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from ef_slurm.formats.durations import DurationError, parse_counts

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
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s*([ap])m)?", re.I | re.A)
_ISO_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})", re.A)
_SLASHED = re.compile(r"(\d{1,2})([/.])(\d{1,2})(?:\2(\d{2}))?(?!\d)", re.A)
_PACKED = re.compile(r"(\d{2})(\d{2})(\d{2})?(?!\d)", re.A)
_ZONED = re.compile(r"\d{4}-\d{2}-\d{2}[T ].*(?:Z|[+-]\d{2}:?\d{2})", re.I | re.A)
_GAP = re.compile(r"[\s\-T]+", re.I)
_FROM_NOW = re.compile(r"(now)?\s*(?:([+-])\s*)?(.*)", re.I | re.A | re.S)
_EPOCH = re.compile(r"\d{1,12}", re.A)
_SLURM_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}", re.A)
_UNKNOWN = frozenset({"", "unknown", "none", "n/a", "(null)"})

_LAST_YEAR = 2999
_LATEST = datetime(_LAST_YEAR, 12, 31, tzinfo=UTC).timestamp()
_FIRST_YEAR = 1000
_EARLIEST = datetime(_FIRST_YEAR, 1, 2, tzinfo=UTC).timestamp()


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
    try:
        instant = _instant(text.strip(), now, zone)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InstantError):
            raise
        # Near the calendar's ends a zone's offset leads out of it.
        raise InstantError(f"{text!r} is no point in time: {error}") from None
    if instant > _LATEST:
        raise InstantError(f"{text!r} is after the year {_LAST_YEAR}")
    if instant <= now:
        when, present = format_instant(instant, zone), format_instant(now, zone)
        raise InstantError(f"{text!r} is {when}: not in the future (now: {present})")
    return instant


def parse_epoch(text: str) -> float | None:
    """UTC epoch seconds in digits, at most 12 of them; None where it is none.

    >>> parse_epoch("1784000000"), parse_epoch("2026-09-01")
    (1784000000.0, None)
    """
    stripped = text.strip()
    return float(stripped) if _EPOCH.fullmatch(stripped) else None


def parse_slurm_time(text: str, zone: tzinfo) -> float | None:
    """UTC epoch seconds of a time as Slurm's commands print it; None for Unknown, None and N/A.

    Args:
        text: `2026-09-01T14:30:00`, or epoch seconds where SLURM_TIME_FORMAT is %s.
        zone: what Slurm's local times are local to. Of a time that its clocks show twice, the
            earlier is meant.

    Raises:
        InstantError: none of these.

    >>> parse_slurm_time("1970-01-02T00:00:00", UTC), parse_slurm_time("N/A", UTC)
    (86400.0, None)
    """
    stripped = text.strip()
    if stripped.lower() in _UNKNOWN:
        return None
    epoch = parse_epoch(stripped)
    if epoch is not None:
        return epoch
    try:
        if _SLURM_TIME.fullmatch(stripped):
            return datetime.fromisoformat(stripped).replace(tzinfo=zone).timestamp()
    except (ValueError, OverflowError):
        pass
    raise InstantError(
        f"{text!r} is not a time: 2026-09-01T14:30:00 or epoch seconds are "
        "(unset SLURM_TIME_FORMAT, or set it to %s)"
    )


def format_instant(instant: float, zone: tzinfo) -> str:
    """Local time with its zone, to the second: "2026-01-31 12:00:00 CET".

    >>> format_instant(0.0, UTC)
    '1970-01-01 00:00:00 UTC'
    """
    return _shown(instant, "%Y-%m-%d %H:%M:%S %Z", zone)


def format_host_instant(instant: float) -> str:
    """The same in the time zone of this process."""
    return _shown(instant, "%Y-%m-%d %H:%M:%S %Z", None)


def format_iso(instant: float, zone: tzinfo) -> str:
    """As an option to paste.

    >>> format_iso(0.0, UTC)
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(max(min(instant, _LATEST), _EARLIEST), zone).isoformat(
        timespec="seconds"
    )


def format_stamp(instant: float, zone: tzinfo) -> str:
    """For the name of a file.

    >>> format_stamp(0.0, UTC)
    '19700101-000000'
    """
    return _shown(instant, "%Y%m%d-%H%M%S", zone)


def format_for_table(instant: float, now: float, zone: tzinfo) -> str:
    """The shortest that is clear: the time of day today, month and day with it otherwise.

    Rounded down, to the second or to the minute (`formats.finishes` has the rule for finishes).

    >>> format_for_table(3600.0, 0.0, UTC), format_for_table(90000.0, 0.0, UTC)
    ('01:00:00', '01-02T01:00')
    """
    form = "%H:%M:%S" if is_same_day(instant, now, zone) else "%m-%dT%H:%M"
    return _shown(instant, form, zone)


def is_same_day(instant: float, now: float, zone: tzinfo) -> bool:
    """Whether two moments are on one day of the calendar of `zone`."""
    return _shown(instant, "%Y-%m-%d", zone) == _shown(now, "%Y-%m-%d", zone)


def format_date(instant: float, zone: tzinfo) -> str:
    """A day within a sentence.

    >>> format_date(0.0, UTC)
    '1970-01-01'
    """
    return _shown(instant, "%Y-%m-%d", zone)


def format_day(instant: float, zone: tzinfo) -> str:
    """A heading for times of that day.

    >>> format_day(0.0, UTC)
    'Thursday 1970-01-01 (UTC)'
    """
    return _shown(instant, "%A %Y-%m-%d (%Z)", zone)


def format_time_of_day(instant: float, zone: tzinfo) -> str:
    """Under such a heading.

    >>> format_time_of_day(3600.0, UTC)
    '01:00:00'
    """
    return _shown(instant, "%H:%M:%S", zone)


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
    match = _FROM_NOW.fullmatch(text)
    assert match is not None  # every group may be empty
    now, sign, counts = match.groups()
    if now and not sign and not counts:
        return 0.0
    if not sign or not counts:
        raise InstantError(f"{text!r} is no point in time: give {FORMS}")
    try:
        seconds = parse_counts(counts, bare=bool(now))
    except DurationError as error:
        raise InstantError(f"{text!r}: {error}") from None
    return -seconds if sign == "-" else seconds


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


def _shown(instant: float, form: str, zone: tzinfo | None) -> str:
    """In words where there is no calendar: the slowest of predictions ends no command."""
    if not instant <= _LATEST:
        return f"after the year {_LAST_YEAR}"
    if instant < _EARLIEST:
        return f"before the year {_FIRST_YEAR}"
    moment = datetime.fromtimestamp(instant, zone)
    return (moment.astimezone() if zone is None else moment).strftime(form)
