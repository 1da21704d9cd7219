"""How a table is written, and what gives way where the terminal is narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ef_slurm.cli.common.tone import Tone
from ef_slurm.cli.squeue.columns import Column, Look
from ef_slurm.cli.squeue.layouts import Cell, Layout, column_named
from ef_slurm.formats import printing
from ef_slurm.model import JobView

WIDEST = 40
"""Characters that a column takes of a terminal at most, unless its width is given."""
_REASON_CELLS = 16
"""Of the last column, when it has no nodes to show."""

Paint = Callable[[str, Tone], str]
_Text = tuple[str, Tone]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A table as it might be written.

    Args:
        most: characters that a column may take, by its name.
    """

    cells: tuple[Cell, ...]
    bars: bool
    most: Mapping[str, int]


class _Texts:
    """The texts of a table's columns, each made once."""

    def __init__(self, jobs: Sequence[JobView], look: Look, *, heading: bool) -> None:
        self._jobs = jobs
        self._looks = {bars: replace(look, bars=bars) for bars in (False, True)}
        self._heading = heading
        self._known: dict[tuple[str, bool], list[_Text]] = {}

    def of(self, column: Column, *, bars: bool) -> list[_Text]:
        """A column, from its heading down."""
        found = self._known.get((column.name, bars))
        if found is None:
            look = self._looks[bars]
            heads = [(column.heading, Tone.PLAIN)] if self._heading else []
            found = [*heads, *(_shown(column, job, look) for job in self._jobs)]
            self._known[column.name, bars] = found
        return found

    def widest(self, name: str) -> int:
        """The characters of the longest text of a column."""
        column = column_named(name)
        assert column is not None
        found = self.of(column, bars=False)[1 if self._heading else 0 :]
        return max((printing.width(text) for text, _ in found), default=0)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table that fits, column by column.

    Args:
        columns: the texts of each, from its heading down where there is one.
    """

    cells: tuple[Cell, ...]
    widths: Sequence[int]
    columns: Sequence[Sequence[_Text]]


def table(
    jobs: Sequence[JobView],
    layout: Layout,
    look: Look,
    *,
    heading: bool,
    paint: Paint,
    width: int | None = None,
) -> Iterable[str]:
    """The lines of the table, cut to `width` characters (None: never)."""
    found = fitted(jobs, layout, look, heading=heading, width=width)
    for row in zip(*found.columns, strict=True):
        yield _line(row, found.cells, found.widths, paint, width)


def fitted(
    jobs: Sequence[JobView], layout: Layout, look: Look, *, heading: bool, width: int | None
) -> Fitted:
    """The columns of a table for a terminal of so many characters (None: any).

    Promise and nodes are in sight at 80 characters: in a layout that nobody has chosen, the
    progress bar, the predicted finish and others give way, in this order.
    """
    texts = _Texts(jobs, look, heading=heading)
    chosen = _Attempt(layout.cells, look.bars, MappingProxyType({}))
    widths = _widths(texts, chosen, on_terminal=width is not None)
    if layout.yields and width is not None:
        nodes = texts.widest("nodelist")
        for attempt in _attempts(chosen):
            chosen = attempt
            widths = _widths(texts, chosen, on_terminal=True)
            gaps = sum(len(cell.gap) for cell in chosen.cells[:-1])
            if sum(widths[:-1]) + gaps + min(widths[-1], max(nodes, _REASON_CELLS)) <= width:
                break
    columns = [texts.of(cell.column, bars=chosen.bars) for cell in chosen.cells]
    return Fitted(chosen.cells, widths, columns)


def _attempts(first: _Attempt) -> Iterator[_Attempt]:
    """The table as it was meant, and with less and less."""
    yield first
    now = replace(first, bars=False)
    yield now
    for name, most in _CONCESSIONS:
        if most:
            now = replace(now, most={**now.most, name: most})
        else:
            now = replace(now, cells=tuple(_without(now.cells, name)))
        yield now


def _without(cells: Iterable[Cell], name: str) -> Iterator[Cell]:
    for cell in cells:
        shorter = column_named(_SHORTER[name]) if name in _SHORTER else None
        if cell.column.name != name:
            yield cell
        elif shorter is not None:
            yield replace(cell, column=shorter)


_SHORTER: Mapping[str, str] = MappingProxyType({"state": "statecompact"})
_CONCESSIONS = (
    *(("partition", 0), ("gputype", 0), ("generation", 0), ("kind", 0), ("account", 12)),
    *(("name", 16), ("endtime", 0), ("progress", 0), ("numnodes", 0), ("name", 10)),
    *(("username", 8), ("account", 0), ("username", 0), ("state", 0), ("timeused", 0)),
    *(("starttime", 0), ("deadline", 0), ("gpus", 0), ("name", 6)),
)
"""Columns in the order in which they give way: to so many characters, or 0 for left out (in favour
of the `_SHORTER` one, if there is one)."""


def _widths(texts: _Texts, chosen: _Attempt, *, on_terminal: bool) -> list[int]:
    """The width of each column; on a terminal nobody's name pushes others out of sight."""
    widths = []
    for number, cell in enumerate(chosen.cells):
        column = texts.of(cell.column, bars=chosen.bars)
        fitting = max((printing.width(text) for text, _ in column), default=0)
        if on_terminal and number < len(chosen.cells) - 1:
            fitting = min(fitting, chosen.most.get(cell.column.name, WIDEST))
        widths.append(fitting if cell.width is None else cell.width)
    return widths


def _shown(column: Column, job: JobView, look: Look) -> _Text:
    """A cell's text and tone. Whatever a row holds, it spoils no more than its own cell."""
    try:
        return printing.printable(column.text(job, look)), column.tone(job)
    except Exception:  # a value that nothing can show
        return "?", Tone.PLAIN


def _line(
    row: Sequence[_Text],
    cells: Sequence[Cell],
    widths: Sequence[int],
    paint: Paint,
    limit: int | None,
) -> str:
    line, used = "", 0
    last = len(cells) - 1
    for number, ((text, tone), cell, size) in enumerate(zip(row, cells, widths, strict=True)):
        right = cell.column.right if cell.right is None else cell.right
        padded = printing.cut(text, size)
        blank = " " * (size - printing.width(padded))
        if right:
            padded = blank + padded
        elif number < last:
            padded += blank
        if limit is not None and used + printing.width(padded) > limit:
            padded = printing.cut(padded, max(0, limit - used - 1)) + "…" if used < limit else ""
        gap = cell.gap if number < last else cell.gap.rstrip()
        line += paint(padded, tone) + gap
        used += printing.width(padded) + len(gap)
    return line.rstrip()
