"""A site's own history: the export of `sacct --json --allusers --allocations --duplicates`.

Job names and comments do no harm here. 22.05 writes one word for a state and plain numbers; later
ones a list of words and {"set", "infinite", "number"}. Times are epoch seconds in all.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ef_slurm.formats.errors import InputError, Problem
from ef_slurm.simulator.history.records import History, SiteRun, checked, history_of
from ef_slurm.simulator.history.sacct import run_end


def read_sacct_json(file: Path, text: str) -> History:
    """Reads an export.

    Args:
        file: for errors.
        text: what it holds.

    Raises:
        InputError: it is not what `sacct --json` writes; names the jobs that are not.
    """
    try:
        # strict=False: line breaks in names are not always escaped.
        document = json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        raise InputError.one(file, f"is no JSON: {error.msg}", line=error.lineno) from None
    jobs = document.get("jobs") if isinstance(document, dict) else None
    if not isinstance(jobs, list):
        raise InputError.one(file, 'holds no list "jobs", as sacct --json writes it')
    runs: list[SiteRun] = []
    left_out: Counter[str] = Counter()
    problems: list[Problem] = []
    for place, job in enumerate(jobs, start=1):
        try:
            run = checked(_run(job))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"job {place} of the list cannot be read: {type(error).__name__}: {error}"
            problems.append(Problem(file, None, None, what))
            continue
        if isinstance(run, str):
            left_out[run] += 1
        else:
            runs.append(run)
    if problems:
        raise InputError(problems)
    return history_of(runs, left_out)


def _run(job: Mapping[str, Any]) -> SiteRun:
    times = job["time"]
    minutes = _number(times.get("limit"))
    cluster = job.get("cluster") or ""
    job_id = _id(job)
    return SiteRun(
        f"{cluster}/{job_id}" if cluster else job_id,
        _moment(times["submission"]),
        _moment(times["start"]),
        _moment(times["end"]),
        _gpus(job),
        None if minutes is None or math.isinf(minutes) else 60.0 * minutes,
        run_end(_state(job)),
    )


def _id(job: Mapping[str, Any]) -> str:
    """As sacct prints it: tasks of an array by the array's id and their index."""
    array = job.get("array") or {}
    task = _number(array.get("task_id"))
    if array.get("job_id") and task is not None:
        return f"{int(array['job_id'])}_{int(task)}"
    return str(int(job["job_id"]))


def _state(job: Mapping[str, Any]) -> str:
    state = job.get("state") or {}
    current = state.get("current") if isinstance(state, Mapping) else state
    words = current if isinstance(current, list) else [current]
    return str(words[0]) if words else ""


def _gpus(job: Mapping[str, Any]) -> int:
    tres = job.get("tres") or {}
    for kind in ("allocated", "requested"):
        counts = {
            str(one.get("name")): int(_number(one.get("count")) or 0)
            for one in tres.get(kind) or ()
            if one.get("type") == "gres"
        }
        total = counts.get("gpu")
        typed = sum(count for name, count in counts.items() if name.startswith("gpu:"))
        if total or typed:
            return total or typed
    return 0


def _moment(value: object) -> float:
    """Epoch seconds; infinite where there is none."""
    number = _number(value)
    return number if number else math.inf


def _number(value: object) -> float | None:
    if isinstance(value, Mapping):
        if value.get("infinite") is True:
            return math.inf
        value = value.get("number") if value.get("set") is True else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
