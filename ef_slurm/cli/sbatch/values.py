"""The last word about each option, of those that command line, environment and script give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.options import ParsedOption
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.options import LAUNCH_GROUPS
from ef_slurm.formats.numbers import parse_amount

Value = TypeVar("Value")

KIND_OPTIONS = frozenset({"deadline", "soft", "best-effort"})
COUNTS = frozenset({"iterations", "epochs"})
MEMORY = frozenset({"mem", "mem-per-cpu", "mem-per-gpu"})
CPUS = frozenset({"cpus-per-task", "cpus-per-gpu"})
_GROUPS: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    (frozenset({"deadline", "best-effort"}), KIND_OPTIONS),
    (frozenset({"best-effort"}), frozenset({"if-infeasible"})),
    (frozenset({"throughput", "profile"}), frozenset({"throughput", "profile"})),
    (frozenset({"nodelist", "nodefile"}), frozenset({"nodelist", "nodefile"})),
    *((group, group) for group in (*LAUNCH_GROUPS, COUNTS, MEMORY, CPUS)),
)
"""Where one of the first is given, all of the second are replaced that count less."""


def layered(layers: Sequence[Sequence[ParsedOption]]) -> list[list[ParsedOption]]:
    """The layers without what those above them replace as a group.

    Args:
        layers: of options, what counts least first.
    """
    kept: list[list[ParsedOption]] = []
    replaced: set[str] = set()
    for layer in reversed(layers):
        kept.append([option for option in layer if option.option.name not in replaced])
        names = {option.option.name for option in layer}
        for of_these, all_of_these in _GROUPS:
            if names & of_these:
                replaced |= all_of_these
    return kept[::-1]


class Values:
    """The last value of each option; what cannot be read is noted and counts as not given.

    Args:
        options: what counts most last.
        problems: takes what is wrong.
    """

    def __init__(self, options: Iterable[ParsedOption], problems: Problems) -> None:
        self._last: dict[str, ParsedOption] = {}
        self.all = tuple(options)
        self.problems = problems
        for option in self.all:
            self._last[option.option.name] = option

    def has(self, name: str) -> bool:
        """Whether it is given."""
        return name in self._last

    def text(self, name: str) -> str | None:
        """Its value as it was written."""
        option = self._last.get(name)
        return None if option is None else option.value

    def given(self, *names: str) -> tuple[ParsedOption, ...]:
        """Those of the names that are given."""
        return tuple(self._last[name] for name in names if name in self._last)

    def said(self, *names: str) -> str:
        """Those that are given, as they were written: `--nodes=2 --gres=gpu:4`."""
        return " ".join(option.text for option in self.given(*names))

    def parsed(self, name: str, parse: Callable[[str], Value]) -> Value | None:
        """Its value, read."""
        option = self._last.get(name)
        if option is None or option.value is None:
            return None
        try:
            return parse(option.value)
        except ValueError as error:
            self.wrong(name, str(error))
            return None

    def whole(self, name: str) -> int | None:
        """Its value, a count."""
        return self.parsed(name, parse_amount)

    def wrong(self, name: str, why: str) -> None:
        """Note what is wrong with it, and where it stands."""
        option = self._last[name]
        self.problems.add(str(UsageError(f"{option.where}: {option.option.flag}: {why}")))
