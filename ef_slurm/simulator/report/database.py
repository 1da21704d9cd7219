"""Results of many simulations in one SQLite file, for questions across them.

Two tables, made through sqlite-utils: `runs` has one row per simulation, `jobs` one per job of it.
Whoever adds results does so in one transaction, so that several processes may add to one file at
once, and whoever is killed leaves it as it was. A later version may add columns, never rename one:
files of older versions get the new columns, empty.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import get_args, get_type_hints

from sqlite_utils import Database

from ef_slurm.formats.errors import FormatError
from ef_slurm.model import ChangeKind
from ef_slurm.simulator.metrics import Metrics, gpu_seconds
from ef_slurm.simulator.report.series import OUTCOME_LABELS, outcome_of
from ef_slurm.simulator.simulate import Result
from ef_slurm.simulator.simulated_job import SimulatedJob

APPLICATION_ID = 0x65665331
"""Marks the file as ours (`PRAGMA application_id`)."""
TIMEOUT_SECONDS = 60.0
"""How long to wait for others that write."""
_SQL = {int: "INTEGER", float: "REAL", str: "TEXT"}


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the numbers of a run do not say themselves.

    Args:
        command: of ef-sim: run, compare or site.
        recorded_at: when, ISO 8601 with a zone.
        version: of ef-slurm.
        trace_file: the trace or the export.
        throughputs: the directory of the tables, or `analytic`; None for a site's history.
        if_infeasible: what elasticflow did with a deadline that it could not promise.
        scaling: the assumption of `ef-sim site`; None otherwise.
        max_growth: the same.
    """

    command: str
    recorded_at: str
    version: str
    trace_file: str
    throughputs: str | None
    if_infeasible: str
    scaling: str | None = None
    max_growth: float | None = None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A row of `jobs`. Times are seconds on the trace's clock, None for never.

    Args:
        run: the row of `runs`.
        job: its id in the trace.
        model: the throughput table.
        batch_size: the global one.
        submitted: when it arrived.
        deadline: None for a best-effort job.
        requested_gpus: what its user asked for; None where the trace does not say.
        outcome: what became of it, in the words of the report.
        verdict: of the policy; None under policies that do not judge.
        promised_at: when its deadline was promised.
        started: when it first held GPUs.
        finished: when it was trained.
        starts: 0 or 1.
        reshapes: changes of share or block after the first start, resumes included.
        grows: reshapes by whole nodes behind those that it kept.
        shrinks: reshapes to the first of its nodes.
        migrations: reshapes that kept the share.
        restarts: reshapes to another share in any other way.
        pauses: how often it had to give everything up.
        gpu_seconds: that it held, overheads included.
        overhead_gpu_seconds: of those, without training because of changes.
        account: whose it is; "" where the trace does not say.
        grace: seconds by which its deadline may be missed.
    """

    run: int
    job: str
    model: str
    batch_size: int
    submitted: float
    deadline: float | None
    requested_gpus: int | None
    outcome: str
    verdict: str | None
    promised_at: float | None
    started: float | None
    finished: float | None
    starts: int
    reshapes: int
    grows: int
    shrinks: int
    migrations: int
    restarts: int
    pauses: int
    gpu_seconds: float
    overhead_gpu_seconds: float
    account: str
    grace: float


def prepare_database(file: Path) -> None:
    """Makes the file and its tables, or finds that it is one of ours.

    To be called before the simulations, so that no work is lost to a file that cannot be used.

    Raises:
        FormatError: it cannot be opened or written, is no SQLite file, or has other tables.
    """
    with _transaction(file):
        pass


def add_results(file: Path, results: Sequence[Result], context: RunContext) -> tuple[int, ...]:
    """Adds simulations to the file, all of them or none.

    Args:
        file: made if it is not there.
        results: of simulations that belong together.
        context: what holds for all of them.

    Returns:
        The ids of their rows in `runs`.

    Raises:
        FormatError: as `prepare_database`.
    """
    with _transaction(file) as database:
        return tuple(_add(database, result, context) for result in results)


def _add(database: Database, result: Result, context: RunContext) -> int:
    run = _insert(database, "runs", [asdict(context) | asdict(result.metrics)])
    _insert(database, "jobs", [asdict(_row(run, job)) for job in result.jobs])
    return run


def _row(run: int, job: SimulatedJob) -> JobRow:
    spec = job.spec
    return JobRow(
        run=run,
        job=spec.id,
        model=spec.model,
        batch_size=spec.batch_size,
        submitted=spec.submitted,
        deadline=spec.deadline,
        requested_gpus=spec.requested_gpus,
        outcome=OUTCOME_LABELS[outcome_of(job)],
        verdict=None if job.outcome is None else job.outcome.value,
        promised_at=job.promised_at,
        started=job.held_shares[0].start if job.held_shares else None,
        finished=job.finished,
        starts=job.starts,
        reshapes=job.reshapes,
        grows=job.changes[ChangeKind.GROW],
        shrinks=job.changes[ChangeKind.SHRINK],
        migrations=job.migrations,
        restarts=job.changes[ChangeKind.RESTART],
        pauses=job.pauses,
        gpu_seconds=gpu_seconds(job),
        overhead_gpu_seconds=sum(share.overhead_gpu_seconds for share in job.held_shares),
        account=spec.account,
        grace=spec.grace,
    )


def _insert(database: Database, table: str, rows: Sequence[dict[str, object]]) -> int:
    """Plain SQL: `insert_all` of older sqlite-utils ends the transaction. The last row's id."""
    if not rows:
        return 0
    names = ", ".join(rows[0])
    values = ", ".join(f":{name}" for name in rows[0])
    cursor = database.conn.cursor()
    for row in rows:
        cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", row)  # noqa: S608 - values are bound
    return cursor.lastrowid or 0


@contextmanager
def _transaction(file: Path) -> Iterator[Database]:
    """The file with its tables, in a transaction that ends with the block."""
    try:
        # isolation_level None: transactions begin and end here and nowhere else.
        opened = sqlite3.connect(file, timeout=TIMEOUT_SECONDS, isolation_level=None)
        with closing(opened) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                database = Database(connection)
                _make_tables(database, file)
                yield database
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        hint = ": another program writes to it" if "locked" in str(error) else ""
        raise FormatError(f"{file}: cannot be written: {error}{hint}") from None
    except sqlite3.DatabaseError as error:
        raise FormatError(f"{file}: is not an SQLite file that can be used: {error}") from None


def _make_tables(database: Database, file: Path) -> None:
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    if application_id == APPLICATION_ID:
        _add_missing_columns(database)
        return
    if application_id or database.table_names():
        raise FormatError(
            f"{file}: is an SQLite file of something else: give a new one, or one of ef-sim"
        )
    database.create_table("runs", {"id": int, **_run_columns()}, pk="id")
    database.create_table(
        "jobs", _columns(JobRow), pk=("run", "job"), foreign_keys=[("run", "runs", "id")]
    )
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _add_missing_columns(database: Database) -> None:
    for table, wanted in (("runs", _run_columns()), ("jobs", _columns(JobRow))):
        have = database[table].columns_dict
        for name, kind in wanted.items():
            if name not in have:
                database.execute(f"ALTER TABLE {table} ADD COLUMN {name} {_SQL[kind]}")


def _run_columns() -> dict[str, type]:
    return _columns(RunContext) | _columns(Metrics)


def _columns(record: type) -> dict[str, type]:
    """Field → int, float or str. None may stand in any column."""
    hints = get_type_hints(record)
    return {field.name: _kind(hints[field.name]) for field in fields(record)}


def _kind(hint: type) -> type:
    kinds: set[type] = set(get_args(hint) or (hint,)) - {NoneType}
    (kind,) = kinds
    return kind
