"""`afterok:12:13,after:14+10`: dependencies as sbatch writes them (sbatch(1), --dependency).

>>> parsed = parse_dependency("afterok:12:13?singleton")
>>> parsed.any_of, [condition.job_id for condition in parsed.conditions]
(True, [12, 13, None])
>>> format_dependency(parsed)
'afterok:12?afterok:13?singleton'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ef_slurm.model import Condition, Dependency, DependencyKind

MOST_CONDITIONS = 100
"""Conditions of one job."""

_KINDS = {kind.value: kind for kind in DependencyKind}
_JOB = re.compile(r"(\d{1,10})(?:\+(\d{1,7}))?", re.A)
_OTHERS: Mapping[str, str] = {
    "aftercorr": "it is about two arrays, task by task: give afterok:JOB_TASK to each job",
    "afterburstbuffer": "ef-slurm knows nothing of burst buffers: give afterany",
    "expand": "ef-slurm changes the GPUs of a job itself",
}


class DependencyError(ValueError):
    """A text that is no dependency; the message says what would be."""


def parse_dependency(text: str) -> Dependency:
    """The dependency that a text means; no conditions for an empty one, `none` and `(null)`.

    Raises:
        DependencyError: it is none.
    """
    stripped = text.strip()
    if stripped.lower() in ("", "none", "(null)"):
        return Dependency()
    if "," in stripped and "?" in stripped:
        raise DependencyError(
            f"{text!r}: all of them (with ,) or any of them (with ?), not both in one dependency"
        )
    any_of = "?" in stripped
    words = stripped.split("?" if any_of else ",")
    conditions = tuple(condition for word in words for condition in _conditions(word.strip()))
    if len(conditions) > MOST_CONDITIONS:
        raise DependencyError(f"{len(conditions)} conditions, {MOST_CONDITIONS} at most")
    return Dependency(tuple(dict.fromkeys(conditions)), any_of)


def format_dependency(dependency: Dependency) -> str:
    """The inverse of `parse_dependency`, a word per condition; "" for none."""
    words = []
    for condition in dependency.conditions:
        word = condition.kind.value
        if condition.job_id is not None:
            word += f":{condition.job_id}"
        if condition.minutes:
            word += f"+{condition.minutes}"
        words.append(word)
    return ("?" if dependency.any_of else ",").join(words)


def _conditions(word: str) -> Iterator[Condition]:
    name, *jobs = word.split(":")
    kind = _KINDS.get(name.lower())
    if kind is None:
        known = "after, afterany, afterok, afternotok (each with :JOB) or singleton"
        told = _OTHERS.get(name.lower())
        if told is not None:
            raise DependencyError(f"{word!r}: {told}")
        if name.isdecimal():
            raise DependencyError(f"{word!r}: give afterok:{name}, or afterany:{name}")
        raise DependencyError(f"{word!r}: expected {known}")
    if kind is DependencyKind.SINGLETON:
        if jobs:
            raise DependencyError(f"{word!r}: singleton names no job")
        yield Condition(kind)
        return
    if not jobs:
        raise DependencyError(f"{word!r}: of which job? Give {name}:JOB")
    for job in jobs:
        yield _of_job(kind, job, word)


def _of_job(kind: DependencyKind, job: str, word: str) -> Condition:
    match = _JOB.fullmatch(job)
    if match is None or not int(match[1]):
        raise DependencyError(f"{word!r}: {job!r} is no job id: expected a positive whole number")
    minutes = int(match[2] or 0)
    if minutes and kind is not DependencyKind.AFTER:
        raise DependencyError(f"{word!r}: minutes count from a job's start: only after:JOB+MINUTES")
    return Condition(kind, int(match[1]), minutes)
