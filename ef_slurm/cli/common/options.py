"""Command-line options read as sbatch reads them (GNU getopt_long, stopping at the script).

One table of options serves the command line and the `#SBATCH` and `#EF` lines of a batch
script, and every option remembers where it stands, so that an error can say so. Long names
may be shortened as long as they stay unambiguous, short flags may be bundled, and an option with an
optional value takes it only after `=` (or stuck to the short name).
"""

from __future__ import annotations

import difflib
import enum
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.problems import Problems


class Takes(enum.Enum):
    """Whether an option takes a value."""

    NOTHING = "nothing"
    VALUE = "value"
    OPTIONAL = "optional value"


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command.

    Args:
        name: the long one, without `--`.
        short: its letter; "" for none.
        takes: whether a value follows.
        metavar: what the value is called in help and manual.
        help: what it does, with its default, if that is ours to say.
    """

    name: str
    short: str = ""
    takes: Takes = Takes.VALUE
    metavar: str = "VALUE"
    help: str = ""

    @property
    def flag(self) -> str:
        """As it is written: `--name`."""
        return f"--{self.name}"


@dataclass(frozen=True, slots=True)
class OptionGroup:
    """Options that belong together, under a heading of help and manual."""

    title: str
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class ParsedOption:
    """One option as it was written.

    Args:
        value: None where there is none.
        where: "command line" or "FILE:LINE".
    """

    option: Option
    value: str | None
    where: str

    @property
    def text(self) -> str:
        """The option as one word, for passing on."""
        return self.option.flag if self.value is None else f"{self.option.flag}={self.value}"


_LONGEST_NAME = 40
"""Characters of a wrong name that are compared with the right ones."""


class Options:
    """The options that a command knows."""

    def __init__(self, known: Iterable[Option]) -> None:
        options = tuple(known)
        self._by_name: Mapping[str, Option] = {option.name: option for option in options}
        self._by_short: Mapping[str, Option] = {o.short: o for o in options if o.short}

    def parse(
        self, words: Sequence[str], where: str, problems: Problems | None = None
    ) -> tuple[list[ParsedOption], list[str]]:
        """The options at the start of `words`, and the rest from the first word that is none.

        Args:
            problems: takes what is wrong, and the options that can be read are returned.

        Raises:
            UsageError: unknown or ambiguous options, values missing, or values where none belong;
                all of them. Not with `problems`.
        """
        parsed: list[ParsedOption] = []
        found = Problems() if problems is None else problems
        rest = deque(words)
        while rest and rest[0].startswith("-") and rest[0] != "-":
            word = rest.popleft()
            if word == "--":
                break
            with found.collecting():
                if word.startswith("--"):
                    parsed.append(self._long(word, rest, where))
                else:
                    parsed.extend(self._short(word, rest, where))
        if problems is None:
            found.tell()
        return parsed, list(rest)

    def _long(self, word: str, rest: deque[str], where: str) -> ParsedOption:
        name, equals, stuck = word[2:].partition("=")
        option = self._find(name, where)
        if option.takes is Takes.NOTHING:
            if equals:
                raise UsageError(f"{where}: {option.flag} takes no value, but has {stuck!r}")
            return ParsedOption(option, None, where)
        if equals:
            return ParsedOption(option, stuck, where)
        if option.takes is Takes.OPTIONAL:
            return ParsedOption(option, None, where)
        return ParsedOption(option, _next(option.flag, rest, where), where)

    def _find(self, name: str, where: str) -> Option:
        exact = self._by_name.get(name)
        if exact is not None:
            return exact
        candidates = [option for key, option in self._by_name.items() if key.startswith(name)]
        if not name or not candidates:
            near = difflib.get_close_matches(name[:_LONGEST_NAME], self._by_name, 1, 0.75)
            meant = f"; did you mean --{near[0]}?" if near else ""
            raise UsageError(f"{where}: there is no option --{name}{meant}")
        if len(candidates) > 1:
            names = ", ".join(sorted(option.flag for option in candidates))
            raise UsageError(f"{where}: --{name} could be any of {names}")
        return candidates[0]

    def _short(self, word: str, rest: deque[str], where: str) -> Iterable[ParsedOption]:
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            option = self._by_short.get(letter)
            if option is None:
                raise UsageError(f"{where}: there is no option -{letter}")
            if option.takes is Takes.NOTHING:
                yield ParsedOption(option, None, where)
                continue
            # sbatch accepts both `-n4` and `-n=4`.
            value = letters.removeprefix("=") if letters else None
            if value is None and option.takes is Takes.VALUE:
                value = _next(f"-{letter}", rest, where)
            yield ParsedOption(option, value, where)
            return


def _next(flag: str, rest: deque[str], where: str) -> str:
    if not rest:
        raise UsageError(f"{where}: {flag} needs a value")
    return rest.popleft()
