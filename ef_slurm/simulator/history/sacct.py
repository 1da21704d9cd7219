"""A site's own history: the export of `sacct --parsable2`.

The export is made with

    sacct --allusers --allocations --duplicates --parsable2 --starttime=2026-09-01 \\
          --endtime=2026-10-01 --format=JobID,Submit,Start,End,Timelimit,ReqTRES,AllocTRES,State

Columns may stand in any order and others are ignored. Needed are `JobID` (or `JobIDRaw`), `Submit`,
`Start`, `End` and `AllocTRES` or `ReqTRES`; `State` tells runs that were cut and crashes apart from
trainings; `Timelimit` (or `TimelimitRaw`, minutes) is used by the plain-Slurm comparison; with
`Cluster` the ids of several clusters are kept apart. `--parsable` and `--delimiter` are read, too.

sacct never quotes. A job name may hold the delimiter, quotes, line breaks and any bytes. They do no
harm where such columns stand together or last: what is too much of a row belongs to them. Rows that
cannot be parted all the same are left out and counted.

Times are Slurm's ISO form in the local zone of this machine (set TZ if the export comes from
elsewhere), or epoch seconds (`SLURM_TIME_FORMAT=%s`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ef_slurm.formats.delimited import Row, TableFile
from ef_slurm.formats.durations import DurationError, parse_minutes, parse_time_limit
from ef_slurm.formats.errors import InputError
from ef_slurm.formats.gres import GresError, gpus_of_tres
from ef_slurm.formats.times import InstantError, parse_slurm_time
from ef_slurm.formats.zone import local_zone
from ef_slurm.simulator.history.records import (
    NO_GPUS,
    STEP,
    History,
    RunEnd,
    SiteRun,
    checked,
    history_of,
)

_NO_TRES = frozenset({"", "unknown", "none", "n/a"})
_FREE_TEXT = frozenset(
    {
        *("jobname", "comment", "admincomment", "systemcomment", "extra", "workdir", "submitline"),
        *("constraints", "container", "stdin", "stdout", "stderr", "stdinexpanded"),
        *("stdoutexpanded", "stderrexpanded"),
    }
)
"""Columns whose text users choose, in lower case."""

_NEEDED = frozenset(
    {
        *("jobid", "jobidraw", "cluster", "submit", "start", "end", "timelimit", "timelimitraw"),
        *("alloctres", "reqtres", "state"),
    }
)
"""Columns that are read, in lower case."""

UNCLEAR = "rows whose free text cannot be told from their columns"

_JOB_ID = re.compile(r"\d+([_+.\[].*)?", re.A | re.S)

_CUT = frozenset({"REQUEUED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED", "RESIZING"})
_FAILED = frozenset({"FAILED", "OUT_OF_MEMORY", "CANCELLED"})
_DONE = frozenset({"COMPLETED", "TIMEOUT", "DEADLINE"})


def run_end(state: str) -> RunEnd:
    """What Slurm's word for a job's state says of its run.

    >>> run_end("CANCELLED by 1000"), run_end("NODE_FAIL")
    (<RunEnd.FAILED: 'failed'>, <RunEnd.CUT: 'cut'>)
    """
    word = state.partition(" ")[0].upper().rstrip("+")
    for words, end in ((_CUT, RunEnd.CUT), (_FAILED, RunEnd.FAILED), (_DONE, RunEnd.DONE)):
        if word in words:
            return end
    return RunEnd.UNKNOWN


def read_sacct(file: Path, delimiter: str | None = None) -> History:
    """Reads an export.

    Args:
        file: made with the command of this module; local times are of this process's zone.
        delimiter: what stands between the columns; None: what stands behind the header's first.

    Raises:
        InputError: with every problem found.
    """
    left_out: Counter[str] = Counter()
    table = TableFile(file, lines=_lines(file, delimiter, left_out))
    reader = _Reader(table)
    table.check()
    runs: list[SiteRun] = []
    for row in table.rows():
        run = reader.run(row)
        if isinstance(run, str):
            left_out[run] += 1
        elif run is not None:
            runs.append(run)
    table.check()
    return history_of(runs, left_out)


class _Reader:
    """Turns rows into runs."""

    def __init__(self, table: TableFile) -> None:
        self._table = table
        self._zone = local_zone()
        self._id = self._column("JobID", "JobIDRaw")
        self._submit = self._column("Submit")
        self._start = self._column("Start")
        self._end = self._column("End")
        self._tres = [name for name in ("AllocTRES", "ReqTRES") if name in table.columns]
        if not self._tres:
            table.complain(table.header_line, "AllocTRES", "is missing, and so is ReqTRES")
        if len(table.columns) == 1:
            table.complain(table.header_line, None, "one column only: was --parsable2 given?")

    def run(self, row: Row) -> SiteRun | str | None:
        """The run, or the reason why the row is left out, or None for a row with problems."""
        job_id = row.cells[self._id]
        if not job_id:
            self._table.complain(row.line, self._id, "is empty")
            return None
        if "." in job_id:
            return STEP
        gpus = self._gpus(row)
        if gpus is None:
            return None
        if gpus == 0:
            return NO_GPUS
        submitted = self._time(row, self._submit)
        started = self._time(row, self._start)
        ended = self._time(row, self._end)
        limit = self._limit(row)
        if submitted is None or started is None or ended is None or limit is None:
            return None
        if math.isinf(submitted) and math.isfinite(started) and math.isfinite(ended):
            self._table.complain(row.line, self._submit, "is unknown, but the job has run")
            return None
        cluster = row.cells.get("Cluster", "")
        return checked(
            SiteRun(
                f"{cluster}/{job_id}" if cluster else job_id,
                submitted,
                started,
                ended,
                gpus,
                None if math.isinf(limit) else limit,
                run_end(row.cells.get("State", "")),
            )
        )

    def _column(self, *names: str) -> str:
        for name in names:
            if name in self._table.columns:
                return name
        self._table.complain(self._table.header_line, names[0], "is missing from the header")
        return names[0]

    def _gpus(self, row: Row) -> int | None:
        for column in self._tres:
            text = row.cells[column]
            if text.lower() in _NO_TRES:
                continue
            try:
                return sum(one.count for one in gpus_of_tres(text))
            except GresError as error:
                self._table.complain(row.line, column, str(error))
                return None
        return 0

    def _time(self, row: Row, column: str) -> float | None:
        """Epoch seconds, infinite for unknown, None (and a problem) for anything else."""
        try:
            instant = parse_slurm_time(row.cells[column], self._zone)
        except InstantError as error:
            self._table.complain(row.line, column, str(error))
            return None
        return math.inf if instant is None else instant

    def _limit(self, row: Row) -> float | None:
        """Seconds, infinite for none, None (and a problem) for anything else."""
        minutes = parse_minutes(row.cells.get("TimelimitRaw", ""))
        if minutes is not None:
            return minutes
        text, column = row.cells.get("Timelimit", ""), "Timelimit"
        try:
            limit = parse_time_limit(text)
        except DurationError as error:
            self._table.complain(row.line, column, str(error))
            return None
        return math.inf if limit is None else limit


def _lines(
    file: Path, delimiter: str | None, left_out: Counter[str]
) -> list[tuple[int, list[str]]]:
    """(Line number, cells) of the header and of every row that can be parted.

    Raises:
        InputError: the file cannot be read, or is empty.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise InputError.one(file, f"cannot be read: {error.strerror or error}") from None
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    if not lines:
        raise InputError.one(file, "the file is empty: a header line is needed")
    header_line, header = lines[0]
    if delimiter is None:
        found = re.match(r"\s*\w+([^\w ]+)\w", header)
        delimiter = found[1] if found else "|"
    columns = header.split(delimiter)
    # `--parsable` ends every line with a delimiter.
    ends = not columns[-1].strip() and len(columns) > 1
    if ends:
        columns.pop()
    rows = _Rows([name.strip().lower() for name in columns], delimiter, ends)
    parted = list(rows.of(lines[1:]))
    if not rows.has_free_text:
        return [(header_line, columns), *parted]
    whole = [(line, cells) for line, cells in parted if len(cells) == len(columns)]
    left_out[UNCLEAR] += len(parted) - len(whole)
    return [(header_line, columns), *whole]


class _Rows:
    """Rows out of lines, where free text may hold delimiters and line breaks.

    Args:
        columns: the header, in lower case.
        delimiter: between cells.
        ends: whether every row ends with one.
    """

    def __init__(self, columns: list[str], delimiter: str, ends: bool) -> None:
        self._delimiter = delimiter
        self._ends = ends
        self._width = len(columns)
        free = [place for place, name in enumerate(columns) if name in _FREE_TEXT]
        self.has_free_text = bool(free)
        self._free: range | None = None
        if free:
            together = range(free[0], free[-1] + 1)
            if not any(columns[place] in _NEEDED for place in together):
                self._free = together
        ids = [place for place, name in enumerate(columns) if name in ("jobid", "jobidraw")]
        self._id = ids[0] if ids else None

    def of(self, lines: list[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
        """(Number of its first line, cells) of every row."""
        first, text = 0, ""
        for number, line in lines:
            if not first or self._begins(line, self._is_whole(text)):
                if first:
                    yield first, self._cells(text)
                first, text = number, line
            else:
                text += "\n" + line
        if first:
            yield first, self._cells(text)

    def _begins(self, line: str, is_whole: bool) -> bool:
        """Whether a line begins a row, and does not go on with the row before it."""
        if not self.has_free_text:
            return True
        cells = self._split(line)
        if len(cells) < self._width and not is_whole:
            return False
        if self._id is None or self._free is None or self._id > self._free.start:
            return is_whole
        return len(cells) > self._id and _JOB_ID.fullmatch(cells[self._id].strip()) is not None

    def _is_whole(self, text: str) -> bool:
        return len(self._split(text)) >= self._width

    def _cells(self, text: str) -> list[str]:
        cells = self._split(text)
        extra = len(cells) - self._width
        if extra <= 0 or self._free is None:
            return cells
        first, count = self._free.start, len(self._free)
        end = first + count + extra
        text = self._delimiter.join(cells[first:end])
        return [*cells[:first], text, *[""] * (count - 1), *cells[end:]]

    def _split(self, text: str) -> list[str]:
        if self._ends:
            text = text.rstrip("\n").removesuffix(self._delimiter)
        return text.split(self._delimiter)
