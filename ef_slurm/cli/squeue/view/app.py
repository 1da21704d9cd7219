"""The full-screen view. It waits for nobody: what is asked comes when it comes."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import tzinfo
from functools import partial
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, Input, Static
from textual.worker import Worker

from ef_slurm.cli.common.tone import Tone
from ef_slurm.cli.squeue.choice import Found, SortKey
from ef_slurm.cli.squeue.columns import Look
from ef_slurm.cli.squeue.layouts import Cell, Layout
from ef_slurm.cli.squeue.listing import look_at
from ef_slurm.cli.squeue.table import Fitted, fitted
from ef_slurm.cli.squeue.view.screen_rows import Picking
from ef_slurm.cli.squeue.view.source import Source
from ef_slurm.formats import printing
from ef_slurm.formats.job_story import lines
from ef_slurm.formats.printing import printable
from ef_slurm.formats.times import format_time_of_day
from ef_slurm.model import JobView

T = TypeVar("T")

_STYLES = {Tone.GOOD: "green", Tone.WARN: "yellow", Tone.BAD: "bold red", Tone.DIM: "dim"}
_SHORT_SCREEN = 30
"""Lines; on a shorter screen the lower part has less of it."""


class Pane(enum.Enum):
    """What the lower part shows of the job under the cursor."""

    STORY = "story"
    LOG = "log"
    NONE = "none"


class QueueApp(App[None]):
    """The queue, and below it the story or the log of one job.

    Args:
        source: answers.
        layout, order: the columns, and what it is sorted by at first.
        zone: for local times.
        seconds: between two looks at the queue.
    """

    CSS = """
    Screen { layers: base; }
    #status { height: 1; background: $panel; color: $text; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    #filter.shown { display: block; }
    #jobs { height: 1fr; }
    #detail { height: 45%; border-top: solid $panel; }
    #detail.hidden { display: none; }
    .short #detail { height: 38%; }
    #text { width: 100%; padding: 0 1; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "no_filter", "All", show=False),
        Binding("s", "sort", "Sort"),
        Binding("r", "turn", "Reverse"),
        Binding("e", "pane('story')", "Story"),
        Binding("l", "pane('log')", "Log"),
        Binding("f", "refresh", "Refresh", show=False),
    ]

    def __init__(
        self,
        source: Source,
        layout: Layout,
        order: Sequence[SortKey],
        zone: tzinfo,
        seconds: float,
    ) -> None:
        super().__init__()
        self._source = source
        self._layout = layout
        self._zone = zone
        self._seconds = seconds
        self._picking = Picking.of_order(order)
        self._pane = Pane.STORY
        self._found: Found | None = None
        self._shown: Sequence[JobView] = ()
        self._drawn: object = None
        self._problem = ""

    def compose(self) -> ComposeResult:
        """The parts, from above."""
        yield Static(id="status", markup=False)
        yield Input(placeholder="words: id, name, user, state, node; Enter keeps them", id="filter")
        table: DataTable[Text] = DataTable(
            id="jobs", cursor_type="row", cell_padding=0, zebra_stripes=False
        )
        yield table
        with VerticalScroll(id="detail"):
            yield Static(id="text", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Look at once, and then every so often."""
        self._table.focus()
        self._look()
        self.set_interval(self._seconds, self._look)

    # Asking

    def _look(self) -> None:
        # Not as coroutines: one that is given up before it has begun would complain.
        _: Worker[None] = self.run_worker(self._ask_for_jobs, group="jobs", exclusive=True)
        self._follow()

    async def _ask_for_jobs(self) -> None:
        found = await self._answer(self._source.jobs)
        if found is not None:
            self._found = found
            self._draw()
        self._draw_status()

    def _follow(self) -> None:
        """Ask for the story or the log of the job under the cursor."""
        job = self._current
        if self._pane is not Pane.NONE and job is not None:
            ask = self._ask_for_story if self._pane is Pane.STORY else self._ask_for_log
            work = partial(ask, job.job_id)
            _: Worker[None] = self.run_worker(work, group="detail", exclusive=True)
        elif job is None:
            self._show_text([])

    async def _ask_for_story(self, job_id: int) -> None:
        story = await self._answer(lambda: self._source.story(job_id))
        if story is not None and self._is_current(job_id, Pane.STORY):
            self._show_text(lines(story, time.time(), self._zone, everything=False))

    async def _ask_for_log(self, job_id: int) -> None:
        log = await self._answer(lambda: self._source.log(job_id))
        if log is not None and self._is_current(job_id, Pane.LOG):
            at_end = self._detail.is_vertical_scroll_end  # else somebody reads further above
            heading = [] if log.path is None else [f"== {log.path} =="]
            self._show_text([*heading, *log.lines, *([log.problem] if log.problem else [])])
            if at_end:
                self.call_after_refresh(self._detail.scroll_end, animate=False)

    async def _answer(self, ask: Callable[[], Future[T]]) -> T | None:
        """What comes, or None, and the problem is told on the first line."""
        try:
            answer: Awaitable[T] = asyncio.wrap_future(ask())
            found = await answer
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the screen stays, whatever the daemon or Slurm says
            self._problem = str(error)
            self._draw_status()
            return None
        self._problem = ""
        return found

    # Drawing

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one("#jobs", DataTable)

    @property
    def _detail(self) -> VerticalScroll:
        return self.query_one("#detail", VerticalScroll)

    @property
    def _current(self) -> JobView | None:
        row = self._table.cursor_row
        return self._shown[row] if 0 <= row < len(self._shown) else None

    def _is_current(self, job_id: int, pane: Pane) -> bool:
        job = self._current
        return self._pane is pane and job is not None and job.job_id == job_id

    def _draw(self) -> None:
        """The table, if anything in it has changed; the cursor stays on its job."""
        if self._found is None:
            return
        look: Look = look_at(self._found.jobs, bars=True)
        jobs = self._picking.of(self._found.jobs.jobs, look)
        width = max(20, self.size.width - 2)  # without the scroll bar
        table = fitted(jobs, self._layout, look, heading=True, width=width)
        ids = [job.job_id for job in jobs]
        before = self._current
        self._shown = jobs
        drawn = (ids, table, width, self._picking)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        widget, shown = self._table, _that_fit(table, width)
        scrolled = widget.scroll_offset
        with self.batch_update():
            widget.clear(columns=True)
            for cell, size, texts in shown:
                name = cell.column.name
                style = "bold reverse" if name == self._picking.by else "bold"
                heading = Text(printing.cut(texts[0][0], size), style)
                widget.add_column(heading, width=size + 1, key=name)
            for place, job_id in enumerate(ids, start=1):
                row = (_cell(cell.column.right, size, texts[place]) for cell, size, texts in shown)
                widget.add_row(*row, key=str(job_id))
            if before is not None and before.job_id in ids:
                widget.move_cursor(row=ids.index(before.job_id), animate=False, scroll=False)
            widget.scroll_to(y=scrolled.y, animate=False)
        if self._current is not None and before is None:
            self._follow()

    def _draw_status(self) -> None:
        words = []
        if self._found is not None:
            words.append(format_time_of_day(self._found.jobs.now, self._zone))
            all_jobs = len(self._found.jobs.jobs)
            shown = len(self._shown)
            words.append(f"{shown} jobs" if shown == all_jobs else f"{shown} of {all_jobs} jobs")
        order = " (reversed)" if self._picking.descending else ""
        words.append(f"by {self._picking.by}{order}")
        if self._picking.words:
            words.append(f"with {self._picking.words!r}")
        text = Text(printable("  ".join(words)))
        problems = (self._problem, *(self._found.problems if self._found else ()))
        for problem in filter(None, problems):
            text.append(f"  {printable(problem)}", _STYLES[Tone.BAD])
        self.query_one("#status", Static).update(text)

    def _show_text(self, told: Iterable[str]) -> None:
        text = Text("\n".join(printable(line) for line in told))
        self.query_one("#text", Static).update(text)

    # What is typed

    def on_resize(self) -> None:
        """Columns give way, or come back."""
        self.screen.set_class(self.size.height < _SHORT_SCREEN, "short")
        self.call_after_refresh(self._draw)

    @on(DataTable.RowHighlighted)
    def _moved(self) -> None:
        self._follow()

    @on(DataTable.HeaderSelected)
    def _sorted_by(self, event: DataTable.HeaderSelected) -> None:
        if event.column_key.value is not None:
            self._pick(self._picking.by_column(event.column_key.value))

    def _pick(self, picking: Picking) -> None:
        self._picking = picking
        self._draw()
        self._draw_status()

    def action_sort(self) -> None:
        """By the next column."""
        self._pick(self._picking.next_column())

    def action_turn(self) -> None:
        """The other way round."""
        self._pick(self._picking.turned())

    def action_refresh(self) -> None:
        """Look now."""
        self._look()

    def action_pane(self, name: str) -> None:
        """Show the story or the log; the same again: neither."""
        pane = Pane(name)
        self._pane = Pane.NONE if pane is self._pane else pane
        self._detail.set_class(self._pane is Pane.NONE, "hidden")
        self._show_text([])
        self._detail.scroll_home(animate=False)
        self._follow()

    def action_filter(self) -> None:
        """Type words."""
        field = self.query_one("#filter", Input)
        field.add_class("shown")
        field.focus()

    def action_no_filter(self) -> None:
        """All jobs again."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.remove_class("shown")
        self._table.focus()

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        self._pick(replace(self._picking, words=event.value))

    @on(Input.Submitted, "#filter")
    def _entered(self) -> None:
        field = self.query_one("#filter", Input)
        field.set_class(bool(field.value), "shown")
        self._table.focus()


def _that_fit(table: Fitted, width: int) -> list[tuple[Cell, int, Sequence[tuple[str, Tone]]]]:
    """The columns, each with its width, for which there is room; the last of them may be cut."""
    found = []
    for cell, size, texts in zip(table.cells, table.widths, table.columns, strict=True):
        if width < 2:
            break
        size = max(1, min(size, width - 1))
        found.append((cell, size, texts))
        width -= size + 1
    return found


def _cell(right: bool, size: int, text: tuple[str, Tone]) -> Text:
    """A cell. Its text is never read as markup, and takes no more than its width."""
    words, tone = text
    shown = printing.cut(words, size)
    blank = " " * max(0, size - printing.width(shown)) if right else ""
    return Text(blank + shown, _STYLES.get(tone, ""), no_wrap=True, end="")
