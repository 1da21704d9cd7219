"""Which nodes a `--constraint` allows (sbatch(1)), as far as that can be said of each node alone.

>>> wanted = parse_features("(a100|h100)&ib")
>>> [wanted.allows(features) for features in (("h100", "ib"), ("a100",), ("ib",))]
[True, False, False]
>>> parse_features("[rack1|rack2]")
Traceback (most recent call last):
ef_slurm.slurm.features.FeaturesError: brackets: ef-slurm keeps no job to nodes that have ...
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

LONGEST = 4000
"""Characters of an expression."""
_DEEPEST = 50
"""Parentheses within each other."""
_WORD = re.compile(r"\s*([&,|()\[\]*]|[^&,|()\[\]*\s]+)\s*")
_COUNT = "a number of nodes with a feature: how many nodes the job has is ef-slurm's to choose"
_NONE = "is no constraint: features with & and |, and parentheses"
_LONGEST_SHOWN = 200
_BRACKETS = (
    "brackets: ef-slurm keeps no job to nodes that have the same one of several features; write "
    "the one that is to be used, or all with | and without brackets"
)


class FeaturesError(ValueError):
    """A text that is no constraint, or none that can be honoured."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A node with this feature."""

    name: str

    @property
    def is_flat(self) -> bool:
        """Always."""
        return True

    def __str__(self) -> str:
        return self.name

    def allows(self, features: Collection[str]) -> bool:
        """Whether a node with these features is one."""
        return self.name in features

    @property
    def names(self) -> frozenset[str]:
        """The features that are named."""
        return frozenset({self.name})


@dataclass(frozen=True, slots=True)
class Combined:
    """A node that all of `parts` allow, or, without `every`, any of them."""

    parts: tuple[Feature | Combined, ...]
    every: bool

    @property
    def is_flat(self) -> bool:
        """Whether it is features alone, with one operator between them."""
        return all(isinstance(part, Feature) for part in self.parts)

    def allows(self, features: Collection[str]) -> bool:
        """Whether a node with these features is one."""
        found = (part.allows(features) for part in self.parts)
        return all(found) if self.every else any(found)

    @property
    def names(self) -> frozenset[str]:
        """The features that are named."""
        return frozenset[str]().union(*(part.names for part in self.parts))

    def __str__(self) -> str:
        words = (str(part) if isinstance(part, Feature) else f"({part})" for part in self.parts)
        return ("&" if self.every else "|").join(words)


Features = Feature | Combined


def parse_features(text: str) -> Features:
    """The constraint: features with `&` (or `,`) or `|` between them, and parentheses.

    Slurm reads `a|b&c` from left to right, and others do not: parentheses have to say which is
    meant.

    Raises:
        FeaturesError: it is none, or asks for more than can be said of each node alone.
    """
    if len(text) > LONGEST:
        raise FeaturesError(f"{len(text)} characters: {LONGEST} at most")
    words: list[str] = []
    position, stripped = 0, text.strip()
    while position < len(stripped):
        found = _WORD.match(stripped, position)
        if found is None:
            raise FeaturesError(f"{text!r} is no constraint")
        words.append(found[1])
        position = found.end()
    if "*" in words:
        raise FeaturesError(_COUNT)
    if "[" in words or "]" in words:
        raise FeaturesError(_BRACKETS)
    if not all(word.isprintable() for word in words):
        raise FeaturesError(f"{text!r} is no constraint: it does not print")
    parser = _Parser(words, text[:_LONGEST_SHOWN])
    expression = parser.combined(0)
    if parser.left:
        raise parser.wrong()
    return expression


class _Parser:
    """By recursive descent, over what is left of the words."""

    def __init__(self, words: list[str], text: str) -> None:
        self.left = words[::-1]
        self._text = text

    def wrong(self) -> FeaturesError:
        return FeaturesError(f"{self._text!r} {_NONE}")

    def combined(self, depth: int) -> Features:
        """One level: features and parentheses with the same operator between them."""
        parts, operators = [self._one(depth)], set()
        while self.left and self.left[-1] in "&,|":
            operators.add("|" if self.left.pop() == "|" else "&")
            parts.append(self._one(depth))
        if len(operators) > 1:
            raise FeaturesError(f"{self._text!r} has & and |: say with parentheses which is meant")
        return Combined(tuple(parts), "&" in operators) if operators else parts[0]

    def _one(self, depth: int) -> Features:
        word = self.left.pop() if self.left else ")"
        if word == "(" and depth < _DEEPEST:
            inside = self.combined(depth + 1)
            if not self.left or self.left.pop() != ")":
                raise self.wrong()
            return inside
        if word in "()&,|":
            raise self.wrong()
        return Feature(word)
