"""The steps of an installation, as values: what would change, and why."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

UNDECODABLE = "surrogateescape"
"""What becomes of the bytes of a site's file that are no UTF-8: they stay as they are."""


class InstallationError(Exception):
    """The installation cannot go on; the text says what to do about it."""


def text_of(path: Path) -> str:
    """The text of a file that people wrote, in whatever encoding.

    Raises:
        OSError: it cannot be read.
    """
    return path.read_text(encoding="utf-8-sig", errors=UNDECODABLE)


class WishError(InstallationError):
    """An option, or the key that stands for it, is wrong or missing; nothing was done."""


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A file is to hold a text.

    Args:
        before: what it holds now; None where there is none.
        mode: of a new file; one that is there keeps its own, and its owner.
    """

    path: Path
    before: str | None
    text: str
    why: str
    mode: int = 0o644

    @property
    def title(self) -> str:
        """What is done, in a line."""
        return f"{'write' if self.before is None else 'change'} {self.path}"

    @property
    def lines(self) -> tuple[str, ...]:
        """The difference that it makes, as `diff -u` shows it."""
        old, new = (self.before or "").splitlines(), self.text.splitlines()
        named = str(self.path) if self.before is not None else "/dev/null"
        return tuple(difflib.unified_diff(old, new, named, str(self.path), lineterm="", n=1))


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """A directory is to be there, with this owner and mode.

    Args:
        found: how it is now, in words; "" where there is none.
    """

    path: Path
    owner: str
    group: str
    mode: int
    why: str
    found: str = ""

    @property
    def title(self) -> str:
        """What is done, in a line."""
        return f"{'change' if self.found else 'make'} the directory {self.path}"

    @property
    def lines(self) -> tuple[str, ...]:
        """How it is, and how it is to be."""
        wanted = f"{self.owner}:{self.group} {self.mode:04o}"
        return (f"{self.found} → {wanted}" if self.found else wanted,)


@dataclass(frozen=True, slots=True)
class RunCommand:
    """A command is to be run, as root."""

    command: tuple[str, ...]
    why: str

    @property
    def title(self) -> str:
        """What is done, in a line."""
        return f"run {self.command[0]}"

    @property
    def lines(self) -> tuple[str, ...]:
        """The command line; its words need no quotes."""
        return (" ".join(self.command),)


@dataclass(frozen=True, slots=True)
class ByHand:
    """What cannot be done from here.

    Args:
        where: file and host, or command.
        lines: to be added there.
    """

    where: str
    lines: tuple[str, ...]
    why: str


Step = WriteFile | MakeDirectory | RunCommand


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in this order; what remains for a person; and the commands after it.

    Args:
        reconfigure: whether slurmctld has to read its files again.
    """

    steps: tuple[Step, ...]
    by_hand: tuple[ByHand, ...] = ()
    reconfigure: bool = False
