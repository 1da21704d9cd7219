"""Job traces in the published format: one job per row, CSV with a header.

Columns (the second spelling of the published Figure 8(a) trace is read too):

- `submission_time` or `submit_time`: seconds on the trace's clock;
- `num_iteration` or `iteration`: iterations to train;
- `model_name`, `batch_size`: which throughput curve; the batch size is the global one;
- `deadline` or `ddl`: seconds on the trace's clock; may be empty for a best-effort job;
- `num_gpu`, `duration`: what the user asked for and the seconds it took on that many. Optional;
  only policies with fixed sizes need them;
- `job_id`: optional, the row's number otherwise;
- `best_effort`: optional, 1 for a job without a deadline;
- `grace`: optional, seconds by which the deadline may be missed; empty or 0: it may not;
- `account`: optional, whose the job is.

Other columns are ignored. Rows may stand in any order: they are sorted by submission (stably), and
the number of rows that were out of order is kept for the report. Everything else that is wrong is
an error that names file, line and column, a deadline not later than the submission included.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ef_slurm.formats.delimited import Row, TableFile
from ef_slurm.formats.errors import InputError
from ef_slurm.formats.throughput import ThroughputTables
from ef_slurm.model import JobKind, ThroughputCurve

COLUMNS = (
    "job_id",
    "submission_time",
    "num_iteration",
    "model_name",
    "deadline",
    "batch_size",
    "num_gpu",
    "duration",
    "best_effort",
    "grace",
    "account",
)
_SPELLINGS = {"submit_time": "submission_time", "iteration": "num_iteration", "ddl": "deadline"}
_REQUIRED = ("submission_time", "num_iteration", "model_name", "deadline", "batch_size")


@dataclass(frozen=True, slots=True)
class TraceJob:
    """One job of a trace. Times are seconds on the trace's clock.

    Args:
        id: unique in the trace.
        submitted: when it arrives.
        iterations: of the whole training.
        model: whose throughput curve it has.
        batch_size: the global one.
        curve: iterations/s by number of GPUs.
        deadline: None for a best-effort job.
        requested_gpus: what its user asked for; None where the trace does not say.
        duration: seconds on that many; None where the trace does not say.
        time_limit: seconds, from a site's accounting; None for none.
        curves: the same as `curve` by GPU type, where the cluster has several; a type that is
            missing cannot run the job.
        grace: seconds by which a soft deadline may be missed.
        account: whose it is; "" where the trace does not say.
    """

    id: str
    submitted: float
    iterations: float
    model: str
    batch_size: int
    curve: ThroughputCurve
    deadline: float | None
    requested_gpus: int | None = None
    duration: float | None = None
    time_limit: float | None = None
    curves: tuple[tuple[str, ThroughputCurve], ...] = ()
    grace: float = 0.0
    account: str = ""

    def curve_on(self, gpu_type: str) -> ThroughputCurve | None:
        """Iterations/s on GPUs of a type; None where it cannot run on them."""
        return dict(self.curves).get(gpu_type) if self.curves else self.curve

    @property
    def kind(self) -> JobKind:
        """What its deadline means to it."""
        if self.deadline is None:
            return JobKind.BEST_EFFORT
        return JobKind.SOFT_DEADLINE if self.grace else JobKind.DEADLINE

    @property
    def key(self) -> tuple[str, int]:
        """(Model, global batch size): jobs of one key have one throughput curve."""
        return self.model, self.batch_size


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace.

    Args:
        name: for reports.
        jobs: by submission.
        unsorted_rows: how many stood out of order in the file.
    """

    name: str
    jobs: tuple[TraceJob, ...]
    unsorted_rows: int = 0


def make_trace(name: str, jobs: Iterable[TraceJob]) -> Trace:
    """A trace of jobs in any order."""
    given = list(jobs)
    unsorted_rows = 0
    latest = float("-inf")
    for job in given:
        unsorted_rows += job.submitted < latest
        latest = max(latest, job.submitted)
    return Trace(name, tuple(sorted(given, key=lambda job: job.submitted)), unsorted_rows)


def on_types(trace: Trace, tables: Mapping[str, ThroughputTables]) -> Trace:
    """The trace for a cluster of several GPU types.

    Args:
        tables: by GPU type.
    """

    def typed(job: TraceJob) -> TraceJob:
        curves = tuple((kind, known[job.key]) for kind, known in tables.items() if job.key in known)
        return replace(job, curve=curves[0][1], curves=curves)

    return replace(trace, jobs=tuple(typed(job) for job in trace.jobs))


def read_trace(file: Path, tables: ThroughputTables) -> Trace:
    """Reads a trace.

    Args:
        file: CSV, as the module says.
        tables: the curves of its models.

    Raises:
        InputError: with every problem found.
    """
    table = TableFile(file)
    names = {_SPELLINGS.get(column, column): column for column in table.columns}
    if len(names) < len(table.columns):
        both = [c for c in table.columns if c in _SPELLINGS and _SPELLINGS[c] in table.columns]
        for column in both:
            table.complain(table.header_line, column, f"means the same as {_SPELLINGS[column]!r}")
    for column in _REQUIRED:
        if column not in names:
            other = [old for old, new in _SPELLINGS.items() if new == column]
            spelled = f" (or {other[0]!r})" if other else ""
            table.complain(table.header_line, column, f"is missing from the header{spelled}")
    table.check()
    reader = _TraceReader(table, names, tables)
    jobs = [job for number, row in enumerate(table.rows(), 1) if (job := reader.job(number, row))]
    if not jobs and not table.problems:
        table.complain(None, None, "holds a header, but no jobs")
    table.check()
    return make_trace(file.stem, jobs)


class _TraceReader:
    """Turns rows into jobs and notes what is wrong with them."""

    def __init__(self, table: TableFile, names: dict[str, str], tables: ThroughputTables) -> None:
        self._table = table
        self._names = names
        self._tables = tables
        self._seen: dict[str, int] = {}
        self._models = sorted({model for model, _ in tables})

    def job(self, number: int, row: Row) -> TraceJob | None:
        """The row as a job, or None when something is wrong with it."""
        known = len(self._table.problems)
        job_id = self._id(number, row)
        submitted = self._number(row, "submission_time")
        iterations = self._number(row, "num_iteration", above=0.0)
        batch = self._whole(row, "batch_size")
        curve = self._curve(row, batch)
        deadline = self._deadline(row, submitted)
        grace = self._grace(row, deadline)
        requested = self._whole(row, "num_gpu") if self._has(row, "num_gpu") else None
        duration = self._number(row, "duration", above=0.0) if self._has(row, "duration") else None
        if len(self._table.problems) > known:
            return None
        assert submitted is not None
        assert iterations is not None
        assert batch is not None
        assert curve is not None
        model = row.cells[self._names["model_name"]]
        return TraceJob(
            id=job_id,
            submitted=submitted,
            iterations=iterations,
            model=model,
            batch_size=batch,
            curve=curve,
            deadline=deadline,
            requested_gpus=requested,
            duration=duration,
            grace=grace,
            account=self._cell(row, "account"),
        )

    def _id(self, number: int, row: Row) -> str:
        job_id = self._cell(row, "job_id") or str(number)
        first = self._seen.setdefault(job_id, row.line)
        if first != row.line:
            column = self._names.get("job_id")
            self._table.complain(row.line, column, f"{job_id!r} is the id of line {first}, too")
        return job_id

    def _curve(self, row: Row, batch: int | None) -> ThroughputCurve | None:
        column = self._names["model_name"]
        model = row.cells[column]
        batches = sorted(size for name, size in self._tables if name == model)
        if not batches:
            known = ", ".join(self._models)
            self._table.complain(row.line, column, f"no table for model {model!r}; known: {known}")
            return None
        if batch is None:
            return None
        curve = self._tables.get((model, batch))
        if curve is None:
            known = ", ".join(map(str, batches))
            self._table.complain(
                row.line,
                self._names["batch_size"],
                f"the table of {model!r} has no batch size {batch}; it has {known}",
            )
        return curve

    def _deadline(self, row: Row, submitted: float | None) -> float | None:
        flag = self._cell(row, "best_effort") or "0"
        if flag not in ("0", "1"):
            column = self._names["best_effort"]
            self._table.complain(row.line, column, f"{flag!r} is not valid: it must be 0 or 1")
        if flag == "1":
            return None
        deadline = self._number(row, "deadline")
        if deadline is not None and submitted is not None and deadline <= submitted:
            self._table.complain(
                row.line,
                self._names["deadline"],
                f"{deadline:g} is not later than the submission at {submitted:g}",
            )
        return deadline

    def _grace(self, row: Row, deadline: float | None) -> float:
        if not self._has(row, "grace"):
            return 0.0
        grace = self._table.number(row, self._names["grace"], low=0.0)
        if grace and deadline is None:
            self._table.complain(row.line, self._names["grace"], "there is no deadline to miss")
        return grace or 0.0

    def _has(self, row: Row, column: str) -> bool:
        return bool(self._cell(row, column))

    def _cell(self, row: Row, column: str) -> str:
        return row.cells[self._names[column]] if column in self._names else ""

    def _number(self, row: Row, column: str, above: float | None = None) -> float | None:
        if above is None:
            return self._table.number(row, self._names[column])
        return self._table.number(row, self._names[column], low=above, above=True)

    def _whole(self, row: Row, column: str) -> int | None:
        value = self._table.number(row, self._names[column], low=1)
        if value is not None and value != int(value):
            self._table.complain(row.line, self._names[column], f"{value:g} is not a whole number")
            return None
        return None if value is None else int(value)


def trace_text(trace: Trace) -> str:
    """The trace in the published format."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for job in trace.jobs:
        writer.writerow(
            (
                job.id,
                f"{job.submitted:.10g}",
                f"{job.iterations:.10g}",
                job.model,
                "" if job.deadline is None else f"{job.deadline:.10g}",
                job.batch_size,
                "" if job.requested_gpus is None else job.requested_gpus,
                "" if job.duration is None else f"{job.duration:.10g}",
                int(job.deadline is None),
                f"{job.grace:.10g}",
                job.account,
            )
        )
    return stream.getvalue()


def require_requests(trace: Trace, policy: str) -> None:
    """Refuses a trace without `num_gpu` and `duration` to a policy that needs them.

    Raises:
        InputError: names the first job without them.
    """
    for job in trace.jobs:
        if job.requested_gpus is None or job.duration is None:
            column = "num_gpu" if job.requested_gpus is None else "duration"
            raise InputError.one(
                Path(trace.name),
                f"policy {policy!r} runs jobs at their requested size, but job {job.id!r} has none",
                column=column,
            )
