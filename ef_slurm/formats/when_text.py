"""What a text says of a day, a time of day and a zone, before it is known which moment that is.

Pure, and without the present: `formats.when` makes a moment of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

NAMED_TIMES: Mapping[str, time] = {
    "midnight": time(0),
    "elevenses": time(11),
    "noon": time(12),
    "fika": time(15),
    "teatime": time(16),
}
"""Words of sbatch(1), --begin."""
NAMED_DAYS: Mapping[str, int] = {"today": 0, "tomorrow": 1}
"""A word and how many days from today it is."""
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
LAST_YEAR = 2999

_WEEKDAY_WORDS = {
    **{name: n for n, name in enumerate(WEEKDAYS)},
    **{name[:3]: n for n, name in enumerate(WEEKDAYS)},
    **{"tues": 1, "weds": 2, "thur": 3, "thurs": 3},
}
_MONTH_WORDS = {
    **{name: n for n, name in enumerate(MONTHS, 1)},
    **{name[:3]: n for n, name in enumerate(MONTHS, 1)},
    "sept": 9,
}


def _any_of(words: Mapping[str, object]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_FLAGS = re.I | re.A
_GAP = re.compile(r"[\s,\-]+", _FLAGS)
_FILLER = re.compile(r"(?:at|on|by|this)(?![a-z])", _FLAGS)
_WORD = re.compile(_any_of({**NAMED_TIMES, **NAMED_DAYS, **_WEEKDAY_WORDS}), _FLAGS)
_CLOCK_12 = re.compile(r"(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?\s*([ap])(?:m|\.m\.?)(?![a-z])", _FLAGS)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?(?![\d:])", _FLAGS)
_ISO_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)", _FLAGS)
_SLASHED = re.compile(r"(\d{1,2})([/.])(\d{1,2})(?:\2(\d{2}))?(?![\d/.])", _FLAGS)
_PACKED = re.compile(r"(\d{2})(\d{2})(\d{2})?(?!\d)", _FLAGS)
_MONTH = rf"({_any_of(_MONTH_WORDS)})\.?(?![a-z])"
_NTH = r"(\d{1,2})(?:st|nd|rd|th)?(?![\d:a-z])"
_YEAR = r"(?:[\s,\-]+(\d{4})(?![\d:]))?"
_DAY_MONTH = re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th|\.)?[\s\-]*(?:of\s+)?{_MONTH}{_YEAR}", _FLAGS)
_MONTH_DAY = re.compile(rf"{_MONTH}[\s\-]*{_NTH}{_YEAR}", _FLAGS)
_LATE_YEAR = re.compile(r"(2\d{3})(?!\d)", _FLAGS)
_OFFSET = re.compile(
    r"\s*(?:(?:UTC|GMT)\s*([+-])(\d{1,2})|([+-])(\d{2}))(?::?(\d{2}))?(?![\d:./a-z])", _FLAGS
)
_ZONE = re.compile(r"[a-z]+(?:/[a-z0-9_+\-]+)+|[a-z]{1,5}(?![a-z])", _FLAGS)
_T = re.compile(rf"T(?=\d|{_WORD.pattern})", _FLAGS)
_UTC_NAMES = frozenset({"UTC", "GMT", "Z"})


class UnreadableError(ValueError):
    """Not a day, a time of day and a zone. `rest` is where reading ended; "" for the whole."""

    def __init__(self, message: str, rest: str = "") -> None:
        super().__init__(message)
        self.rest = rest


@dataclass(frozen=True, slots=True)
class Spec:
    """What a text says; None for what it does not.

    Args:
        day: month and day, in `year` where that is given (else in a leap year).
        weekday: 0 for Monday.
        from_today: days from today.
        clock: the time of day.
        midnight: it is the word, or 24:00, which ends a day as well as it begins one.
        zone: in which it is meant; None for the user's.
        zone_name: what the user's zone is called then ("CET").
        notes: what is to be told of how it was read.
    """

    day: date | None = None
    year: int | None = None
    weekday: int | None = None
    from_today: int | None = None
    clock: time | None = None
    midnight: bool = False
    zone: tzinfo | None = None
    zone_name: str = ""
    notes: tuple[str, ...] = ()

    @property
    def names_a_day(self) -> bool:
        """Whether it says which day."""
        return not (self.day is None and self.weekday is None and self.from_today is None)


def read_spec(text: str) -> Spec:
    """Days and times of day in any order, with spaces, commas, `-` or `T` between them.

    Raises:
        UnreadableError: something else, something twice, or a day or time that does not exist.

    >>> read_spec("friday 18:00").weekday, read_spec("6pm").clock
    (4, datetime.time(18, 0))
    """
    return _Reader(text).read()


@dataclass(slots=True)
class _Reader:
    text: str
    place: int = 0
    found: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    otherwise: str = ""
    by_name: bool = False  # the month is a word, and its year may come late

    def read(self) -> Spec:
        while self.place < len(self.text):
            if self._offset() or self._skip(_GAP) or self._skip(_FILLER):
                continue
            try:
                known = self._word() or self._time_of_day() or self._day()
            except ValueError as error:
                if isinstance(error, UnreadableError):
                    raise
                raise UnreadableError(str(error), self.text[self.place :]) from None
            if not known and not (self.found and self._skip(_T)) and not self._zone():
                raise UnreadableError("", self.text[self.place :])
        if not self.found.keys() - {"zone", "zone_name"}:
            raise UnreadableError("")
        also = "" if "clock" in self.found else self.otherwise
        notes = tuple(note + also for note in self.notes)
        return Spec(**self.found, notes=notes)  # type: ignore[arg-type]

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.match(self.text, self.place)

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = self._match(pattern)
        if match is not None:
            self.place = match.end()
        return match is not None

    def _take(self, match: re.Match[str], **values: object) -> bool:
        for name, value in values.items():
            if name in self.found:
                what = {"clock": "times of day", "zone": "zones"}.get(name, "days")
                raise UnreadableError(f"it gives two {what}")
            self.found[name] = value
        self.place = match.end()
        return True

    def _word(self) -> bool:
        match = self._match(_WORD)
        if match is None:
            return False
        word = match[0].lower()
        if word in NAMED_TIMES:
            midnight = {"midnight": True} if word == "midnight" else {}
            return self._take(match, clock=NAMED_TIMES[word], **midnight)
        if word in NAMED_DAYS:
            if self._has_day():
                raise UnreadableError("it gives two days")
            return self._take(match, from_today=NAMED_DAYS[word])
        if "from_today" in self.found:
            raise UnreadableError("it gives two days")
        return self._take(match, weekday=_WEEKDAY_WORDS[word])

    def _has_day(self) -> bool:
        return bool(self.found.keys() & {"day", "weekday", "from_today"})

    def _time_of_day(self) -> bool:
        match = self._match(_CLOCK_12)
        if match is not None:
            hour = int(match[1])
            if not 1 <= hour <= 12:
                raise UnreadableError(f"{hour} {match[4]}m is no hour of the clock")
            hour = hour % 12 + (12 if match[4].lower() == "p" else 0)
            return self._take(match, clock=time(hour, int(match[2] or 0), int(match[3] or 0)))
        match = self._match(_CLOCK)
        if match is None:
            return False
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        if (hour, minute, second) == (24, 0, 0):
            return self._take(match, clock=time(0), midnight=True)
        micro = int((match[4] or "0").ljust(6, "0"))
        return self._take(match, clock=time(hour, minute, second, micro))

    def _day(self) -> bool:
        match = self._match(_ISO_DAY)
        if match is not None:
            return self._take_day(match, int(match[2]), int(match[3]), int(match[1]))
        for pattern, month, day in ((_DAY_MONTH, 2, 1), (_MONTH_DAY, 1, 2)):
            match = self._match(pattern)
            if match is not None:
                number = _MONTH_WORDS[match[month].lower()]
                self.by_name = True
                return self._take_day(match, number, int(match[day]), _number(match[3]))
        late = self._match(_LATE_YEAR)  # as date(1) has it: Thu Nov 26 18:00:00 UTC 2026
        if late is not None and self.by_name and "year" not in self.found:
            known = self.found.pop("day")
            assert isinstance(known, date)
            return self._take_day(late, known.month, known.day, int(late[1]))
        match = self._match(_SLASHED)
        if match is not None:
            month, day, year = int(match[1]), int(match[3]), _number(match[4])
            taken = self._take_day(match, month, day, None if year is None else 2000 + year)
            if match[2] == "." and (day <= 12 or year is None):
                self._note_day(match, f"{month:02}:{day:02}" if year is None else "")
            return taken
        match = self._match(_PACKED)
        if match is None:
            return False
        month, day, year = int(match[1]), int(match[2]), _number(match[3])
        taken = self._take_day(match, month, day, None if year is None else 2000 + year)
        if year is None:
            self._note_day(match, f"{match[1]}:{match[2]}")
        return taken

    def _note_day(self, match: re.Match[str], clock: str) -> None:
        """Slurm's notation that people may have meant otherwise."""
        day = self.found["day"]
        assert isinstance(day, date)
        month = MONTHS[day.month - 1].capitalize()
        self.notes.append(f"{match[0]} is read as {day.day} {month}, as in sbatch")
        self.otherwise = f"; for the time of day give {clock}" if clock else ""

    def _take_day(self, match: re.Match[str], month: int, day: int, year: int | None) -> bool:
        if "from_today" in self.found:
            raise UnreadableError("it gives two days")
        if year is None:
            # A leap year, so that 29 February passes.
            return self._take(match, day=date(2000, month, day))
        if year > LAST_YEAR:
            raise UnreadableError(f"it is after the year {LAST_YEAR}")
        return self._take(match, day=date(year, month, day), year=year)

    def _offset(self) -> bool:
        """An offset from UTC; a `-` before anything else but a time of day separates."""
        match = self._match(_OFFSET) if "clock" in self.found and "zone" not in self.found else None
        if match is None:
            return False
        sign, hours = match[1] or match[3], match[2] or match[4]
        if match[3] == "-" and match[5] and ":" not in match[0] and not self._has_day():
            raise UnreadableError(
                f"{match[0].strip()} may be a day or a zone: write the day as YYYY-MM-DD, or the "
                f"zone as -{hours}:{match[5]}"
            )
        offset = timedelta(hours=int(hours), minutes=int(match[5] or 0))
        if offset >= timedelta(days=1) or int(match[5] or 0) > 59:
            raise UnreadableError(f"{match[0].strip()} is no offset from UTC")
        return self._take(match, zone=timezone(-offset if sign == "-" else offset))

    def _zone(self) -> bool:
        match = self._match(_ZONE) if self._has_day() or "clock" in self.found else None
        if match is None:
            return False
        if match[0].upper() in _UTC_NAMES:
            return self._take(match, zone=UTC)
        if "/" in match[0]:
            return self._take(match, zone=_zone_called(match[0]))
        if len(match[0]) < 3 or "zone_name" in self.found:
            return False
        return self._take(match, zone_name=match[0].upper())


def _zone_called(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        for known in available_timezones():
            if known.lower() == name.lower():
                return ZoneInfo(known)
    raise UnreadableError(f"{name} is no zone of the tz database on this host")


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
