"""Published traces of GPU clusters, in the formats of their own READMEs.

* **Philly** (Microsoft, ATC '19), `cluster_job_log`: a JSON list; every job has the attempts to run
  it, with the GPUs of each. All but the last count as cut.
* **Helios** (SenseTime, SC '21), `cluster_log.csv`: jobs of Slurm with `gpu_num` and `state`.
* **Alibaba 2020** (PAI, NSDI '22), `pai_task_table.csv`, which comes without a header: the tasks of
  a job together are the job, from the first start to the last end. `plan_gpu` is in percent; their
  sum is rounded up to whole GPUs. The submission is the job's start in `pai_job_table.csv`, if that
  lies beside it, else the first task's start.
* **Alibaba 2023** (ATC '23), `openb_pod_list_*.csv`: pods; a share of a GPU counts as a whole one.

Times of the first two are in the local zone of this machine (set TZ), those of Alibaba on the
trace's own clock.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Any

from ef_slurm.formats.delimited import Row, TableFile
from ef_slurm.formats.errors import InputError, Problem
from ef_slurm.formats.numbers import parse_number
from ef_slurm.formats.times import InstantError, parse_slurm_time
from ef_slurm.formats.zone import local_zone
from ef_slurm.simulator.history.records import (
    NEVER_STARTED,
    History,
    RunEnd,
    SiteRun,
    checked,
    history_of,
)
from ef_slurm.simulator.history.sacct import run_end

HELIOS = ("job_id", "gpu_num", "state", "submit_time", "start_time", "end_time")
ALIBABA_2023 = ("name", "num_gpu", "pod_phase", "creation_time", "deletion_time", "scheduled_time")
PAI_TASKS = (
    *("job_name", "task_name", "inst_num", "status", "start_time", "end_time"),
    *("plan_cpu", "plan_mem", "plan_gpu", "gpu_type"),
)
PAI_JOBS = ("job_name", "inst_id", "user", "status", "start_time", "end_time")
PAI_JOBS_FILE = "pai_job_table.csv"

_PHILLY = {"pass": RunEnd.DONE, "killed": RunEnd.FAILED, "failed": RunEnd.FAILED}
_PAI = {"terminated": RunEnd.DONE, "failed": RunEnd.FAILED}
_POD = {"succeeded": RunEnd.DONE, "running": RunEnd.DONE, "failed": RunEnd.FAILED}
_NOTHING = frozenset({"", "none", "nan", "null", "unknown"})


def read_philly(file: Path, text: str) -> History:
    """Reads `cluster_job_log`.

    Raises:
        InputError: names the jobs that cannot be read.
    """
    try:
        jobs = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError.one(file, f"is no JSON: {error.msg}", line=error.lineno) from None
    if not isinstance(jobs, list):
        raise InputError.one(file, "is no list of jobs, as Philly's cluster_job_log is")
    runs: list[SiteRun] = []
    left_out: Counter[str] = Counter()
    problems: list[Problem] = []
    zone = local_zone()
    for place, job in enumerate(jobs, start=1):
        try:
            attempts = _attempts(job, zone)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"job {place} of the list cannot be read: {type(error).__name__}: {error}"
            problems.append(Problem(file, None, None, what))
            continue
        if not attempts:
            left_out[NEVER_STARTED] += 1
        _sort_out(attempts, runs, left_out)
    if problems:
        raise InputError(problems)
    return history_of(runs, left_out)


def _attempts(job: Mapping[str, Any], zone: tzinfo) -> list[SiteRun]:
    submitted = _moment(job["submitted_time"], zone)
    attempts = job["attempts"]
    end = _PHILLY.get(str(job.get("status")).lower(), RunEnd.UNKNOWN)
    return [
        SiteRun(
            str(job["jobid"]),
            submitted,
            _moment(attempt.get("start_time"), zone),
            _moment(attempt.get("end_time"), zone),
            sum(len(server["gpus"]) for server in attempt["detail"]),
            end=end if place == len(attempts) else RunEnd.CUT,
        )
        for place, attempt in enumerate(attempts, start=1)
    ]


def read_helios(file: Path) -> History:
    """Reads `cluster_log.csv`.

    Raises:
        InputError: with every problem found.
    """
    zone = local_zone()

    def run(table: TableFile, row: Row) -> SiteRun | None:
        moments = []
        for column in ("submit_time", "start_time", "end_time"):
            try:
                moments.append(_moment(row.cells[column], zone))
            except ValueError as error:
                table.complain(row.line, column, str(error))
                return None
        gpus = table.number(row, "gpu_num", low=0)
        if gpus is None:
            return None
        end = run_end(row.cells["state"])
        # Nothing in this trace was run again: a failed node ended the job.
        end = RunEnd.FAILED if end is RunEnd.CUT else end
        submitted, started, ended = moments
        return SiteRun(row.cells["job_id"], submitted, started, ended, math.ceil(gpus), end=end)

    return _read_table(TableFile(file), HELIOS, run)


def read_alibaba_2023(file: Path) -> History:
    """Reads `openb_pod_list_*.csv`.

    Raises:
        InputError: with every problem found.
    """

    def run(table: TableFile, row: Row) -> SiteRun | None:
        created = table.number(row, "creation_time")
        gpus = table.number(row, "num_gpu", low=0)
        started = _clock(table, row, "scheduled_time")
        ended = _clock(table, row, "deletion_time")
        if created is None or gpus is None or started is None or ended is None:
            return None
        end = _POD.get(row.cells["pod_phase"].lower(), RunEnd.UNKNOWN)
        return SiteRun(row.cells["name"], created, started, ended, math.ceil(gpus), end=end)

    return _read_table(TableFile(file), ALIBABA_2023, run)


def read_alibaba_2020(file: Path) -> History:
    """Reads `pai_task_table.csv`, and `pai_job_table.csv` beside it if there is one.

    Raises:
        InputError: with every problem found.
    """
    table = _headed(file, PAI_TASKS)
    tasks: dict[str, list[tuple[SiteRun, float]]] = {}
    for row in table.rows():
        # Without a number: the task has no GPUs, or has not started, or has not ended.
        instances = _clock(table, row, "inst_num")
        percent = _clock(table, row, "plan_gpu")
        started = _clock(table, row, "start_time")
        ended = _clock(table, row, "end_time")
        if instances is None or percent is None or started is None or ended is None:
            continue
        gpus = 0.0 if math.isinf(percent) or math.isinf(instances) else instances * percent / 100
        end = _PAI.get(row.cells["status"].lower(), RunEnd.UNKNOWN)
        run = SiteRun(row.cells["job_name"], started, started, ended, 0, end=end)
        tasks.setdefault(run.job_id, []).append((run, gpus))
    submitted = _pai_submissions(file.with_name(PAI_JOBS_FILE))
    table.check()
    left_out: Counter[str] = Counter()
    runs: list[SiteRun] = []
    _sort_out((_pai_job(of_job, submitted) for of_job in tasks.values()), runs, left_out)
    return history_of(runs, left_out)


def _pai_job(tasks: list[tuple[SiteRun, float]], submitted: Mapping[str, float]) -> SiteRun:
    runs = [run for run, _ in tasks]
    started = min(run.started for run in runs)
    ends = {run.end for run in runs}
    end = next((one for one in (RunEnd.FAILED, RunEnd.UNKNOWN) if one in ends), RunEnd.DONE)
    job_id = runs[0].job_id
    return SiteRun(
        job_id,
        min(started, submitted.get(job_id, started)),
        started,
        max(run.ended for run in runs),
        # Rounding must not make a GPU of the dust of a sum.
        math.ceil(sum(gpus for _, gpus in tasks) - 1e-9),
        end=end,
    )


def _pai_submissions(file: Path) -> dict[str, float]:
    if not file.is_file():
        return {}
    table = _headed(file, PAI_JOBS)
    moments = {row.cells["job_name"]: _clock(table, row, "start_time") for row in table.rows()}
    table.check()
    return {name: at for name, at in moments.items() if at is not None and math.isfinite(at)}


def _headed(file: Path, columns: tuple[str, ...]) -> TableFile:
    """A table of Alibaba's that may come with its header or without."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            lines = [(n, cells) for n, cells in enumerate(csv.reader(stream), 1) if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError.one(file, f"cannot be read: {error}") from None
    if not lines or "job_name" not in lines[0][1]:
        lines.insert(0, (0, list(columns)))
    return TableFile(file, lines=lines)


def _read_table(
    table: TableFile,
    columns: Iterable[str],
    read: Callable[[TableFile, Row], SiteRun | None],
) -> History:
    """A history of a table with a row per job; `read` notes the problems of a row itself."""
    for column in columns:
        if column not in table.columns:
            table.complain(table.header_line, column, "is missing from the header")
    table.check()
    left_out: Counter[str] = Counter()
    runs: list[SiteRun] = []
    _sort_out((run for row in table.rows() if (run := read(table, row))), runs, left_out)
    table.check()
    return history_of(runs, left_out)


def _sort_out(found: Iterable[SiteRun], runs: list[SiteRun], left_out: Counter[str]) -> None:
    for run in found:
        kept = checked(run)
        if isinstance(kept, str):
            left_out[kept] += 1
        else:
            runs.append(kept)


def _clock(table: TableFile, row: Row, column: str) -> float | None:
    """A number, infinite where there is none, None (and a problem) for anything else."""
    text = row.cells[column]
    if text.lower() in _NOTHING:
        return math.inf
    value = parse_number(text)
    if value is None:
        table.complain(row.line, column, f"{text!r} is not a number")
    return value


def _moment(text: object, zone: tzinfo) -> float:
    """Epoch seconds, infinite where there is no time.

    Raises:
        ValueError: neither.
    """
    if text is None or str(text).strip().lower() in _NOTHING:
        return math.inf
    try:
        instant = parse_slurm_time(str(text).strip().replace(" ", "T", 1), zone)
    except InstantError as error:
        raise ValueError(str(error)) from None
    return math.inf if instant is None else instant
