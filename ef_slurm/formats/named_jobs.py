"""Sentences that name jobs, for somebody who is not to know of all of them. Pure.

>>> without_jobs("waits: job 12 has its GPUs until job 7 ends", lambda job_id: job_id == 7)
'waits: another job has its GPUs until job 7 ends'
"""

from __future__ import annotations

import re
from collections.abc import Callable

_JOB = re.compile(r"(?<!Slurm )\bjob (\d+)\b")


def without_jobs(text: str, is_told: Callable[[int], bool]) -> str:
    """A sentence in which other jobs have no number.

    Args:
        is_told: whether that of a Slurm job stays.
    """

    def name(match: re.Match[str]) -> str:
        known = len(match[1]) < 19 and is_told(int(match[1]))
        return match[0] if known else "another job"

    return _JOB.sub(name, text)
