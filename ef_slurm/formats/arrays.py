"""`0-9:2,12%4`: the numbers of an array's members as sbatch writes them, and `100_[0-3]`.

>>> parse_tasks("1,3,5-9:2%4")
Tasks(numbers=(1, 3, 5, 7, 9), most=4)
>>> format_tasks((0, 1, 2, 3, 7, 9))
'0-3,7,9'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MOST_MEMBERS = 1000
"""Members of one array."""
LARGEST_TASK = 4_000_000
"""Slurm's own bound of MaxArraySize is 4000001."""

_PART = re.compile(r"(\d{1,7})(?:-(\d{1,7})(?::(\d{1,7}))?)?", re.A)
_JOB = re.compile(r"(\d{1,10})(?:_(?:(\d{1,7})|\[([\d,:\-]{1,2000})(?:%\d{1,7})?\]))?", re.A)


class ArrayError(ValueError):
    """A text that names no members; the message says what would."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """The members of an array.

    Args:
        numbers: in order, each once.
        most: how many may run at once; 0 for all.
    """

    numbers: tuple[int, ...]
    most: int = 0

    @property
    def step(self) -> int:
        """How far they are apart where that is the same for all, else 1."""
        apart = {b - a for a, b in zip(self.numbers, self.numbers[1:], strict=False)}
        return apart.pop() if len(apart) == 1 else 1


@dataclass(frozen=True, slots=True)
class JobName:
    """A job as people name it: `100`, `100_3` or `100_[0-3]`.

    Args:
        tasks: those of its members that are meant; None for all, or for a job that is no array.
    """

    job_id: int
    tasks: frozenset[int] | None = None


def parse_tasks(text: str) -> Tasks:
    """The members that a value of --array means.

    Raises:
        ArrayError: it is none.
    """
    numbers, percent, most = text.strip().partition("%")
    if percent and (not (most.isascii() and most.isdecimal()) or not 0 < int(most[:9]) < 10**7):
        raise ArrayError(f"{text!r}: after % a number of 1 or more: how many may run at once")
    found = sorted(set(_numbers(numbers, text)))
    if len(found) > MOST_MEMBERS:
        raise ArrayError(f"{text!r} has {len(found)} tasks, {MOST_MEMBERS} at most")
    return Tasks(tuple(found), int(most) if percent else 0)


def format_tasks(numbers: Iterable[int]) -> str:
    """Numbers as ranges, the shortest way."""
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in _ranges(sorted(set(numbers))))


def parse_job_name(text: str) -> JobName:
    """A job, or members of an array.

    Raises:
        ArrayError: it names none.

    >>> parse_job_name("100_[0-2]").tasks == frozenset({0, 1, 2})
    True
    """
    match = _JOB.fullmatch(text.strip())
    if match is None or not int(match[1]):
        raise ArrayError(
            f"{text!r} is no job id: expected a positive whole number, or of an array JOB_TASK or "
            "JOB_[TASKS]"
        )
    if match[2] is not None:
        return JobName(int(match[1]), frozenset({int(match[2])}))
    tasks = None if match[3] is None else frozenset(_numbers(match[3], text))
    return JobName(int(match[1]), tasks)


def split_job_names(text: str) -> list[str]:
    """The words between commas, but for those in brackets.

    >>> split_job_names("1,100_[0,2],3")
    ['1', '100_[0,2]', '3']
    """
    return re.split(r",(?![^\[]*\])", text)


def _numbers(text: str, whole: str) -> Iterator[int]:
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ArrayError(f"{whole!r}: {part!r} is no task: give 3, 0-9 or 0-9:2")
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if last < first or not step:
            raise ArrayError(f"{whole!r}: {part!r} runs backwards, or has no step")
        if last > LARGEST_TASK or (last - first) // step >= MOST_MEMBERS:
            raise ArrayError(
                f"{whole!r}: {part!r}: {MOST_MEMBERS} tasks at most, up to number {LARGEST_TASK}"
            )
        yield from range(first, last + 1, step)


def _ranges(numbers: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            yield numbers[start], numbers[place - 1]
            start = place
