"""A site's own history: the export of `sacct --parsable2`.

The export is made with

    sacct --allusers --allocations --duplicates --parsable2 --starttime=2026-09-01 \\
          --endtime=2026-10-01 --format=JobID,Submit,Start,End,Timelimit,ReqTRES,AllocTRES,State

Columns may stand in any order and others are ignored. Needed are `JobID` (or `JobIDRaw`), `Submit`,
`Start`, `End` and `AllocTRES` or `ReqTRES`; `Timelimit` (or `TimelimitRaw`, minutes) is used by the
plain-Slurm comparison.

Rows that say nothing about a training run are left out, and counted by reason: job steps, jobs
without GPUs, jobs that never started or have not ended, runs of no length and times out of order.
Of a requeued job's rows (the same JobID again) the last run counts, with the first submission.

Times are Slurm's ISO form in the local zone of this machine (set TZ if the export comes from
elsewhere), or epoch seconds (`SLURM_TIME_FORMAT=%s`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from ef_slurm.formats.delimited import Row, TableFile
from ef_slurm.formats.durations import DurationError, parse_minutes, parse_time_limit
from ef_slurm.formats.times import InstantError, parse_slurm_time
from ef_slurm.formats.zone import local_zone

_NO_TRES = {"", "Unknown", "None", "N/A", "NONE", "unknown"}
_GPU = re.compile(r"gres/gpu(?::[^=]+)?=(\d+)", re.A)
_GPU_TOTAL = re.compile(r"(?:^|,)gres/gpu=(\d+)", re.A)

STEP = "job steps"
DUPLICATE = "earlier runs of requeued jobs"
NO_GPUS = "no GPUs"
NEVER_STARTED = "never started"
NOT_ENDED = "not ended yet"
NO_LENGTH = "runs of no length"
OUT_OF_ORDER = "times out of order (clock changes)"


@dataclass(frozen=True, slots=True)
class SiteJob:
    """One GPU job of the past.

    Args:
        id: Slurm's.
        submitted: UTC epoch seconds, as are the next two.
        started: of its last run.
        ended: of its last run.
        gpus: that it had.
        time_limit: seconds; None for none.
    """

    id: str
    submitted: float
    started: float
    ended: float
    gpus: int
    time_limit: float | None

    @property
    def run_seconds(self) -> float:
        """How long it ran."""
        return self.ended - self.started


@dataclass(frozen=True, slots=True)
class History:
    """The GPU jobs of an export, and how many rows were left out for which reason."""

    jobs: tuple[SiteJob, ...]
    left_out: dict[str, int]


def read_sacct(file: Path) -> History:
    """Reads an export.

    Args:
        file: made with the command of this module; local times are of this process's zone.

    Raises:
        InputError: with every problem found.
    """
    table = TableFile(file, delimiter="|")
    reader = _Reader(table)
    table.check()
    jobs: dict[str, SiteJob] = {}
    left_out: Counter[str] = Counter()
    for row in table.rows():
        job = reader.job(row)
        if isinstance(job, str):
            left_out[job] += 1
        elif job is not None:
            earlier = jobs.pop(job.id, None)
            if earlier is not None:
                left_out[DUPLICATE] += 1
                first = min(earlier.submitted, job.submitted)
                job = replace(max(earlier, job, key=lambda one: one.started), submitted=first)
            jobs[job.id] = job
    if not jobs and not table.problems:
        table.complain(None, None, f"holds no finished GPU jobs; left out: {_reasons(left_out)}")
    table.check()
    return History(tuple(sorted(jobs.values(), key=lambda job: job.submitted)), dict(left_out))


def _reasons(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "nothing"


class _Reader:
    """Turns rows into jobs."""

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

    def job(self, row: Row) -> SiteJob | str | None:
        """The job, or the reason why the row is left out, or None for a row with problems."""
        job_id = row.cells[self._id]
        if not job_id:
            self._table.complain(row.line, self._id, "is empty")
            return None
        if "." in job_id:
            return STEP
        gpus = self._gpus(row)
        if gpus == 0:
            return NO_GPUS
        submitted = self._time(row, self._submit)
        started = self._time(row, self._start)
        ended = self._time(row, self._end)
        if submitted is None or started is None or ended is None:
            return None
        if math.isinf(started):
            return NEVER_STARTED
        if math.isinf(ended):
            return NOT_ENDED
        if math.isinf(submitted):
            self._table.complain(row.line, self._submit, "is unknown, but the job has run")
            return None
        limit = self._limit(row)
        if limit is None:
            return None
        if not submitted <= started <= ended:
            return OUT_OF_ORDER
        if ended == started:
            return NO_LENGTH
        known = None if math.isinf(limit) else limit
        return SiteJob(job_id, submitted, started, ended, gpus, known)

    def _column(self, *names: str) -> str:
        for name in names:
            if name in self._table.columns:
                return name
        self._table.complain(self._table.header_line, names[0], "is missing from the header")
        return names[0]

    def _gpus(self, row: Row) -> int:
        for column in self._tres:
            text = row.cells[column]
            if text in _NO_TRES:
                continue
            total = _GPU_TOTAL.search(text)
            if total:
                return int(total[1])
            return sum(int(count) for count in _GPU.findall(text))
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
