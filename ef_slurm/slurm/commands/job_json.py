"""`squeue --json` → `SlurmJob`.

The one form of job listing that 22.05, 24.11 and 26.05 share. What differs between them: 22.05
(v0.0.38) writes plain numbers and one word for the state; later ones write {"set", "infinite",
"number"} and a list of words. Fields that are missing or unknown are left out, and a state that is
unknown is `UNKNOWN`, never final.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from ef_slurm.formats.gres import GpuCount, GresError, gpus_of, gpus_of_tres, held_gpus, parse_gres
from ef_slurm.formats.hostlist import HostlistError, expand
from ef_slurm.slurm.commands.job_settings import is_array, is_heterogeneous, settings_of
from ef_slurm.slurm.errors import UnexpectedOutputError
from ef_slurm.slurm.pending import hold_shown
from ef_slurm.slurm.types import HeldGpus, JobBaseState, Requested, SlurmJob

_NO_VALUE = 0xFFFFFFFE
_INFINITE = 0xFFFFFFFF
_CPUS_AND_MEMORY = re.compile(r"(?:^|,)(cpu|mem)=(\d+(?:\.\d+)?)([KMGTP]?)")
_BASE = {state.value: state for state in JobBaseState}
_WORDS_OF_PENDING = frozenset({"REQUEUE_HOLD", "SPECIAL_EXIT", "REQUEUE_FED", "REQUEUED"})
_WORDS_OF_RUNNING = frozenset({"CONFIGURING", "POWER_UP_NODE", "RESIZING", "SIGNALING", "STOPPED"})


def parse_jobs(text: str) -> dict[int, SlurmJob]:
    """Jobs by id. Array tasks that have not been split off count as the array's own id.

    Raises:
        UnexpectedOutputError: not the JSON that squeue writes.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnexpectedOutputError(f"squeue --json wrote no JSON: {error}") from error
    jobs = document.get("jobs") if isinstance(document, dict) else None
    if not isinstance(jobs, list):
        raise UnexpectedOutputError("squeue --json wrote no list of jobs")
    try:
        release = _release(document)
        parsed = (_job(job, release) for job in jobs)
        return {job.job_id: job for job in parsed}
    except (KeyError, TypeError, ValueError, AttributeError, HostlistError, GresError) as error:
        raise UnexpectedOutputError(
            f"squeue --json wrote a job that cannot be read: {type(error).__name__}: {error}"
        ) from error


def _release(document: Mapping[str, Any]) -> str:
    """Which Slurm wrote it, and in which form."""
    meta = document.get("meta")
    if not isinstance(meta, Mapping):
        return ""
    slurm = meta.get("slurm", meta.get("Slurm"))
    plugin = meta.get("plugin")
    release = slurm.get("release") if isinstance(slurm, Mapping) else None
    form = plugin.get("data_parser", "") if isinstance(plugin, Mapping) else ""
    return f"{release or ''} {form}".strip()


def _job(job: Mapping[str, Any], release: str) -> SlurmJob:
    state, flags = _state(job.get("job_state"))
    reason = _text(job.get("state_reason"))
    nodes = expand(_text(job.get("nodes")))
    time_limit = _time_limit(job, state)
    held = cpus_and_memory(_text(job.get("tres_alloc_str")))
    return SlurmJob(
        job_id=int(job["job_id"]),
        name=_text(job.get("name")),
        user=_text(job.get("user_name")),
        uid=int(_number(job.get("user_id")) or 0),
        account=_text(job.get("account")),
        state=state,
        flags=flags,
        reason="" if reason == "None" else reason,
        hold=hold_shown(
            state, reason, _text(job.get("state_description")), stopped=_is_stopped(job)
        ),
        requested=_requested(job, state, time_limit),
        nodes=nodes,
        held=_held(job, nodes),
        submit_time=_time(job.get("submit_time")),
        start_time=_time(job.get("start_time")),
        end_time=_end(job, state, time_limit),
        restarts=int(_number(job.get("restart_cnt")) or 0),
        batch_host=_text(job.get("batch_host")),
        exit_code=_exit_code(job.get("exit_code"), state),
        reservation=_text(job.get("resv_name")),
        cpus_per_node=held["cpu"] / max(1, len(nodes)),
        memory_per_node=held["mem"] / max(1, len(nodes)),
        settings=settings_of(job, _number, release),
        array=is_array(job, _number),
        heterogeneous=is_heterogeneous(job, _number),
    )


def cpus_and_memory(tres: str) -> Mapping[str, float]:
    """CPUs ("cpu") and MiB of memory ("mem") in a list of TRES; 0 for what it does not name.

    >>> cpus_and_memory("cpu=8,mem=1.50G,node=2,gres/gpu=4")
    {'cpu': 8.0, 'mem': 1536.0}
    """
    found = {"cpu": 0.0, "mem": 0.0}
    for name, number, unit in _CPUS_AND_MEMORY.findall(tres):
        # A plain number of memory is MiB, of CPUs it is CPUs: the units of the result.
        found[name] = float(number) * (1024.0 ** "KMGTP".index(unit) / 1024.0 if unit else 1.0)
    return found


def _requested(job: Mapping[str, Any], state: JobBaseState, time_limit: float | None) -> Requested:
    least = _number(job.get("node_count"))
    most = _number(job.get("max_nodes"))
    tasks = _number(job.get("tasks"))
    if state is JobBaseState.PENDING and not most:
        # It shows the nodes of its last run (22.05), or those on which Slurm last tried to start it
        # (after a restart of slurmctld), and not what it asks for.
        least = None
    gpus = _gpus_asked_for(_text(job.get("tres_per_node")))
    return Requested(
        min_nodes=int(least) if least else None,
        max_nodes=int(most) if most else None,
        tasks=int(tasks) if tasks else None,
        gpus_per_node=sum(one.count for one in gpus) or None,
        gpu_type=gpus[0].gpu_type if len(gpus) == 1 else "",
        nodes=_nodes_asked_for(_text(job.get("required_nodes"))),
        time_limit=time_limit,
        partition=_text(job.get("partition")),
        comment=_text(job.get("comment")),
    )


def _gpus_asked_for(text: str) -> tuple[GpuCount, ...]:
    """None where nobody can count them.

    Slurm keeps what a user writes (`--gres=gpu:a:b:1`): it hides no job of anybody else's.
    """
    try:
        return gpus_of(parse_gres(text))
    except GresError:
        return ()


def _nodes_asked_for(text: str) -> tuple[str, ...]:
    """The same of nodes."""
    try:
        return expand(text)
    except HostlistError:
        return ()


def _time_limit(job: Mapping[str, Any], state: JobBaseState) -> float | None:
    """Seconds. 22.05 writes null for UNLIMITED, and for none where the partition's will count."""
    minutes = _number(job.get("time_limit"))
    if minutes is not None:
        return minutes * 60
    is_null = "time_limit" in job and job["time_limit"] is None
    return math.inf if is_null and state is not JobBaseState.PENDING else None


def _state(value: object) -> tuple[JobBaseState, frozenset[str]]:
    """Base state and the words beside it.

    Where only one word is given (22.05) and it is none of the base states, it hides the base.
    """
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list):
        return JobBaseState.UNKNOWN, frozenset()
    names = [str(word).upper() for word in words]
    flags = frozenset(name for name in names if name not in _BASE)
    bases = [_BASE[name] for name in names if name in _BASE]
    if len(bases) == 1:
        return bases[0], flags
    if not bases and flags and flags <= _WORDS_OF_PENDING:
        return JobBaseState.PENDING, flags
    if not bases and flags and flags <= _WORDS_OF_RUNNING:
        return JobBaseState.RUNNING, flags
    return JobBaseState.UNKNOWN, flags


def _is_stopped(job: Mapping[str, Any]) -> bool:
    """Whether its priority is 0; `hold` is newer versions' word for that."""
    return job.get("hold") is True or _number(job.get("priority")) == 0


def _held(job: Mapping[str, Any], nodes: tuple[str, ...]) -> tuple[HeldGpus, ...]:
    """What it holds on each node."""
    details = job.get("gres_detail")
    if isinstance(details, list) and len(details) == len(nodes):
        return tuple(
            HeldGpus(node, one.gpu_type, one.count)
            for node, detail in zip(nodes, details, strict=True)
            for one in held_gpus(str(detail))
        )
    # A job that completes has no details left, but still holds what it was given.
    totals = gpus_of_tres(_text(job.get("tres_alloc_str")))
    return tuple(
        HeldGpus(node, one.gpu_type, -(-one.count // len(nodes)))
        for node in nodes
        for one in totals
    )


def _end(job: Mapping[str, Any], state: JobBaseState, time_limit: float | None) -> float | None:
    if state is JobBaseState.PENDING:
        return None
    if state in (JobBaseState.RUNNING, JobBaseState.SUSPENDED) and time_limit == math.inf:
        return math.inf
    return _time(job.get("end_time"))


def _exit_code(value: object, state: JobBaseState) -> int | None:
    if state in (JobBaseState.PENDING, JobBaseState.RUNNING, JobBaseState.SUSPENDED):
        return None
    if isinstance(value, Mapping):
        signal = value.get("signal")
        if isinstance(signal, Mapping) and _number(signal.get("id", signal.get("signal_id"))):
            return None
        code = _number(value.get("return_code"))
        return None if code is None else int(code)
    status = _number(value)
    if status is None or int(status) & 0x7F:  # ended by a signal (wait(2))
        return None
    return int(status) >> 8


def _time(value: object) -> float | None:
    number = _number(value)
    return number if number else None


def _number(value: object) -> float | None:
    """A number in any of Slurm's spellings; None where none is set, `inf` for infinite."""
    if isinstance(value, Mapping):
        if value.get("infinite") is True:
            return math.inf
        if value.get("set") is not True:
            return None
        value = value.get("number")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value == _INFINITE:
        return math.inf
    return None if value == _NO_VALUE else float(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) and value != "(null)" else ""
