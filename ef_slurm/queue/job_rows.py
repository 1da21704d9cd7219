"""Rows of the tables `jobs` and `scripts` as values of the model, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from sqlite3 import Row
from typing import Any

from ef_slurm.formats.codec import decode
from ef_slurm.formats.printing import shortened
from ef_slurm.model import (
    MOST_ITERATIONS,
    BatchScript,
    HeldBy,
    IfInfeasible,
    JobKind,
    JobRequest,
    JobState,
    NoticeKind,
    PromiseState,
    QueueJob,
    Reason,
    SlurmSettings,
)
from ef_slurm.queue import codec


def request_columns(request: JobRequest) -> dict[str, Any]:
    """What was submitted, by column of `jobs`."""
    return {
        "slurm_job_id": request.slurm_job_id,
        "cluster": request.cluster,
        "owner": request.owner,
        "uid": request.uid,
        "account": request.account,
        "partition": request.partition,
        "name": request.name,
        "submitted": request.submitted,
        "kind": request.kind.value,
        "deadline": request.deadline,
        "grace": request.grace,
        "if_infeasible": request.if_infeasible.value,
        "iterations": request.iterations,
        "global_batch_size": request.global_batch_size,
        "curves": codec.dump_curves(request.curves),
        "curve_source": request.curve_source,
        "overhead": codec.dump_overhead(request.overhead),
        "max_gpus": request.max_gpus,
        "max_time": request.max_time,
        "state_dir": request.state_dir,
        "growth_curves": codec.dump_curves(request.growth_curves),
        "model_name": request.model_name,
        "precision": request.precision,
        "gpu_types": codec.dump_strings(request.gpu_types),
        "assumed": _assumed(request),
        "begin_at": request.begin,
        "dependency": codec.dump_dependency(request.dependency),
        "mail_types": codec.dump_strings(kind.value for kind in request.mail_types),
        "mail_user": request.mail_user,
        "array_job": None if request.array is None else request.array.job_id,
        "array": codec.dump_array(request.array),
    }


def states_list(states: Iterable[JobState]) -> str:
    """Some states, as `json_each` reads them."""
    return _state_names(frozenset(states))


@cache
def _state_names(states: frozenset[JobState]) -> str:
    return codec.dump(sorted(state.value for state in states))


def settings_column(settings: SlurmSettings) -> str:
    """The column `slurm_settings`."""
    return codec.dump(dict(settings))


def script_columns(script: BatchScript) -> dict[str, Any]:
    """A batch script, by column of `scripts`."""
    return {
        "text": script.text,
        "options": codec.dump_strings(script.options),
        "arguments": codec.dump_strings(script.arguments),
        "directory": script.directory,
    }


def to_script(row: Row) -> BatchScript:
    """A row of `scripts` as a value."""
    return BatchScript(
        text=row["text"],
        options=codec.load_strings(row["options"]),
        arguments=codec.load_strings(row["arguments"]),
        directory=row["directory"],
    )


def changing_columns(job: QueueJob, before: QueueJob | None = None) -> dict[str, Any]:
    """What `Jobs.save` writes, by column of `jobs`.

    Args:
        before: what the row holds now; then only what differs from it.
    """
    return {
        name: to_column(value)
        for name, to_column in _CHANGING.items()
        if (value := getattr(job, name)) is not getattr(before, name, _UNKNOWN)
    }


def _as_it_is(value: Any) -> Any:
    return value


def _reason(reason: Reason | None) -> str | None:
    return None if reason is None else codec.dump_reason(reason)


LONGEST_NOTE = 1000
"""Characters of a note: Slurm's messages repeat what their job's owner wrote."""

_UNKNOWN = object()
_CHANGING: Mapping[str, Callable[[Any], Any]] = {
    "best_effort": int,
    "generation": _as_it_is,
    "iteration": _as_it_is,
    "checkpoint_iteration": _as_it_is,
    "rate": _as_it_is,
    "progress_at": _as_it_is,
    "first_started_at": _as_it_is,
    "running": codec.dump_running,
    "plan": codec.dump_schedule,
    "finish": _as_it_is,
    "promise": lambda promise: promise.value,
    "reason": _reason,
    "last_reshape": codec.finite,
    "reshapes": _as_it_is,
    "failed_starts": _as_it_is,
    "unbegun_starts": _as_it_is,
    "exit_code": _as_it_is,
    "note": lambda note: shortened(note, LONGEST_NOTE),
    "slurm_settings": settings_column,
    "measuring": codec.dump_measuring,
    "script_iterations": _as_it_is,
    "script_global_batch_size": _as_it_is,
    "held_here": int,
    "held_by": lambda by: None if by is None else by.value,
    "ordered_iterations": _as_it_is,
    "time_limit": _as_it_is,
    "turn": _as_it_is,
    "gate": codec.dump_gate,
    "slurm_submitted": _as_it_is,
}


_ITERATIONS_STATED, _BATCH_STATED = 2, 4
"""In the column `assumed`, beside 1: what of it was submitted all the same."""


def _assumed(request: JobRequest) -> int:
    if not request.assumed:
        return 0
    stated = _ITERATIONS_STATED * request.iterations_stated + _BATCH_STATED * request.batch_stated
    return 1 + stated


def _request(row: Row) -> JobRequest:
    return JobRequest(
        slurm_job_id=row["slurm_job_id"],
        cluster=row["cluster"],
        owner=row["owner"],
        uid=row["uid"],
        account=row["account"],
        partition=row["partition"],
        name=row["name"],
        submitted=row["submitted"],
        kind=JobKind(row["kind"]),
        deadline=row["deadline"],
        grace=row["grace"],
        if_infeasible=IfInfeasible(row["if_infeasible"]),
        iterations=row["iterations"],
        global_batch_size=row["global_batch_size"],
        curves=codec.load_curves(row["curves"]),
        curve_source=row["curve_source"],
        overhead=codec.load_overhead(row["overhead"]),
        max_gpus=row["max_gpus"],
        max_time=row["max_time"],
        state_dir=row["state_dir"],
        growth_curves=codec.load_curves(row["growth_curves"]),
        model_name=row["model_name"],
        precision=row["precision"],
        gpu_types=codec.load_strings(row["gpu_types"]),
        assumed=bool(row["assumed"]),
        iterations_stated=bool(row["assumed"] & _ITERATIONS_STATED),
        batch_stated=bool(row["assumed"] & _BATCH_STATED),
        begin=row["begin_at"],
        dependency=codec.load_dependency(row["dependency"]),
        mail_types=tuple(map(NoticeKind, codec.load_strings(row["mail_types"]))),
        mail_user=row["mail_user"],
        array=codec.load_array(row["array"]),
    )


def _most(value: float, most: int | None) -> float:
    # Before reports had bounds, a job could say that it had done more than there is to do.
    return min(value, float(MOST_ITERATIONS if most is None else most))


def _finite(value: float | None) -> float | None:
    # … and train at an infinite rate.
    return value if value is not None and 0 <= value < MAX_FINITE else None


MAX_FINITE = 1e12
"""Neither iterations/s nor UTC epoch seconds come near."""


def to_job(row: Row) -> QueueJob:
    """A row of `jobs` as a value."""
    held_from, reason, last = row["held_from"], row["reason"], row["last_reshape"]
    return QueueJob(
        id=row["id"],
        request=_request(row),
        state=JobState(row["state"]),
        revision=row["revision"],
        held_from=None if held_from is None else JobState(held_from),
        best_effort=bool(row["best_effort"]),
        generation=row["generation"],
        iteration=_most(row["iteration"], row["iterations"]),
        checkpoint_iteration=_most(row["checkpoint_iteration"], row["iterations"]),
        rate=_finite(row["rate"]),
        progress_at=_finite(row["progress_at"]),
        first_started_at=row["first_started_at"],
        running=codec.load_running(row["running"]),
        plan=codec.load_schedule(row["plan"]),
        finish=row["finish"],
        promise=PromiseState(row["promise"]),
        reason=None if reason is None else codec.load_reason(reason),
        last_reshape=float("-inf") if last is None else last,
        reshapes=row["reshapes"],
        failed_starts=row["failed_starts"],
        unbegun_starts=row["unbegun_starts"],
        ended_at=row["ended_at"],
        exit_code=row["exit_code"],
        note=row["note"],
        slurm_settings=tuple(decode(dict[str, str], row["slurm_settings"]).items()),
        measuring=codec.load_measuring(row["measuring"]),
        script_iterations=row["script_iterations"],
        script_global_batch_size=row["script_global_batch_size"],
        held_here=bool(row["held_here"]),
        held_by=None if row["held_by"] is None else HeldBy(row["held_by"]),
        ordered_iterations=row["ordered_iterations"],
        time_limit=row["time_limit"],
        turn=row["turn"],
        gate=codec.load_gate(row["gate"]),
        slurm_submitted=row["slurm_submitted"],
    )
