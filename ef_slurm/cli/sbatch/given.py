"""What ef-sbatch was given, and what a job that goes on takes over of the one before."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.options import ParsedOption
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.continuation import Source
from ef_slurm.cli.sbatch.options import ALL_OPTIONS, NOT_IN_SCRIPTS

NEVER_AGAIN = NOT_IN_SCRIPTS - {"wrap"} | {
    *("deadline", "soft", "best-effort", "if-infeasible"),  # to be said anew
    *("state-dir", "time", "begin", "dependency", "array", "quiet", "verdict-timeout"),
}
"""Options that are no part of what is trained and how."""


@dataclass(frozen=True, slots=True)
class Given:
    """One command line.

    Args:
        options, rest: of it.
        words: all of it, as it is to be remembered.
        before: options of the job that is gone on from; those of the script and of the command line
            count more.
    """

    options: Sequence[ParsedOption]
    rest: Sequence[str]
    words: tuple[str, ...]
    before: tuple[ParsedOption, ...] = ()


def read_words(words: Sequence[str], problems: Problems) -> tuple[list[ParsedOption], list[str]]:
    """The options of a command line, and the script with its arguments.

    What follows on an option that there is none of may be its value: then the options go on behind.

    Args:
        problems: takes what is wrong.
    """
    parsed, rest = ALL_OPTIONS.parse(words, "command line", problems)
    while problems and rest and not Path(rest[0]).exists():
        # "-" alone is a file.
        options = (at for at, word in enumerate(rest) if word.startswith("-") and word != "-")
        behind = next(options, None)
        if behind is None:
            break
        more, rest = ALL_OPTIONS.parse(rest[behind:], "command line", problems)
        parsed += more
    return parsed, rest


def go_on(given: Given, source: Source) -> Given:
    """The command line with what the job before was given, where it names no script itself.

    The process changes into the directory in which that was typed: its words, and sbatch, mean it.

    Raises:
        UsageError: no script is given, and it is not known what that job was given.
    """
    names = {option.option.name for option in given.options}
    if given.rest or "wrap" in names:
        return given
    if source.words is None or source.typed_in is None:
        raise UsageError(
            f"which script? {source.directory} does not say what its job was given: "
            "ef-sbatch --continue=… --deadline=WHEN SCRIPT"
        )
    options, rest = ALL_OPTIONS.parse(source.words, "the job before")
    kept = tuple(one for one in options if one.option.name not in NEVER_AGAIN)
    wrapped = tuple(one for one in kept if one.option.name == "wrap")
    try:
        os.chdir(source.typed_in)
    except OSError as error:
        raise UsageError(f"{source.typed_in}: {error.strerror}: give the script") from None
    # As if it had been typed again: so that what follows may be gone on from in the same way.
    words = (*(one.text for one in (*kept, *given.options)), *rest)
    return Given(
        (*given.options, *wrapped),
        rest,
        words,
        tuple(one for one in kept if one not in wrapped),
    )
