"""The comment of a Slurm job: its owner's words, and behind them what ef-slurm has to say. Pure.

    tuning run 3; ef-slurm: deadline 2026-11-26T18:00:00+01:00 promised

Ours is what stands behind the last `ef-slurm: `, so nothing that an owner writes is taken for it;
and an owner's words lose that mark when they are written again, so nobody is shown two. There is no
`|` in between, which would end a column of `sacct --parsable`.

The owner's words are read from the comment itself: `scontrol update Comment=` changes them.
"""

from __future__ import annotations

import re

from ef_slurm.formats.durations import format_duration
from ef_slurm.formats.times import format_host_iso

MARK = "ef-slurm: "
_SEPARATOR = "; "
MOST_WORDS = 500
"""Characters of an owner's words that are kept."""

_OWNERS_MARK = re.compile(r"ef-slurm[\s:]*:", re.I)
_OURS = re.compile(rf"(?:^|{_SEPARATOR})(?={MARK})")


def our_comment(comment: str) -> str:
    """What ef-slurm has written into a comment; "" for nothing.

    >>> our_comment("run 3; ef-slurm: released by its owner")
    'ef-slurm: released by its owner'
    """
    last = _last(comment)
    return "" if last is None else comment[last[1] :]


def owners_words(comment: str) -> str:
    """What its owner has written into a comment, as it is to be kept.

    >>> owners_words("run 3; ef-slurm: deadline 2026-11-26T18:00:00+01:00 promised")
    'run 3'
    """
    last = _last(comment)
    return clean_words(comment if last is None else comment[: last[0]])


def clean_words(words: str) -> str:
    """Words in one line, without our mark, and not too many."""
    line = "".join(letter if letter.isprintable() else " " for letter in words)
    plain = _OWNERS_MARK.sub("ef-slurm", line)
    return plain.strip()[:MOST_WORDS].strip()


def check_words(words: str) -> None:
    """Refuse words that could not be kept as they are.

    Raises:
        ValueError: the message says why.
    """
    if len(words) > MOST_WORDS:
        raise ValueError(f"{len(words)} characters: {MOST_WORDS} at most are kept")
    if _OWNERS_MARK.search(words):
        raise ValueError("'ef-slurm:' begins what ef-slurm writes there: leave it out")
    if not words.isprintable():
        raise ValueError("it must be one line of printable characters")


def compose(words: str, ours: str) -> str:
    """A comment of both.

    >>> compose("run 3", "best effort"), compose("", "best effort")
    ('run 3; ef-slurm: best effort', 'ef-slurm: best effort')
    """
    kept = clean_words(words)
    return f"{kept}{_SEPARATOR}{MARK}{ours}" if kept else f"{MARK}{ours}"


def deadline_words(deadline: float | None, grace: float, state: str) -> str:
    """What ef-slurm says of a job.

    Args:
        deadline: UTC epoch seconds; None for best effort.
        grace: seconds.
        state: of the promise, in few words.
    """
    if deadline is None:
        return "best effort"
    later = f" + {format_duration(grace)}" if grace else ""
    return f"deadline {format_host_iso(deadline)}{later} {state}"


def new_words(deadline: float | None, grace: float) -> str:
    """The same of one that nobody has judged."""
    return deadline_words(deadline, grace, "not promised yet")


def _last(comment: str) -> tuple[int, int] | None:
    """Where the last of our parts begins, with its separator and without."""
    found = None
    for match in _OURS.finditer(comment):
        found = match.span()
    return found
