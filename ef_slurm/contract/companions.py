"""The comment by which everybody knows a companion, and whose it is.

A companion is a further Slurm job of a job: it brings whole nodes to one launch, for one change of
size, while the launch runs. The batch script submits it and finds it again by the comment, so that
it is submitted once.
"""

import re
from dataclasses import dataclass

COMPANION_COMMENT = "ef-slurm: companion of {job_id}, launch {generation}, change {change}"
"""What is put in are numbers, and in the batch script the variables that hold them."""

_COMMENT = re.compile(
    r"ef-slurm: companion of ([1-9]\d{0,9}), launch ([1-9]\d{0,9}), change ([1-9]\d{0,9})"
)


@dataclass(frozen=True, slots=True)
class CompanionOf:
    """What a Slurm job says that it is a companion of. Anybody may write that into a comment.

    Args:
        job_id: of the job's first Slurm job.
        generation: the launch.
        change: its number in the launch, from 1.
    """

    job_id: int
    generation: int
    change: int


def companion_comment(job_id: int, generation: int, change: int) -> str:
    """The comment of a companion.

    >>> companion_comment(12, 3, 1)
    'ef-slurm: companion of 12, launch 3, change 1'
    """
    return COMPANION_COMMENT.format(job_id=job_id, generation=generation, change=change)


def read_companion_comment(comment: str) -> CompanionOf | None:
    """Whose companion it is that has this comment; None for none.

    >>> read_companion_comment("ef-slurm: companion of 12, launch 3, change 1")
    CompanionOf(job_id=12, generation=3, change=1)
    >>> read_companion_comment("run 3; ef-slurm: released by its owner")
    """
    match = _COMMENT.fullmatch(comment)
    return None if match is None else CompanionOf(*map(int, match.groups()))
