"""Log files of an array's jobs: `%A` and `%a`, which Slurm knows of its own arrays only."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ef_slurm.model import ArrayMember

_FILES = ("--output=", "--error=", "--input=")
_FIELD = re.compile(r"%(%|(\d*)([Aa]))")


def log_options(
    options: Sequence[str], in_script: Sequence[str], array: ArrayMember | None
) -> tuple[str, ...]:
    """sbatch's options of the command line, with what its arrays would have.

    Args:
        in_script: those of `#SBATCH` lines.
        array: which job it is; None for one that is in no array: the options are as they were.
    """
    if array is None:
        return tuple(options)
    named = tuple(named_logs(word, array) for word in options)
    if any(word.startswith("--output=") for word in (*options, *in_script)):
        return named
    return (named_logs("--output=slurm-%A_%a.out", array), *named)


def named_logs(word: str, array: ArrayMember | None) -> str:
    """An option in which `%A` is the array's name and `%a` the job's number, filled up to a width.

    >>> member = ArrayMember(100, 7, 10, 0, 9)
    >>> named_logs("--output=log-%A_%3a-%j-%%a.out", member)
    '--output=log-100_007-%j-%%a.out'
    """
    if array is None or not word.startswith(_FILES):
        return word

    def filled(match: re.Match[str]) -> str:
        if match[1] == "%":
            return match[0]
        if match[3] == "a":
            return str(array.task).zfill(int(match[2] or 0) % 11)
        # The first one is the array's name itself.
        return str(array.job_id).zfill(int(match[2] or 0) % 11) if array.job_id else f"%{match[2]}j"

    return _FIELD.sub(filled, word)
