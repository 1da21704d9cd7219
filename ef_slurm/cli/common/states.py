"""State words of ef-squeue and ef-scancel: the queue's, and Slurm's for groups of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.model import JobState

_PENDING = (
    JobState.NEW,
    JobState.WAITLISTED,
    JobState.ADMITTED,
    JobState.PAUSED,
    JobState.HELD,
)
_RUNNING = (JobState.STARTING, JobState.RUNNING, JobState.STOPPING)

_SLURM_WORDS: Mapping[str, tuple[JobState, ...]] = MappingProxyType(
    {
        "PENDING": _PENDING,
        "PD": _PENDING,
        "RUNNING": _RUNNING,
        "R": _RUNNING,
        "SUSPENDED": (JobState.PAUSED,),
        "S": (JobState.PAUSED,),
        "COMPLETED": (JobState.COMPLETED,),
        "CD": (JobState.COMPLETED,),
        "CANCELLED": (JobState.CANCELLED,),
        "CA": (JobState.CANCELLED,),
        "FAILED": (JobState.FAILED,),
        "F": (JobState.FAILED,),
        "ALL": tuple(JobState),
    }
)


def parse_states(texts: tuple[str, ...], where: str = "--states") -> tuple[JobState, ...]:
    """The states of comma-separated words, in any case.

    Args:
        where: what the words are of, for errors.

    >>> [state.value for state in parse_states(("paused,cd",))]
    ['paused', 'completed']

    Raises:
        UsageError: an unknown word.
    """
    found: dict[JobState, None] = {}
    for word in (word.strip() for text in texts for word in text.split(",")):
        states = _SLURM_WORDS.get(word.upper())
        if states is None:
            states = tuple(state for state in JobState if state.value.upper() == word.upper())
        if not states:
            known = ", ".join(state.value for state in JobState)
            raise UsageError(f"{where}: {word!r} is no state; there is {known}, and Slurm's words")
        found.update(dict.fromkeys(states))
    return tuple(found)
