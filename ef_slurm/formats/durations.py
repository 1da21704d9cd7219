"""Slurm's durations: minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S, UNLIMITED (sbatch(1), --time)."""

from __future__ import annotations

import math
import re

FORMS = "minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S or UNLIMITED"
_UNLIMITED = frozenset({"UNLIMITED", "INFINITE", "-1"})
_LONGEST = 0xFFFFFFFE * 60.0  # Slurm keeps minutes in 32 bits


class DurationError(ValueError):
    """Not a duration. The message says what would be one."""


def parse_duration(text: str) -> float:
    """Seconds; `inf` for UNLIMITED.

    Raises:
        DurationError: in none of Slurm's forms, or longer than Slurm can keep.

    >>> parse_duration("90"), parse_duration("1:30"), parse_duration("2-12")
    (5400.0, 90.0, 216000.0)
    """
    stripped = text.strip()
    if stripped.upper() in _UNLIMITED:
        return math.inf
    match = re.fullmatch(
        r"(?:(\d{1,12})-)?(\d{1,12})(?::(\d{1,12}))?(?::(\d{1,12}))?", stripped, flags=re.ASCII
    )
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


def format_duration(seconds: float) -> str:
    """[D-]HH:MM:SS as squeue prints it, rounded to whole seconds; UNLIMITED for `inf`.

    >>> format_duration(93784), format_duration(61), format_duration(math.inf)
    ('1-02:03:04', '00:01:01', 'UNLIMITED')
    """
    if math.isinf(seconds):
        return "UNLIMITED"
    whole = round(seconds)
    days, rest = divmod(abs(whole), 86400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return ("-" if whole < 0 else "") + (f"{days}-{clock}" if days else clock)
