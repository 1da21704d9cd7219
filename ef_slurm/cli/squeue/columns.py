"""The columns of ef-squeue, and how a table of them is written.

Columns are chosen as squeue's are: `%` letters with widths (`-o "%.8i %j"`) or names
(`-O jobid,name:20`). Where squeue has the same letter or name, it means the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.state_dirs import bytes_held
from ef_slurm.cli.common.tone import Tone
from ef_slurm.formats import printing
from ef_slurm.formats.durations import format_duration
from ef_slurm.formats.finishes import finish_for_table, shown_slack
from ef_slurm.formats.hostlist import compress
from ef_slurm.formats.sentences import begin_words, gpus
from ef_slurm.formats.sizes import format_bytes
from ef_slurm.formats.times import format_for_table
from ef_slurm.model import FINAL, JobState, JobView, PromiseOutcome, PromiseState, slack_seconds

BAR_CELLS = 10

WIDEST = 40
"""Characters that a column takes of a terminal at most, unless its width is given."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the cells need to know beside the job.

    Args:
        now: the time of the answer.
        zone: for local times.
        bars: whether progress is drawn (on a terminal).
        reason: the sentence of why the job has the share that it has.
    """

    now: float
    zone: tzinfo
    bars: bool
    reason: Callable[[JobView], str]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: how it is asked for, its heading, and its text for a job."""

    letter: str
    name: str
    heading: str
    text: Callable[[JobView, Look], str]
    tone: Callable[[JobView], Tone] = lambda _: Tone.PLAIN
    right: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A column in a layout; `width` None fits the widest text."""

    column: Column
    width: int | None = None
    right: bool | None = None
    gap: str = " "


def slack(job: JobView, now: float) -> float | None:
    """Seconds between the predicted (or real) finish and the deadline; negative when too late."""
    if job.deadline is None:
        return None
    if job.state is JobState.COMPLETED and job.ended is not None:
        return slack_seconds(job.ended, job.deadline)
    if job.state in FINAL:
        return None
    return None if job.finish is None else slack_seconds(max(job.finish, now), job.deadline)


MEASURING = "MEASURING"
"""What a job is called that trains, or waits to, before it can be judged."""


def state_word(job: JobView) -> str:
    """Its state in one word."""
    if job.measuring is not None and job.state is not JobState.HELD:
        return MEASURING
    return job.state.value.upper()


def measuring_words(job: JobView) -> str:
    """How far its measuring has come: "measured 1 of 2 sizes, waits for 4 GPUs"; or ""."""
    measuring = job.measuring
    if measuring is None:
        return ""
    missing = [size for size in measuring.wanted if size not in dict(measuring.rates)]
    told = f"measured {len(measuring.rates)} of {len(measuring.rates) + len(missing)} sizes"
    if job.share or not measuring.wanted:
        return told
    return f"{told}, waits for {gpus(measuring.wanted[0])}"


def promise_word(job: JobView) -> str:
    """The state of the promise in one word; `BROKEN(cluster)` says whose doing it was."""
    outcome, fault = job.promise_outcome, job.promise_fault
    if outcome is not None and outcome is not PromiseOutcome.OPEN:
        whose = "" if fault is None else f"({fault.value})"
        return f"{outcome.value.upper()}{whose}"
    if job.state in FINAL:
        return "-"
    if job.state is JobState.WAITLISTED:
        return "WAITLISTED"
    return "-" if job.promise is PromiseState.NONE else job.promise.value.upper()


def done(job: JobView) -> float:
    """The part of the iterations that is done, 0 to 1; 0 while nobody knows how many there are."""
    if job.iterations is None:
        return 0.0
    return min(1.0, max(0.0, job.iteration / job.iterations))


def _progress(job: JobView, look: Look) -> str:
    if job.iterations is None:
        return "-"
    share = done(job)
    percent = f"{math.floor(100 * share):3d}%"
    if not look.bars:
        return percent.strip()
    eighths = round(share * BAR_CELLS * 8)
    full, part = divmod(eighths, 8)
    bar = "█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")
    return f"{bar:░<{BAR_CELLS}} {percent}"


def _iterations(job: JobView, _look: Look) -> str:
    return "-" if job.iterations is None else str(job.iterations)


def _finish(job: JobView, look: Look) -> str:
    at = job.ended if job.state in FINAL else job.finish
    return "-" if at is None else finish_for_table(at, job.deadline, look.now, look.zone)


def _time(at: float | None, look: Look) -> str:
    return "-" if at is None else format_for_table(at, look.now, look.zone)


def _slack(job: JobView, look: Look) -> str:
    left = slack(job, look.now)
    return "-" if left is None else format_duration(shown_slack(left))


def _elapsed(job: JobView, look: Look) -> str:
    if job.started is None:
        return "0:00"
    return format_duration((look.now if job.ended is None else job.ended) - job.started)


def _where(job: JobView, look: Look) -> str:
    if job.nodes:
        words = measuring_words(job) if job.measuring else job.note
        return f"{compress(job.nodes)} ({words})" if words else compress(job.nodes)
    if job.state in FINAL:
        return f"({job.note})" if job.note else ""
    if job.measuring is not None:
        if job.begin is not None and job.begin > look.now:
            return f"({begin_words(job.begin)})"
        return f"({measuring_words(job)})"
    return f"({look.reason(job)})"


def _promise_tone(job: JobView) -> Tone:
    if job.promise_outcome is PromiseOutcome.BROKEN:
        return Tone.BAD
    if job.promise_outcome in (PromiseOutcome.KEPT, PromiseOutcome.KEPT_IN_GRACE):
        return Tone.GOOD
    tones = {
        PromiseState.SAFE: Tone.GOOD,
        PromiseState.IN_GRACE: Tone.WARN,
        PromiseState.AT_RISK: Tone.BAD,
    }
    return tones.get(job.promise, Tone.PLAIN)


_STATE_TONES = {
    JobState.RUNNING: Tone.GOOD,
    JobState.STARTING: Tone.GOOD,
    JobState.FAILED: Tone.BAD,
    JobState.LOST: Tone.BAD,
    JobState.REJECTED: Tone.BAD,
    JobState.HELD: Tone.WARN,
    JobState.WAITLISTED: Tone.WARN,
    JobState.COMPLETED: Tone.DIM,
    JobState.CANCELLED: Tone.DIM,
}


def _state_size(job: JobView, _: Look) -> str:
    """What lies in its state directory, as far as whoever asks may look."""
    held = bytes_held(Path(job.state_dir))
    return "-" if held is None else format_bytes(held)


COLUMNS = (
    Column("i", "jobid", "JOBID", lambda job, _: str(job.job_id), right=True),
    Column("j", "name", "NAME", lambda job, _: job.name),
    Column("u", "username", "USER", lambda job, _: job.owner),
    Column("a", "account", "ACCOUNT", lambda job, _: job.account or "-"),
    Column("P", "partition", "PARTITION", lambda job, _: job.partition or "-"),
    Column(
        "T",
        "state",
        "STATE",
        lambda job, _: state_word(job),
        lambda job: Tone.WARN if job.measuring else _STATE_TONES.get(job.state, Tone.PLAIN),
    ),
    Column("k", "kind", "KIND", lambda job, _: job.kind.value),
    Column("b", "gpus", "GPUS", lambda job, _: str(job.share), right=True),
    Column("m", "gputype", "GPU_TYPE", lambda job, _: job.gpu_type or "-"),
    Column("E", "deadline", "DEADLINE", lambda job, look: _time(job.deadline, look)),
    Column("e", "endtime", "FINISH", _finish),
    Column("L", "slack", "SLACK", _slack, _promise_tone, right=True),
    Column("p", "progress", "PROGRESS", _progress),
    Column("I", "iteration", "ITERATION", lambda job, _: f"{job.iteration:.0f}", right=True),
    Column("n", "iterations", "ITERATIONS", _iterations, right=True),
    Column(
        "v",
        "rate",
        "ITER/S",
        lambda job, _: "-" if job.rate is None else f"{job.rate:.3g}",
        right=True,
    ),
    Column("q", "promise", "PROMISE", lambda job, _: promise_word(job), _promise_tone),
    Column(
        "f",
        "fault",
        "FAULT",
        lambda job, _: "-" if job.promise_fault is None else job.promise_fault.value,
    ),
    Column("V", "submittime", "SUBMIT_TIME", lambda job, look: _time(job.submitted, look)),
    Column("S", "starttime", "START_TIME", lambda job, look: _time(job.started, look)),
    Column("M", "timeused", "TIME", _elapsed, right=True),
    Column("D", "numnodes", "NODES", lambda job, _: str(len(job.nodes)), right=True),
    Column("N", "nodelist", "NODELIST", lambda job, _: compress(job.nodes) if job.nodes else ""),
    Column("R", "reasonlist", "NODELIST(REASON)", _where),
    Column("r", "reason", "REASON", lambda job, look: look.reason(job)),
    Column("g", "generation", "STARTS", lambda job, _: str(job.generation), right=True),
    Column("x", "reshapes", "RESHAPES", lambda job, _: str(job.reshapes), right=True),
    Column("Z", "statedir", "STATE_DIR", lambda job, _: job.state_dir),
    Column("B", "statesize", "STATE_SIZE", _state_size, right=True),
)

_BY_LETTER = {column.letter: column for column in COLUMNS}
_BY_NAME = {column.name: column for column in COLUMNS}

DEFAULT_FORMAT = "%i %j %u %T %b %p %E %e %L %q %R"


def parse_letters(text: str) -> list[Cell]:
    """The layout of `%[[.]WIDTH]LETTER` fields with text between them (squeue(1), --format).

    Raises:
        UsageError: an unknown letter, or no field at all.
    """
    cells: list[Cell] = []
    for dot, width, letter, gap in re.findall(r"%(\.?)(\d*)([A-Za-z])([^%]*)", text):
        column = _BY_LETTER.get(letter)
        if column is None:
            known = ", ".join(f"%{c.letter} {c.name}" for c in COLUMNS)
            raise UsageError(f"--format: %{letter} is not known; there is {known}")
        cells.append(Cell(column, int(width) if width else None, True if dot else None, gap or " "))
    if not cells:
        raise UsageError(f"--format={text}: no %LETTER in it; the default is {DEFAULT_FORMAT!r}")
    return cells


def parse_names(text: str) -> list[Cell]:
    """The layout of `name[:[.]width]` fields (squeue(1), --Format).

    Raises:
        UsageError: an unknown name or a width that is no number.
    """
    cells = []
    for field in text.split(","):
        name, _, width = field.strip().lower().partition(":")
        column = _BY_NAME.get(name)
        if column is None:
            known = ", ".join(column.name for column in COLUMNS)
            raise UsageError(f"--Format: {name!r} is not known; there is {known}")
        digits = width.removeprefix(".")
        if width and not digits.isdecimal():
            raise UsageError(f"--Format: {field.strip()!r}: the width is no number")
        right = True if width.startswith(".") else None
        cells.append(Cell(column, int(digits) if digits else None, right))
    return cells


Paint = Callable[[str, Tone], str]


def table(
    jobs: Sequence[JobView],
    cells: Sequence[Cell],
    look: Look,
    *,
    heading: bool,
    paint: Paint,
    width: int | None = None,
) -> Iterable[str]:
    """The lines of the table, cut to `width` characters (None: never)."""
    rows = [[_shown(cell, job, look) for cell in cells] for job in jobs]
    heads = [(cell.column.heading, Tone.PLAIN) for cell in cells]
    widths = []
    for number, cell in enumerate(cells):
        texts = [row[number][0] for row in rows] + ([heads[number][0]] if heading else [])
        fitting = max(map(printing.width, texts), default=0)
        # On a terminal nobody's name pushes the other columns out of sight.
        most = fitting if width is None or number == len(cells) - 1 else WIDEST
        widths.append(min(fitting, most) if cell.width is None else cell.width)
    for row in [heads, *rows] if heading else rows:
        yield _line(row, cells, widths, paint, width)


def _shown(cell: Cell, job: JobView, look: Look) -> tuple[str, Tone]:
    """A cell's text and tone. Whatever a row holds, it spoils no more than its own cell."""
    try:
        return printing.printable(cell.column.text(job, look)), cell.column.tone(job)
    except Exception:  # a value that nothing can show
        return "?", Tone.PLAIN


def _line(
    row: Sequence[tuple[str, Tone]],
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
