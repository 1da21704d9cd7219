"""Slurm's host lists: "n[1-3,07],gpu-a[0-1]b" ⇄ names (scontrol show hostnames / hostlist).

The well-kept libraries for this are GPL (python-hostlist) or read site files and give "@", "!" and
"&" a meaning of their own (ClusterShell), so the hundred lines are ours.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence

MOST = 100_000
"""Names that one list may expand to, repeated ones counted: more is a mistake in it, or somebody
who wants whoever reads it to have no time for others."""


class HostlistError(ValueError):
    """Not a host list."""


def expand(text: str) -> tuple[str, ...]:
    """The names in a host list, in its order, repeated ones once.

    "" and Slurm's "(null)" and "None" are the empty list. Commas and spaces part the names, as many
    as there are of them; "n[4-]" is n4. All that is scontrol's way, which takes no text behind the
    last bracket, though ("n[1-2]-ib" is taken here).

    Raises:
        HostlistError: not a host list.

    >>> expand("n[1-3],gpu[08-10]")
    ('n1', 'n2', 'n3', 'gpu08', 'gpu09', 'gpu10')
    >>> expand("r[1-2]n[1-2]")
    ('r1n1', 'r1n2', 'r2n1', 'r2n2')
    """
    if text.strip() in ("", "(null)", "None", "None assigned"):
        return ()
    names: dict[str, None] = {}
    left = MOST
    for part in _split(text):
        choices = _choices(part, text)
        left -= math.prod(map(len, choices))
        if left < 0:
            raise _too_many(text)
        names.update(dict.fromkeys(map("".join, itertools.product(*choices))))
    return tuple(names)


def compress(names: Iterable[str]) -> str:
    """The shortest simple host list of these names; it keeps their order.

    Runs over a number at the end of names are folded. Slurm takes no list with text behind the last
    bracket, so other names stand as they are.

    >>> compress(["n1", "n2", "n3", "n5", "login"])
    'n[1-3,5],login'
    >>> compress(["n08", "n09", "n10"])
    'n[08-10]'
    """
    groups: list[tuple[str, list[str]]] = []
    for name in names:
        match = re.fullmatch(r"(.*?)([0-9]{1,18})", name, flags=re.DOTALL)
        prefix, number = match.groups() if match else (name, "")
        if groups and groups[-1][0] == prefix and number and groups[-1][1][0]:
            groups[-1][1].append(number)
        else:
            groups.append((prefix, [number]))
    return ",".join(_fold(prefix, numbers) for prefix, numbers in groups)


def _split(text: str) -> list[str]:
    """The parts between commas and spaces that are outside brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        if letter == "[":
            depth += 1
        elif letter == "]":
            depth -= 1
        elif letter in ", \t\r\n" and depth == 0:
            parts.append(text[start:place])
            start = place + 1
        if depth not in (0, 1):
            raise HostlistError(f"host list {text!r}: brackets do not match")
    if depth:
        raise HostlistError(f"host list {text!r}: a bracket is not closed")
    parts.append(text[start:])
    return [part for part in parts if part]


def _choices(part: str, text: str) -> list[list[str]]:
    """What may stand in each place of a part: what is outside brackets, and what these count."""
    choices: list[list[str]] = []
    count = 1
    for place, piece in enumerate(re.split(r"\[(.*?)\]", part)):
        # Odd pieces are the insides of brackets.
        choices.append(_numbers(piece, text) if place % 2 else [piece])
        count *= len(choices[-1])
        if count > MOST:
            raise _too_many(text)
    return choices


def _numbers(inside: str, text: str) -> list[str]:
    numbers: list[str] = []
    for span in inside.split(","):
        match = re.fullmatch(r"(\d{1,18})(?:-(\d{0,18}))?", span, flags=re.ASCII)
        if match is None:
            raise HostlistError(f"host list {text!r}: {span!r} is no number and no range")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise HostlistError(f"host list {text!r}: the range {span!r} runs backwards")
        if len(numbers) + last - first >= MOST:
            raise _too_many(text)
        width = len(match[1])
        numbers.extend(f"{number:0{width}d}" for number in range(first, last + 1))
    return numbers


def _too_many(text: str) -> HostlistError:
    return HostlistError(f"host list {text[:200]!r}: more than {MOST} names")


def _fold(prefix: str, numbers: Sequence[str]) -> str:
    spans: list[list[str]] = []
    for number in numbers:
        if spans and _follows(spans[-1][-1], number, spans[-1][0]):
            spans[-1].append(number)
        else:
            spans.append([number])
    if len(numbers) == 1:
        return f"{prefix}{numbers[0]}"
    inside = ",".join(span[0] if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans)
    return f"{prefix}[{inside}]"


def _follows(last: str, number: str, first: str) -> bool:
    """Whether `number` is what a range from `first` expands to after `last`."""
    return number == f"{int(last) + 1:0{len(first)}d}"
