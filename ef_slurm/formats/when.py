"""What people write for a moment: `--deadline`, `--begin`. `formats.when_forms` lists the forms.

They are all that sbatch takes (parse_time.c) and what people write besides. These rules hold for
every form:

- a time of day, a weekday and a day without its year mean the next one;
- a day alone means its end for a deadline, and its beginning where something is to begin;
- a local time means the first moment at which the clocks show it or a later one
  (`formats.wall_clock`, for the nights in which the clocks are changed);
- what sbatch reads is read as sbatch reads it; where people may have meant something else, a note
  says how it was read. What sbatch does not take is read only where it can mean one thing, else the
  error says what to write instead (`formats.when_hints`).

No library was found that keeps these rules. dateparser 1.5 (0.3 s to import) reads 1830 and 1224
as years, `18h` as 4:30 tomorrow morning, and does not know `teatime`. parsedatetime 2.6 reads any
text: `soon` and 24.12.2026 are now. dateutil fills up from today what is missing (`friday` is at
10:30, as it is now), knows no `tomorrow`, reads `3h` as 03:30, and guesses the order of day and
month by their size: 12.11.26 is in December, 13.11.26 in November. None says whether a time exists
or is shown twice. `whenever` has rules for that, but reads ISO 8601 only; zoneinfo knows as much.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from ef_slurm.formats.durations import DurationError, parse_counts, parse_finite_duration
from ef_slurm.formats.times import InstantError, format_instant
from ef_slurm.formats.wall_clock import OnWall, end_of, moments, names_of, start_of, today
from ef_slurm.formats.when_forms import SHORT
from ef_slurm.formats.when_hints import hint
from ef_slurm.formats.when_text import LAST_YEAR, WEEKDAYS, Spec, UnreadableError, read_spec

_LATEST = datetime(LAST_YEAR, 12, 31, tzinfo=UTC).timestamp()
_EPOCH = re.compile(r"(?:@|uts)(\d{7,12})", re.A | re.I)
_FROM_NOW = re.compile(r"(now)?\s*(?:([+-])\s*)?(.*)", re.I | re.A | re.S)
_IN = re.compile(r"in\s+(?:an?\s+(?=[a-z]))?", re.I | re.A)
_COUNTS = re.compile(r"\d+(?:\.\d+)?\s*[a-z]", re.I | re.A)
_THREE_FIELDS = re.compile(r"\d+-\d+(?::\d+){0,2}|\d+:\d+:\d+", re.A)
_HOURS = re.compile(r"(1[3-9]|2[0-3])\s*h|([01]\d|2[0-3])([0-5]\d)\s*h", re.I | re.A)


class DayMeans(enum.Enum):
    """Which moment of a day is meant where no time of day is given."""

    END = "end"  # a deadline
    START = "start"  # a beginning


@dataclass(frozen=True, slots=True)
class When:
    """A moment in UTC epoch seconds, and what is to be told of how it was read."""

    instant: float
    notes: tuple[str, ...] = ()


def read_when(
    text: str,
    now: float,
    zone: tzinfo,
    *,
    day: DayMeans = DayMeans.END,
    past: bool = False,
    hints: bool = True,
) -> When:
    """The moment that `text` means.

    Args:
        text: in one of the forms of `formats.when_forms`.
        now: the present, UTC epoch seconds.
        zone: what local times are local to, usually a `zoneinfo.ZoneInfo`.
        day: what a day alone means.
        past: whether a moment that is over will do (sbatch's --begin).
        hints: whether the error is to say what may have been meant.

    Raises:
        InstantError: in none of the forms, no such day or time, or over. The text says what would
            be valid.

    >>> from zoneinfo import ZoneInfo
    >>> read_when("3h", 0.0, ZoneInfo("Europe/Berlin")).instant
    10800.0
    >>> read_when("1970-01-02", 0.0, UTC).instant
    172799.0
    """
    try:
        when = _when(text.strip(), now, zone, day)
    except UnreadableError as error:
        raise InstantError(_complaint(text.strip(), error, now, zone, hints=hints)) from None
    except OverflowError as error:
        # Near the calendar's ends a zone's offset leads out of it.
        raise InstantError(f"{text!r} is no point in time: {error}") from None
    if when.instant > _LATEST:
        raise InstantError(f"{text!r} is after the year {LAST_YEAR}")
    if when.instant <= now and not past:
        at, present = format_instant(when.instant, zone), format_instant(now, zone)
        raise InstantError(f"{text!r} is {at}: not in the future (now: {present})")
    return when


def read_begin(text: str, now: float, zone: tzinfo) -> When:
    """From when on something may begin: a day alone means its start, and what is over will do.

    Raises:
        InstantError: as of `read_when`.
    """
    return read_when(text, now, zone, day=DayMeans.START, past=True)


def parse_begin(text: str, now: float, zone: tzinfo) -> float | None:
    """The moment alone of `read_begin`; None for at once, which one that is over means.

    Raises:
        InstantError: as of `read_when`.

    >>> parse_begin("now+90", 0.0, UTC), parse_begin("today", 86500.0, UTC)
    (90.0, None)
    """
    instant = read_begin(text, now, zone).instant
    return None if instant <= now else instant


def _complaint(text: str, error: UnreadableError, now: float, zone: tzinfo, *, hints: bool) -> str:
    def is_valid(other: str) -> bool:
        with suppress(InstantError):
            return bool(read_when(other, now, zone, hints=False))
        return False

    found = hint(text, now, zone, is_valid) if hints else None
    if found is not None:
        return f"{text!r}: {found}"
    if not text:
        return f"an empty text is no point in time: give {SHORT}"
    if str(error):
        return f"{text!r} is no point in time: {error}"
    place = f" from {error.rest!r} on" if error.rest not in ("", text) else ""
    return f"{text!r} is no point in time{place}: give {SHORT}"


def _when(text: str, now: float, zone: tzinfo, means: DayMeans) -> When:
    epoch = _EPOCH.fullmatch(text)
    if epoch is not None:
        return When(float(epoch[1]))
    seconds = _from_now(text)
    if seconds is not None:
        hours = _HOURS.fullmatch(text)
        if hours is None:
            return When(now + seconds)
        clock = f"{hours[1] or hours[2]}:{hours[3] or '00'}"
        length = text.rstrip("hH ")
        note = f"{text} is read as {length} hours from now; for the time of day give {clock}"
        return When(now + seconds, (note,))
    spec = read_spec(text)
    here = spec.zone or zone
    try:
        return _resolve(spec, now, here, means)
    except ValueError as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(str(error)) from None


def _from_now(text: str) -> float | None:
    """Seconds in `now+COUNT[UNIT]`, `+LENGTH`, `in LENGTH` and COUNT UNIT; None for other texts."""
    match = _FROM_NOW.fullmatch(text.removesuffix("from now").strip())
    assert match is not None  # every group may be empty
    now, sign, length = match.groups()
    if now and not sign and not length:
        return 0.0
    if now and not sign:
        return None
    if sign and not now and sign == "-":
        return None
    if not sign:
        start = _IN.match(length)
        if start is None and _COUNTS.match(length) is None:
            return None
        if start is not None:
            one = "1 " if start[0].strip().lower() != "in" else ""
            length = one + length[start.end() :]
    try:
        seconds = _length(length, bare=bool(now))
    except DurationError as error:
        if not sign and _IN.match(text) is None:
            return None  # "9 pm", "24 December"
        raise UnreadableError(str(error)) from None
    return -seconds if sign == "-" else seconds


def _length(text: str, *, bare: bool) -> float:
    """Counts with units; of Slurm's forms those that cannot be taken for another one."""
    if _THREE_FIELDS.fullmatch(text):
        return parse_finite_duration(text)
    return parse_counts(text, bare=bare)


def _resolve(spec: Spec, now: float, zone: tzinfo, means: DayMeans) -> When:
    candidates = list(_days(spec, today(now, zone)))
    for candidate in candidates:
        shown = _moments(spec, candidate, zone, means)
        later = [instant for instant in shown.instants if instant > now]
        if not later and candidate != candidates[-1]:
            continue
        if spec.weekday is not None and candidate.weekday() != spec.weekday:
            raise UnreadableError(
                f"{candidate} is a {WEEKDAYS[candidate.weekday()].capitalize()}, no "
                f"{WEEKDAYS[spec.weekday].capitalize()}"
            )
        instant = later[0] if later else shown.instants[-1]
        if shown.note and instant != shown.instants[0]:
            return When(instant, spec.notes)  # the first of two is over
        return When(instant, spec.notes + ((shown.note,) if shown.note else ()))
    raise UnreadableError("there is no such day")


def _days(spec: Spec, present: date) -> Iterator[date]:
    """The days that may be meant, soonest first: the first that is not over is."""
    if spec.from_today is not None:
        yield present + timedelta(days=spec.from_today)
    elif spec.day is not None and spec.year is not None:
        yield spec.day
    elif spec.day is not None:
        for year in range(present.year, present.year + 9):  # be it 29 February
            try:
                yield spec.day.replace(year=year)
            except ValueError:
                continue
    elif spec.weekday is not None:
        first = present + timedelta(days=(spec.weekday - present.weekday()) % 7)
        yield first
        yield first + timedelta(days=7)
    else:
        # A clock change of a day skips one (Samoa, 2011).
        yield from (present + timedelta(days=days) for days in range(3))


def _moments(spec: Spec, day: date, zone: tzinfo, means: DayMeans) -> OnWall:
    """When that day, or its time of day, is."""
    if spec.clock is None:
        if spec.zone_name:
            raise UnreadableError(f"{spec.zone_name} is neither a day nor a time of day")
        instant = end_of(day, zone) if means is DayMeans.END else start_of(day, zone)
        return OnWall((instant,), ("",))
    if spec.midnight and spec.names_a_day and means is DayMeans.END:
        day += timedelta(days=1)
    shown = moments(day, spec.clock, zone)
    if not spec.zone_name:
        return shown
    named = [
        instant
        for instant, name in zip(shown.instants, shown.names, strict=True)
        if name.upper() == spec.zone_name
    ]
    if named:
        return OnWall(tuple(named), (spec.zone_name,) * len(named))
    known = names_of(day.year, zone)
    if spec.zone_name in (name.upper() for name in known):
        raise UnreadableError(f"the clocks here show {shown.names[0]} then, not {spec.zone_name}")
    raise UnreadableError(
        f"{spec.zone_name} is none of this zone's names ({', '.join(known)}): give UTC, an offset "
        "as in 18:00+01:00, or a zone of the tz database as in 18:00 Europe/Berlin"
    )
