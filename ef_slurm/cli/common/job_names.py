"""Jobs by the ids that people know: Slurm's."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.model import OtherJob, queue_id


def name_of(others: Iterable[OtherJob]) -> Callable[[str], str]:
    """Planner's id → Slurm's, for the jobs that an answer speaks of."""
    known = {other.queue_id: str(other.job_id) for other in others}

    def name(planner_name: str) -> str:
        return known.get(queue_id(planner_name), "of somebody else")

    return name


def parse_job_ids(texts: Iterable[str]) -> tuple[int, ...]:
    """Slurm job ids in comma-separated words.

    >>> parse_job_ids(("12,13", "14"))
    (12, 13, 14)

    Raises:
        UsageError: a word that is no job id.
    """
    words = [word.strip() for text in texts for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdecimal() and int(word) > 0):
            raise UsageError(f"{word!r} is no job id: expected a positive whole number")
    return tuple(int(word) for word in words)
