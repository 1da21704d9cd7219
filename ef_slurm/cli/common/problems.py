"""Everything that is wrong with what was given, told at once instead of one thing a round."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.formats.printing import shortened

LONGEST_LINE = 1000
"""Characters of one problem: a value may be of any length."""


class Problems:
    """What was found wrong so far, each thing once, in the order in which it was found."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, problem: str) -> None:
        """One more; lines of one text are taken apart."""
        lines = (shortened(line, LONGEST_LINE) for line in problem.splitlines())
        self._found.update(dict.fromkeys(lines))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """A mistake of the user's that is found within is noted, and ends what is within."""
        try:
            yield
        except UsageError as error:
            self.add(str(error))

    def tell(self) -> None:
        """End the command where anything was found.

        Raises:
            UsageError: a line for each problem.
        """
        if self._found:
            raise UsageError("\n".join(self._found))
