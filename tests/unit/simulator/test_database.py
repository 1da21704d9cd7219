"""Results of many simulations in one SQLite file, and the questions of docs/simulator.md."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlite_utils.cli import cli as sqlite_utils_cli

from ef_slurm.cli.sim.command import main
from ef_slurm.formats.errors import FormatError
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.metrics import gpu_seconds
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.report import database
from ef_slurm.simulator.report.database import RunContext, add_results, prepare_database
from ef_slurm.simulator.simulate import Request, Result, simulate
from ef_slurm.simulator.simulated_job import SimulatedJob
from ef_slurm.simulator.trace import TraceJob, make_trace

DOCUMENT = Path(__file__).parents[3] / "docs" / "simulator.md"
CONTEXT = RunContext("run", "2026-11-26T12:00:00+00:00", "1.2.3", "t.csv", "analytic", "wait")
CLUSTER = ("--nodes", "4", "--gpus-per-node", "4")
JOBS = r"\g<0>" if os.environ.get("EF_LONG") else "--jobs 40"
"""In the traces of the document."""


@pytest.fixture
def result(make_job: Callable[..., TraceJob]) -> Result:
    jobs = [
        make_job("met", iterations=100),
        make_job("hopeless", submitted=1, iterations=1e9),
        make_job("extra", submitted=2, deadline=None),
    ]
    return simulate(
        Request(make_trace("t", jobs), uniform(1, 4), "elasticflow", parse_overhead("zero"))
    )


def query(file: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(file)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def row(file: Path, table: str, where: str) -> dict[str, object]:
    connection = sqlite3.connect(file)
    try:
        connection.row_factory = sqlite3.Row
        (found,) = connection.execute(f"SELECT * FROM {table} WHERE {where}").fetchall()
        return dict(found)
    finally:
        connection.close()


def test_a_run_is_its_metrics_and_its_context(result: Result, tmp_path: Path) -> None:
    file = tmp_path / "r.db"
    assert add_results(file, [result], CONTEXT) == (1,)
    assert row(file, "runs", "id = 1") == {"id": 1, **asdict(CONTEXT), **asdict(result.metrics)}


def test_a_job_is_what_became_of_it(result: Result, tmp_path: Path) -> None:
    file = tmp_path / "r.db"
    add_results(file, [result], CONTEXT)
    (met, _, _) = result.jobs
    assert row(file, "jobs", "job = 'met'") == {
        "run": 1,
        "job": "met",
        "model": "m",
        "batch_size": 8,
        "submitted": 0.0,
        "deadline": 1000.0,
        "requested_gpus": 1,
        "outcome": "deadline met",
        "verdict": "promised",
        "promised_at": 0.0,
        "started": 0.0,
        "finished": met.finished,
        "starts": 1,
        "reshapes": met.reshapes,
        "grows": 0,
        "shrinks": 0,
        "migrations": met.migrations,
        "restarts": met.reshapes - met.migrations,
        "pauses": met.pauses,
        "gpu_seconds": gpu_seconds(met),
        "overhead_gpu_seconds": sum(share.overhead_gpu_seconds for share in met.held_shares),
        "account": "",
        "grace": 0.0,
    }
    hopeless = row(file, "jobs", "job = 'hopeless'")
    assert (hopeless["outcome"], hopeless["verdict"]) == ("turned away", "rejected")
    assert (hopeless["started"], hopeless["finished"], hopeless["gpu_seconds"]) == (None, None, 0)
    extra = row(file, "jobs", "job = 'extra'")
    assert (extra["outcome"], extra["deadline"]) == ("best effort", None)
    assert extra["promised_at"] is None


def test_runs_are_appended(result: Result, tmp_path: Path) -> None:
    file = tmp_path / "r.db"
    assert add_results(file, [result, result], CONTEXT) == (1, 2)
    assert add_results(file, [result], replace(CONTEXT, command="compare")) == (3,)
    assert query(file, "SELECT id, command FROM runs") == [(1, "run"), (2, "run"), (3, "compare")]
    assert query(file, "SELECT run, count(*) FROM jobs GROUP BY run") == [(1, 3), (2, 3), (3, 3)]


def test_all_or_nothing(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r.db"
    add_results(file, [result], CONTEXT)
    row_of, seen = database._row, []

    def fails_late(run: int, job: SimulatedJob) -> database.JobRow:
        seen.append(job)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return row_of(run, job)

    monkeypatch.setattr(database, "_row", fails_late)
    with pytest.raises(KeyboardInterrupt):
        add_results(file, [result, result], CONTEXT)
    assert query(file, "SELECT count(*) FROM runs") == [(1,)]
    assert query(file, "SELECT count(*) FROM jobs") == [(3,)]


def test_a_file_of_an_older_version_gets_the_new_columns(result: Result, tmp_path: Path) -> None:
    file = tmp_path / "r.db"
    add_results(file, [result], CONTEXT)
    connection = sqlite3.connect(file)
    connection.execute("ALTER TABLE runs DROP COLUMN cpu_seconds")
    connection.execute("ALTER TABLE jobs DROP COLUMN verdict")
    connection.execute("ALTER TABLE jobs ADD COLUMN of_a_newer_version TEXT")
    connection.commit()
    connection.close()
    assert add_results(file, [result], CONTEXT) == (2,)
    assert query(file, "SELECT cpu_seconds IS NULL FROM runs ORDER BY id") == [(1,), (0,)]
    assert query(file, "SELECT run, verdict FROM jobs WHERE job = 'met' ORDER BY run") == [
        (1, None),
        (2, "promised"),
    ]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    other, text = tmp_path / "other.db", tmp_path / "text.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE runs (mine TEXT)")
    connection.close()
    text.write_text("not a database, and longer than the header of one" * 10)
    for file, message in (
        (other, "other.db: is an SQLite file of something else"),
        (text, "text.db: is not an SQLite file that can be used"),
        (tmp_path / "no" / "r.db", "r.db: cannot be written: unable to open"),
        (tmp_path, "cannot be written: unable to open"),
    ):
        with pytest.raises(FormatError, match=message):
            prepare_database(file)
    assert query(other, "SELECT count(*) FROM runs") == [(0,)]


def test_a_file_that_somebody_else_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "TIMEOUT_SECONDS", 0.05)
    file = tmp_path / "r.db"
    prepare_database(file)
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(FormatError, match="locked: another program writes to it"):
        prepare_database(file)
    connection.execute("ROLLBACK")
    connection.close()
    prepare_database(file)


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_processes_may_add_at_once(tmp_path: Path) -> None:
    trace, file = tmp_path / "t.csv", tmp_path / "r.db"
    invoke("generate", str(trace), "--jobs", "30", "--mean-interarrival", "200")
    command = (sys.executable, "-m", "ef_slurm.cli.sim.command", "run", str(trace), *CLUSTER)
    running = [
        subprocess.Popen(
            (*command, "--policy", "edf", "--overhead", f"constant:{n}", "--sqlite", str(file)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for n in range(4)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert query(file, "SELECT count(DISTINCT overhead), count(*) FROM runs") == [(4, 4)]
    counts = query(file, "SELECT count(*) FROM jobs GROUP BY run")
    assert counts == [(30,)] * 4
    assert query(file, "PRAGMA integrity_check") == [("ok",)]


def test_the_file_says_what_json_says(tmp_path: Path) -> None:
    trace, file, out = tmp_path / "t.csv", tmp_path / "r.db", tmp_path / "o.json"
    invoke("generate", str(trace), "--jobs", "20", "--mean-interarrival", "200")
    options = ("--policies", "elasticflow,edf", "--processes", "1", "--overhead", "constant:30")
    files = ("--json", str(out), "--sqlite", str(file))
    invoke("compare", str(trace), *CLUSTER, *options, "--if-infeasible", "reject", *files)
    told = json.loads(out.read_text())["results"]
    for number, numbers in enumerate(told, 1):
        stored = row(file, "runs", f"id = {number}")
        assert {name: stored[name] for name in numbers} == numbers
        assert (stored["command"], stored["throughputs"]) == ("compare", "analytic")
        assert (stored["if_infeasible"], stored["trace_file"]) == ("reject", str(trace))
        assert stored["scaling"] is None
        (met,) = query(
            file, f"SELECT count(*) FROM jobs WHERE run = {number} AND outcome = 'deadline met'"
        )
        assert met == (numbers["met"],)


def test_a_site_keeps_its_assumptions(tmp_path: Path) -> None:
    export, file = tmp_path / "h.txt", tmp_path / "r.db"
    export.write_text("JobID|Submit|Start|End|AllocTRES\n7|100|200|300|gres/gpu=2\n")
    options = ("--deadline-factor", "2", "--processes", "1", "--sqlite", str(file))
    invoke("site", str(export), *CLUSTER, *options)
    assert query(file, "SELECT policy FROM runs") == [("elasticflow",), ("edf",), ("slurm",)]
    assert query(file, "SELECT DISTINCT command, trace, scaling, max_growth FROM runs") == [
        ("site", "site-2x", "amdahl:0.02", 8.0)
    ]
    assert query(file, "SELECT DISTINCT throughputs FROM runs") == [(None,)]


def test_a_file_is_refused_before_the_work(tmp_path: Path) -> None:
    text = tmp_path / "r.db"
    text.write_text("no database" * 100)
    result = CliRunner().invoke(main, ("run", "no-trace.csv", *CLUSTER, "--sqlite", str(text)))
    assert result.exit_code == 1
    assert "is not an SQLite file" in result.stderr


def documented_commands() -> list[list[str]]:
    """As they stand there, but for the number of jobs: that says how long they take, no more."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    return [
        shlex.split(re.sub(r"--jobs \d+", JOBS, command.replace("\\\n", " ")), comments=True)
        for block in blocks
        for command in re.findall(r"^(?:ef-sim|sqlite-utils) (?:.*\n)(?:^ .*\n)*", block, re.M)
    ]


def test_the_commands_of_the_document_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = documented_commands()
    questions = 0
    for program, *arguments in commands:
        if program == "ef-sim":
            one = ("--processes", "1") if arguments[0] == "compare" else ()
            invoke(*arguments, *one)
            continue
        result = CliRunner().invoke(sqlite_utils_cli, arguments)
        assert result.exit_code == 0, result.output
        assert len(result.output.splitlines()) >= 2, f"{arguments} finds nothing"
        questions += 1
    assert (len(commands), questions) == (12, 4)
