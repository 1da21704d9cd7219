"""What stands below the options in a command's help: examples, exit codes and other parts.

A part begins with its heading and a colon ("Examples:", "Exit codes: 0 done, 1 …"); `\b` lines
keep click from wrapping it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

EXAMPLES, EXIT_CODES = "Examples", "Exit codes"

_HEADING = re.compile(r"([A-Z][a-z]+(?: [a-z]+)?):(?: +(.*))?")
_CODE_LINE = re.compile(r"^ *(\d{1,3})  +", re.M)
_CODE_INLINE = re.compile(r"(?:^|[,;]\s+)(\d{1,3})\s+(?=\S)")


@dataclass(frozen=True, slots=True)
class Code:
    """An exit code and when it comes."""

    number: str
    text: str


def parts(epilog: str | None) -> Mapping[str, str]:
    """The parts of an epilog by heading, each as its lines without common indentation."""
    found: dict[str, str] = {}
    last = ""
    for block in re.split(r"^\x08\n", epilog or "", flags=re.M):
        text = block.strip("\n")
        if not text.strip():
            continue
        first, _, rest = text.partition("\n")
        match = _HEADING.fullmatch(first)
        if match:
            last = match[1]
            found[last] = f"{match[2] or ''}\n{textwrap.dedent(rest)}".strip("\n")
        else:
            found[last] = f"{found.get(last, '')}\n\n{textwrap.dedent(text)}".strip("\n")
    return found


def codes(text: str) -> tuple[list[Code], str]:
    """Exit codes, and what else is said of them."""
    pattern = _CODE_LINE if _CODE_LINE.search(text) else _CODE_INLINE
    pieces = pattern.split(text)
    found = []
    for number, words in zip(pieces[1::2], pieces[2::2], strict=True):
        found.append(Code(number, " ".join(words.split()).rstrip(".")))
    return found, pieces[0].strip()
