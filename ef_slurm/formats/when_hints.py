"""What to write instead of what is nearly a moment. Pure.

Each hint names texts that are valid: what people most likely meant, all of it where it is unclear.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from difflib import get_close_matches

from ef_slurm.formats.wall_clock import today
from ef_slurm.formats.when_text import MONTHS, NAMED_DAYS, NAMED_TIMES, WEEKDAYS

_FLAGS = re.I | re.A
_DAY_PIECE = re.compile(
    r"(?<![\d:])(\d{1,2})([./\-])(\d{1,2})(?:\2(\d{4}|\d{2})|\.?\s+(20\d{2}))(?![\d:])", _FLAGS
)
_NO_YEAR = re.compile(r"(?<![\d:.])(\d{1,2})([./])(\d{1,2})\2?(?![\d./])", _FLAGS)
_YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})([/._])(\d{1,2})\2(\d{1,2})(?!\d)", _FLAGS)
_EIGHT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:[T ]?(\d{2}):?(\d{2})(?::?(\d{2}))?)?(Z?)", _FLAGS)
_DIGITS_CLOCK = re.compile(
    r"(\d{1,2})(?:\.|\s*h\s*)?(\d{2})(?:[.]?(\d{2}))?\s*(?:h|hrs?|uhr)?", _FLAGS
)
_OCLOCK = re.compile(r"(\d{1,2})(?:[:.](\d{2}))?\s*(?:h|hrs?|hours|uhr|o'?clock)", _FLAGS)
_CLOCK_PIECE = re.compile(r"(?<![\d:.])(\d{1,2})[.h](\d{2})(?![\d.:])", _FLAGS)
_BARE = re.compile(r"\d+(?:\.\d+)?", _FLAGS)
_LENGTH = re.compile(r"-?(\d{1,3})-(\d{1,2})(?::(\d{2})){0,2}", _FLAGS)
_NEXT_DAY = re.compile(
    rf"next\s+({'|'.join(WEEKDAYS)}|{'|'.join(w[:3] for w in WEEKDAYS)})", _FLAGS
)
_LETTERS = re.compile(r"[a-z]{4,}", _FLAGS)
_LONG_UNITS = re.compile(r"(?:\+|in\s+)?\s*(?:(\d{1,3})|an?)\s*(months?|years?|yrs?)", _FLAGS)
_MINUS = re.compile(r"-\s*\d+.*", _FLAGS)
_COLON_LENGTH = re.compile(r"(?:\+|in\s)\s*(\d{1,3}):(\d{2})", _FLAGS)


@dataclass(frozen=True, slots=True)
class Hint:
    """Why it is not valid, and what is."""

    why: str
    give: tuple[str, ...]

    def __str__(self) -> str:
        *most, last = self.give
        return (
            f"{self.why}: give {', '.join(most)} or {last}" if most else f"{self.why}: give {last}"
        )


def hint(text: str, now: float, zone: tzinfo, is_valid: Callable[[str], bool]) -> Hint | None:
    """What could be meant by a text that is no moment; None where nobody knows.

    Args:
        is_valid: whether a text is one: only such are named.
    """
    present = today(now, zone)
    for guess in _GUESSES:
        found = guess(text, present)
        if found is None:
            continue
        give = tuple(one for one in found.give if is_valid(one.partition(" (")[0]))
        if give:
            return Hint(found.why, give)
    return None


def _phrases(text: str, present: date) -> Hint | None:
    words = " ".join(text.lower().replace("-", " ").split()).removeprefix("the ")
    next_day = _NEXT_DAY.fullmatch(words)
    if next_day is not None:
        weekday = [name[:3] for name in WEEKDAYS].index(next_day[1][:3])
        first = present + timedelta(days=(weekday - present.weekday() - 1) % 7 + 1)
        return Hint("this one or the one after", (f"{first}", f"{first + timedelta(days=7)}"))
    monday = present + timedelta(days=7 - present.weekday())
    sunday = present + timedelta(days=6 - present.weekday())
    if words in ("next week", "in the next week"):
        return Hint("which moment of it", (f"{monday} (its Monday)", f"{monday + _WEEK}", "7d"))
    if words in ("this week", "eow", "end of week", "end of the week", "weekend", "this weekend"):
        return Hint("which moment of it", ("friday 18:00", f"{sunday} (its end)"))
    if words in ("next month", "end of month", "end of the month", "eom", "this month"):
        start = date(present.year + present.month // 12, present.month % 12 + 1, 1)
        last = start - timedelta(days=1)
        return Hint("which day of it", (f"{last} (this one's last)", f"{start}", "30d"))
    if words in ("next year", "this year", "eoy", "end of year", "end of the year"):
        return Hint("which day of it", (f"{present.year}-12-31", f"{present.year + 1}-01-01"))
    if words in _ENDS_OF_DAY:
        return Hint("give the day for its end, or a time", ("today", "18:00", "22:00"))
    if words in ("day after tomorrow", "overmorrow"):
        return Hint("name it", (f"{present + timedelta(days=2)}",))
    parts = {"morning": "09:00", "afternoon": "15:00", "evening": "18:00", "night": "22:00"}
    for part, clock in parts.items():
        if words.split()[-1:] == [part]:
            rest = words.removesuffix(part).strip()
            day = rest if rest in (*NAMED_DAYS, *WEEKDAYS) else "tomorrow"
            return Hint("at which time of day", (f"{day} {clock}",))
    if words in ("asap", "soon", "immediately", "never", "none", "later", "infinite", "unlimited"):
        return Hint("a deadline is a moment", ("3h", "18:00", "tomorrow"))
    if words == "yesterday":
        return Hint("it is over", ("today", "tomorrow"))
    return None


_WEEK = timedelta(days=6)
_ENDS_OF_DAY = frozenset(
    {
        *("eod", "end of day", "end of the day", "tonight", "this evening", "today evening"),
        *("eob", "cob", "close of business", "end of business"),
    }
)
_FIGURES = ("one", "two", "three", "four", "five", "six", "seven", "eight")
_SUBSTITUTES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, _FLAGS), substitute)
    for pattern, substitute in (
        (r"^(?:until|till|til|before|not? later than|(?:the )?end of) ", ""),
        (r"\btonight\b", "today"),
        (r"(?<=\d)_(?=\d)", " "),
        (r"(?<=\d)/(?=[a-z])|(?<=[a-z])/(?=\d)", " "),
        (r"\b(\d{1,2})[.,](\d{2})\s*([ap])\.?m?\.?(?![a-z])", r"\1:\2\3m"),
        (r"\b(\d{1,2}(?::\d{2})?)\s*([ap])(?![a-z.])", r"\1\2m"),
        (r"(?<=[a-z]),? and (?=\d)|(?<=[a-z]),\s*(?=\d)", " "),
        (r"(@\d{7,12})\.\d+", r"\1"),
        (r"\b(\d{1,2}):(\d)(?![\d:])", r"\1:0\2"),
        (r"^(\d{1,2}),(\d{2})$", r"\1:\2"),
        *((rf"\b{word}\b(?= [a-z])", str(n)) for n, word in enumerate(_FIGURES, 1)),
    )
)
_LAST_DIGITS = re.compile(r"(?<=[\sT-])(\d{1,2})(\d{2})?$", _FLAGS)
_FIRST_DIGITS = re.compile(r"^(\d{1,2})(\d{2})?(?=\s+[a-z])", _FLAGS)


def _other_words(text: str, present: date) -> Hint | None:
    """The same with words, and signs, that are known here."""
    changed = " ".join(text.split())
    for pattern, substitute in _SUBSTITUTES:
        changed = pattern.sub(substitute, changed)
    next_day = _NEXT_DAY.search(changed)
    if next_day is not None and next_day[0] != changed:
        named = _phrases(next_day[0], present)
        assert named is not None
        before, after = changed[: next_day.start()], changed[next_day.end() :]
        return Hint(named.why, tuple(f"{before}{day}{after}" for day in named.give))
    return Hint("in words that are known here", (changed,)) if changed != text else None


def _digits_beside_a_day(text: str, _present: date) -> Hint | None:
    """`tomorrow 1830`, `2026-12-24T18`, `friday at 6`: a time of day without its colon."""
    for pattern in (_LAST_DIGITS, _FIRST_DIGITS):
        match = pattern.search(text)
        if match is None or ":" in text or re.fullmatch(r"20[2-9]\d", match[0]):
            continue
        hour, minute = int(match[1]), match[2] or "00"
        hours = [hour] if match[2] or not 1 <= hour <= 11 else [hour, hour + 12]
        before, after = text[: match.start()], text[match.end() :]
        clocks = tuple(f"{before}{one:02}:{minute}{after}" for one in hours)
        return Hint("a time of day has a colon", clocks)
    return None


def _days_in_other_order(text: str, present: date) -> Hint | None:
    """Dates with points or strokes, of which nobody knows whether the day or the month is first."""
    match = _YEAR_FIRST.search(text)
    if match is not None:
        found = _dates(int(match[1]), int(match[3]), int(match[4]))[:1]
        return _iso(text, match, found, "write the day as YYYY-MM-DD")
    match = _DAY_PIECE.search(text)
    if match is not None:
        digits = match[4] or match[5]
        year = int(digits) + (2000 if len(digits) == 2 else 0)
        found = _dates(year, int(match[3]), int(match[1]))
        why = "write the day as YYYY-MM-DD" if len(found) < 2 else "day or month first"
        return _iso(text, match, found, why)
    match = _NO_YEAR.search(text)
    if match is None or int(match[1]) <= 12:
        return None
    if match[2] == "." and int(match[3]) > 12:
        return None  # 18.30
    found = [
        day
        for year in (present.year, present.year + 1)
        for day in _dates(year, int(match[3]), int(match[1]))
    ]
    later = [day for day in found if day >= present][:1]
    hinted = _iso(text, match, later, "the month comes first, as in sbatch")
    clock = _digits_clock(text, present) if match[2] == "." else None
    if hinted is None or clock is None:
        return hinted or clock
    return Hint(hinted.why, (*hinted.give, *clock.give))


def _dates(year: int, month: int, day: int) -> list[date]:
    """The days that it can be, both ways round."""
    found = []
    for one, other in ((month, day), (day, month)):
        try:
            found.append(date(year, one, other))
        except ValueError:
            continue
    return list(dict.fromkeys(found))


def _iso(text: str, match: re.Match[str], days: list[date], why: str) -> Hint | None:
    give = tuple(f"{text[: match.start()]}{day}{text[match.end() :]}" for day in days)
    return Hint(why, give) if give else None


def _eight_digits(text: str, _present: date) -> Hint | None:
    match = _EIGHT.fullmatch(text)
    if match is None:
        return None
    found = _dates(int(match[1]), int(match[2]), int(match[3]))[:1]
    if not found or not 1970 <= found[0].year < 3000:
        return None
    clock = (
        "" if match[4] is None else f"T{match[4]}:{match[5]}" + (f":{match[6]}" if match[6] else "")
    )
    return Hint("write it with its strokes", (f"{found[0]}{clock}{match[7].upper()}",))


def _digits_clock(text: str, _present: date) -> Hint | None:
    match = _OCLOCK.fullmatch(text)
    if match is not None and int(match[1]) < 24:
        clock = f"{int(match[1]):02}:{match[2] or '00'}"
        if match[2] and text.lower().endswith("h"):
            return Hint("a time of day, or a length of time", (clock, f"{match[1]}h{match[2]}m"))
        return Hint("a time of day", (clock,))
    match = _DIGITS_CLOCK.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = int(match[1]), int(match[2]), match[3]
    if hour > 23 or minute > 59 or int(second or 0) > 59:
        return None
    clock = f"{hour:02}:{minute:02}" + (f":{second}" if second else "")
    if "h" in text.lower():
        return Hint("a time of day, or a length of time", (clock, f"{hour}h{minute}m"))
    if re.fullmatch(r"20[2-9]\d", text):
        return Hint("a year, or a time of day", (f"{text}-12-31", clock))
    return Hint("digits alone are MMDD[YY], as in sbatch, and that is no day", (clock,))


def _clock_with_point(text: str, _present: date) -> Hint | None:
    match = _CLOCK_PIECE.search(text)
    if match is None or int(match[1]) > 23 or int(match[2]) > 59 or match[0] == text:
        return None
    clock = f"{int(match[1]):02}:{match[2]}"
    rest = f"{text[: match.start()]}{clock}{text[match.end() :]}"
    return Hint("a time of day has a colon", (rest,)) if _is_plain(rest) else None


def _is_plain(text: str) -> bool:
    """Whether beside one time of day there is a named day at most."""
    words = re.sub(r"\d{1,2}:\d{2}", " ", text).lower().split()
    return all(word in (*NAMED_DAYS, *WEEKDAYS, "at", "on", "by") for word in words)


def _bare_number(text: str, _present: date) -> Hint | None:
    if not _BARE.fullmatch(text):
        return None
    if "." not in text and 9 <= len(text) <= 12:
        return Hint("UTC epoch seconds", (f"@{text}",))
    if "." not in text and len(text) == 13:
        return Hint("UTC epoch seconds", (f"@{text[:-3]}",))
    if len(text) > 4:
        return None
    clock = (f"{int(text):02}:00",) if text.isdigit() and int(text) < 24 else ()
    return Hint(f"{text} of what", (*clock, f"{text}h", f"{text}min"))


def _lengths(text: str, _present: date) -> Hint | None:
    if _LENGTH.fullmatch(text) and not text.startswith("-"):
        if ":" in text:
            return Hint("a length of time", (f"+{text}",))
        return Hint("a day, or a length of time", (text.replace("-", "/"), f"+{text}"))
    match = _COLON_LENGTH.fullmatch(text)
    if match is not None:
        return Hint(
            "hours or minutes", (f"{match[1]}h{int(match[2])}m", f"{match[1]}m{int(match[2])}s")
        )
    if _MINUS.fullmatch(text):
        return Hint("that is before now", ("3h", "18:00"))
    match = _LONG_UNITS.fullmatch(text)
    if match is not None:
        days = int(match[1] or 1) * (30 if match[2][0] in "mM" else 365)
        return Hint("months and years are of many lengths", (f"{days}d",))
    if " ".join(text.lower().split()).removeprefix("in ") == "half an hour":
        return Hint("in figures", ("30min",))
    return None


def _spelling(text: str, _present: date) -> Hint | None:
    known = (*NAMED_DAYS, *NAMED_TIMES, *WEEKDAYS, *MONTHS, "hours", "minutes", "weeks")
    for match in _LETTERS.finditer(text):
        word = match[0].lower()
        close = get_close_matches(word, known, n=1, cutoff=0.75)
        if close and word != close[0] and not close[0].startswith(word):
            corrected = f"{text[: match.start()]}{close[0]}{text[match.end() :]}"
            return Hint(f"{match[0]} is not known", (corrected,))
    return None


_GUESSES: tuple[Callable[[str, date], Hint | None], ...] = (
    _phrases,
    _eight_digits,
    _days_in_other_order,
    _digits_clock,
    _clock_with_point,
    _bare_number,
    _lengths,
    _other_words,
    _digits_beside_a_day,
    _spelling,
)


def given(found: Hint) -> Iterator[str]:
    """The texts that a hint names, without what is said about them."""
    for text in found.give:
        yield text.partition(" (")[0]
