"""Text of manual pages: man(7), for groff and mandoc."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

_WIDTH = 72
_SPECIAL = {
    "\\": "\\e",
    "-": "\\-",
    "^": "\\(ha",
    "~": "\\(ti",
    "`": "\\(ga",
    "'": "\\(aq",
    '"': "\\(dq",
    "…": "...",
    "→": "\\(->",
    "\u00d7": "\\(mu",
    "·": "\\(pc",
}


def escaped(text: str) -> str:
    """A text as it is to be read, without power over the page."""
    return "".join(
        _SPECIAL.get(letter) or (letter if letter.isascii() else f"\\[u{ord(letter):04X}]")
        for letter in text
    )


def line(text: str) -> str:
    """A line of text: one that begins as a request does is none."""
    return _no_request(escaped(text))


def _no_request(shown: str) -> str:
    return f"\\&{shown}" if shown.startswith(".") else shown


def paragraph(text: str) -> Iterator[str]:
    """Lines of a paragraph, sentences on lines of their own."""
    for sentence in re.split(r"(?<=[.!?]) +(?=[A-Z])", " ".join(text.split())):
        yield from wrapped(sentence)


def wrapped(text: str) -> list[str]:
    """Lines of a text, not too long for a linter."""
    lines = textwrap.wrap(escaped(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_no_request(each) for each in lines]


def bold(text: str) -> str:
    """In bold."""
    return f"\\fB{escaped(text)}\\fR"


def italic(text: str) -> str:
    """In italics: what somebody puts a word of their own for."""
    return f"\\fI{escaped(text)}\\fR"


def section(title: str) -> str:
    """A heading."""
    return f".SH {escaped(title.upper())}"


def subsection(title: str) -> str:
    """A heading below that. Quotation marks would end its argument."""
    return f'.SS "{escaped(title)}"'


def tagged(tag: str, text: str) -> Iterator[str]:
    """A term, already formatted, and what it is."""
    yield ".TP"
    yield tag
    yield from paragraph(text) if text.strip() else ("\\&",)


def example(lines: Iterable[str]) -> Iterator[str]:
    """Lines as they stand."""
    yield ".nf"
    yield from (line(text) or "\\&" for text in lines)
    yield ".fi"


def header(name: str, number: int, date: str, source: str) -> str:
    """The first request of a page."""
    return f'.TH "{escaped(name.upper())}" "{number}" "{date}" "{source}" "ef-slurm"'
