"""Lengths of time: the only place that reads or prints them. Seconds inside, always.

Read are

- Slurm's forms (sbatch(1), --time): minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S, UNLIMITED;
- what Slurm prints for a limit: the same, and words for "there is none";
- counts with units, as people write them: 90s, 1h30m, 2 days;
- plain seconds.

Printed are squeue's form, scontrol's minutes, and words.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress

from ef_slurm.formats.numbers import parse_count, parse_number

FORMS = "minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S or UNLIMITED"
_UNLIMITED = frozenset({"UNLIMITED", "INFINITE", "-1"})
# How Slurm's commands print a limit that was never set or that they cannot show.
_NOT_SET = frozenset(
    {"", "(NULL)", "N/A", "NONE", "UNKNOWN", "NOT_SET", "PARTITION_LIMIT", "INVALID"}
)
_LONGEST = 0xFFFFFFFE * 60.0  # Slurm keeps minutes in 32 bits
_SLURM = re.compile(r"(?:(\d{1,12})-)?(\d{1,12})(?::(\d{1,12}))?(?::(\d{1,12}))?", re.A)
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.A | re.I)
_SETTING = re.compile(r"(\d{1,12})(?:\s*([a-z]+))?", re.A | re.I)
_UNITS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hr": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
    "w": 604800,
    "week": 604800,
}
_WORDS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class DurationError(ValueError):
    """Not a duration. The message says what would be one."""


def parse_duration(text: str) -> float:
    """Seconds in one of Slurm's forms; `inf` for UNLIMITED.

    Raises:
        DurationError: in none of them, or longer than Slurm can keep.

    >>> parse_duration("90"), parse_duration("1:30"), parse_duration("2-12")
    (5400.0, 90.0, 216000.0)
    """
    stripped = text.strip()
    if stripped.upper() in _UNLIMITED:
        return math.inf
    match = _SLURM.fullmatch(stripped)
    if match is None:
        raise DurationError(f"{text!r} is no duration: give {FORMS}")
    days, *rest = match.groups()
    numbers = [int(number) for number in rest if number is not None]
    # Without days the fields count from the right, but a single one is minutes;
    # with days they count from the left: hours, minutes, seconds.
    if days is None:
        numbers = [0, numbers[0], 0] if len(numbers) == 1 else [0] * (3 - len(numbers)) + numbers
    else:
        numbers += [0] * (3 - len(numbers))
    hours, minutes, seconds = numbers
    total = float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)
    if total > _LONGEST:
        raise DurationError(f"{text!r} is longer than Slurm can keep: give UNLIMITED")
    return total


def parse_time_limit(text: str) -> float | None:
    """Seconds of a limit as Slurm's commands print it; `inf` for UNLIMITED, None where none is set.

    None stands for Partition_Limit (the partition's own applies), NOT_SET, INVALID (a negative
    number inside Slurm), Unknown, N/A, NONE and nothing at all.

    Raises:
        DurationError: neither a duration nor one of these words.

    >>> parse_time_limit("1-00:00:00"), parse_time_limit("Partition_Limit")
    (86400.0, None)
    """
    return None if text.strip().upper() in _NOT_SET else parse_duration(text)


def parse_limit(text: str) -> float:
    """Seconds in one of Slurm's forms or in counts with units; `inf` for UNLIMITED.

    Raises:
        DurationError: in none of these forms.

    >>> parse_limit("3h"), parse_limit("1-0"), parse_limit("UNLIMITED")
    (10800.0, 86400.0, inf)
    """
    try:
        return parse_duration(text)
    except DurationError as error:
        try:
            seconds = parse_counts(text.strip().removeprefix("+"))
        except DurationError:
            raise DurationError(f"{error}, or 90s, 30m, 1h30m, 2d") from None
    if seconds > _LONGEST:
        raise DurationError(f"{text!r} is longer than Slurm can keep")
    return seconds


def parse_finite_duration(text: str) -> float:
    """The same; UNLIMITED is refused.

    Raises:
        DurationError: in none of these forms, or endless.

    >>> parse_finite_duration("1h30m"), parse_finite_duration("0:30"), parse_finite_duration("10")
    (5400.0, 30.0, 600.0)
    """
    seconds = parse_limit(text)
    if math.isinf(seconds):
        raise DurationError(f"{text!r}: it must end")
    return seconds


def parse_counts(text: str, *, bare: bool = False) -> float:
    """Seconds in counts with units: `90s`, `1h30m`, `1.5 hours`, `2 days`.

    Args:
        text: without a sign.
        bare: a single count without a unit is in seconds; otherwise every count needs its unit.

    Raises:
        DurationError: no such counts.

    >>> parse_counts("1h30m"), parse_counts("90", bare=True)
    (5400.0, 90.0)
    """
    seconds, place = 0.0, 0
    if not text:
        raise DurationError("a count and its unit is missing: give 90s, 30m, 1h30m, 2d")
    while place < len(text):
        match = _COUNT.match(text, place)
        if match is None:
            raise DurationError(f"{text[place:]!r} is no count: give 90s, 30m, 1h30m, 2d")
        number, unit = match.groups()
        alone = place == 0 and match.end() == len(text)
        if not unit and not (bare and alone):
            raise DurationError(f"{number} of what? Give a unit: s, m, h, d or w")
        seconds += float(number) * (_factor(unit) if unit else 1)
        place = match.end()
    return seconds


def parse_seconds(text: str, *, least: float = 0.0, most: float = math.inf) -> float:
    """A plain number of seconds, fractions allowed, or counts with units.

    Raises:
        DurationError: neither, or not from `least` to `most`.

    >>> parse_seconds("0.5"), parse_seconds("2min")
    (0.5, 120.0)
    """
    seconds = parse_number(text)
    if seconds is None:
        with suppress(DurationError):
            seconds = parse_counts(text.strip())
    if seconds is None or not least <= seconds <= most:
        most_text = "or more" if math.isinf(most) else f"to {most:g}"
        raise DurationError(f"{text!r} is not a number of seconds, {least:g} {most_text}")
    return seconds


def parse_minutes(text: str) -> float | None:
    """Seconds of a whole number of minutes (sacct's TimelimitRaw); None where it is none.

    >>> parse_minutes("90"), parse_minutes("UNLIMITED")
    (5400.0, None)
    """
    minutes = parse_count(text)
    return None if minutes is None else 60.0 * minutes


def parse_setting(text: str) -> float | None:
    """Seconds of a setting as `scontrol show config` prints it: "30 sec", "5 min"; None if unset.

    >>> parse_setting("30 sec"), parse_setting("5 min"), parse_setting("(null)")
    (30.0, 300.0, None)
    """
    match = _SETTING.fullmatch(text.strip())
    if match is None:
        return None
    try:
        return float(match[1]) * (_factor(match[2]) if match[2] else 1)
    except DurationError:
        return None


def format_duration(seconds: float) -> str:
    """[[D-]H:]M:SS as squeue prints it and sbatch reads it, rounded to whole seconds.

    UNLIMITED for `inf`; what is negative (a deadline that has passed) has a minus.

    >>> format_duration(93784), format_duration(61), format_duration(-5), format_duration(math.inf)
    ('1-02:03:04', '1:01', '-0:05', 'UNLIMITED')
    """
    if math.isinf(seconds):
        return "UNLIMITED"
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


def whole_minutes(seconds: float) -> float:
    """A limit as Slurm keeps it: seconds rounded up to whole minutes; `inf` stays.

    >>> whole_minutes(61.0), whole_minutes(math.inf)
    (120.0, inf)
    """
    return seconds if math.isinf(seconds) else math.ceil(seconds / 60) * 60.0


def format_minutes(seconds: float) -> str:
    """A limit as `scontrol update TimeLimit=` takes it: whole minutes, rounded up, or UNLIMITED.

    >>> format_minutes(61.0), format_minutes(math.inf)
    ('2', 'UNLIMITED')
    """
    limit = whole_minutes(seconds)
    return "UNLIMITED" if math.isinf(limit) else str(int(limit // 60))


def describe_duration(seconds: float) -> str:
    """A length of time in words, to two neighbouring units; "no end" for `inf`.

    >>> [describe_duration(s) for s in (0.4, 48, 125, 7260, 180000, -61)]
    ['0 s', '48 s', '2 min 5 s', '2 h 1 min', '2 d 2 h', '-1 min 1 s']
    """
    if math.isinf(seconds):
        return "no end"
    rest = round(abs(seconds))
    parts: list[str] = []
    for size, unit in _WORDS:
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number} {unit}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return ("-" if seconds < 0 and parts else "") + (" ".join(parts) or "0 s")


def _factor(unit: str) -> int:
    """Seconds of a unit."""
    word = unit.lower()
    factor = _UNITS.get(word, _UNITS.get(word.removesuffix("s")))
    if factor is None:
        raise DurationError(f"unknown unit {unit!r}: give s, m, h, d or w")
    return factor
