"""`deadline=18:00 max_gpus=8`: what is to be otherwise, as scontrol takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import TypeVar

from ef_slurm.api.messages import JobChanged
from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.job_names import parse_job_names
from ef_slurm.cli.common.offers import pasted_in_time
from ef_slurm.formats.arrays import JobName
from ef_slurm.formats.dependencies import parse_dependency
from ef_slurm.formats.numbers import parse_amount
from ef_slurm.formats.times import InstantError
from ef_slurm.formats.when import parse_begin, read_when
from ef_slurm.model import JobChange

T = TypeVar("T")

_YES = frozenset({"yes", "true", "1"})
_NO = frozenset({"no", "false", "0"})
KEYS = ("deadline", "iterations", "max_gpus", "best_effort", "begin", "dependency")
ELSEWHERE: Mapping[str, str] = {
    "timelimit": "ef-slurm sets it: give deadline=WHEN, which Slurm's time limit follows",
    "numnodes": "ef-slurm chooses nodes and GPUs: bound them with max_gpus=N",
    "gres": "ef-slurm chooses nodes and GPUs: bound them with max_gpus=N",
    "priority": "ef-slurm decides when a job starts: give deadline=WHEN, or use ef-scontrol top",
    "globalbatchsize": "what is trained would be another training: submit it anew",
    "partition": "ef-slurm schedules one partition: ef-scancel the job and use sbatch there",
}
"""Keys that people may look for here, and what to do instead."""


def parse_update(
    words: Sequence[str], now: float, zone: tzinfo, tell: Callable[[str], None]
) -> tuple[tuple[JobName, ...], JobChange]:
    """The jobs and the change of the words after `update`.

    Jobs come as in scontrol: `1234`, `1234,1235`, `jobid=1234`. Keys may be in any case, with or
    without `-` and `_`.

    Args:
        tell: hears how a value was read that people may have meant otherwise.

    Raises:
        UsageError: a word that is neither, a key twice, a wrong value, or no job or no change.
    """
    jobs: list[str] = []
    values: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        plain = key.lower().replace("-", "").replace("_", "")
        if not equals:
            jobs.append(word)
        elif plain in ("jobid", "job"):
            jobs.append(value)
        else:
            name = _known("begin" if plain in ("starttime", "begintime") else plain, key)
            if name in values:
                raise UsageError(f"{word}: {name}= is there twice")
            values[name] = value
    if not jobs:
        raise UsageError("which job? ef-scontrol update JOB[,JOB...] deadline=WHEN ...")
    if not values:
        raise UsageError(f"what is to change? Give {'=, '.join(KEYS)}=")
    change = JobChange(
        deadline=_value(values, "deadline", lambda text: _moment(text, now, zone, tell)),
        iterations=_value(values, "iterations", parse_amount),
        max_gpus=_value(values, "max_gpus", _most),
        best_effort=_value(values, "best_effort", _yes_or_no),
        begin=_value(values, "begin", lambda text: parse_begin(text, now, zone) or 0.0),
        dependency=_value(values, "dependency", parse_dependency),
    )
    return parse_job_names(jobs), change


def offer_of(answer: JobChanged) -> float | None:
    """The deadline, UTC epoch seconds, that can be promised instead; None without one."""
    earliest = None if answer.verdict is None else answer.verdict.earliest_deadline
    return pasted_in_time(earliest, answer.at)


def _known(plain: str, key: str) -> str:
    for name in KEYS:
        if plain == name.replace("_", ""):
            return name
    if plain in ELSEWHERE:
        raise UsageError(f"{key}=: {ELSEWHERE[plain]}")
    raise UsageError(f"{key}= cannot be changed; there is {'=, '.join(KEYS)}=")


def _value(values: Mapping[str, str], name: str, parse: Callable[[str], T]) -> T | None:
    text = values.get(name)
    if text is None:
        return None
    try:
        return parse(text)
    except (InstantError, ValueError) as error:
        raise UsageError(f"{name}={text}: {error}") from None


def _moment(text: str, now: float, zone: tzinfo, tell: Callable[[str], None]) -> float:
    when = read_when(text, now, zone)
    for note in when.notes:
        tell(f"deadline={text}: {note}")
    return when.instant


def _most(text: str) -> int:
    return 0 if text.lower() in ("0", "none", "unlimited") else parse_amount(text)


def _yes_or_no(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError("expected yes or no")
