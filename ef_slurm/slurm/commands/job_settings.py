"""What a job's owner asked for beside its shape, out of `squeue --json`: to be compared later.

On a held job its owner may change nearly everything. Fields are listed here that nobody but a
person changes: neither Slurm, by starting and requeueing the job, nor ef-slurm, which sets nodes,
tasks, CPUs, GPUs, times and the comment. Measured on 24.11: a whole cycle of update, release, run
and requeue leaves them all as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

_NAMES: Mapping[str, str] = {
    "account": "account",
    "qos": "QOS",
    "partition": "partition",
    "resv_name": "reservation",
    "dependency": "dependency",
    "features": "features",
    "prefer": "preferred features",
    "cluster_features": "cluster features",
    "excluded_nodes": "excluded nodes",
    "licenses": "licenses",
    "burst_buffer": "burst buffer",
    "contiguous": "contiguous nodes",
    "required_switches": "switches",
    "minimum_switches": "switches",
    "cpus_per_tres": "CPUs per GPU",
    "memory_per_tres": "memory per GPU",
    "memory_per_node": "memory per node",
    "memory_per_cpu": "memory per CPU",
    "minimum_tmp_disk_per_node": "temporary disk per node",
    "tres_per_job": "GPUs per job",
    "tres_per_socket": "GPUs per socket",
    "tres_per_task": "GPUs per task",
    "requeue": "requeue",
    "shared": "sharing of nodes",
    "deadline": "Slurm deadline",
    "time_limit": "time limit",
    "wckey": "workload key",
    "container": "container",
    "current_working_directory": "working directory",
}
"""Slurm's key → what people call it."""

_UNTIL_IT_RUNS: Mapping[str, str] = {
    "standard_output": "output file",
    "standard_error": "error file",
    "standard_input": "input file",
}
"""The same, of what Slurm completes with the names of nodes once a job has run."""

EXACT_MEMORY = frozenset({"EXACT_MEMORY_REQUESTED", "JOB_MEM_SET"})
"""The flag of jobs that asked for memory by node or CPU; `--mem-per-gpu` hides how much. The second
name is that of 22.05."""


def settings_of(
    job: Mapping[str, Any], number: Callable[[object], float | None], release: str
) -> tuple[tuple[str, str], ...]:
    """The fields, sorted; what Slurm does not tell is left out.

    Args:
        job: one of the jobs of `squeue --json`.
        number: reads a number in any of Slurm's spellings.
        release: of the Slurm that wrote it: another one may spell the same otherwise.
    """
    found: dict[str, str] = {"Slurm": release}
    named = _NAMES if number(job.get("restart_cnt")) else {**_NAMES, **_UNTIL_IT_RUNS}
    for key, name in named.items():
        if key in job:
            found[name] = _word(job[key], number)
    flags = job.get("flags")
    exact = isinstance(flags, list) and not EXACT_MEMORY.isdisjoint(map(str, flags))
    found["memory by node or CPU"] = "yes" if exact else "no"
    if not exact or found.get("memory per GPU"):
        # A default, which follows the shape, or derived from the memory per GPU.
        found.pop("memory per node", None)
        found.pop("memory per CPU", None)
    return tuple(sorted(found.items()))


def is_array(job: Mapping[str, Any], number: Callable[[object], float | None]) -> bool:
    """Whether it is an array, or a task of one."""
    return bool(number(job.get("array_job_id")) or job.get("array_task_string"))


def is_heterogeneous(job: Mapping[str, Any], number: Callable[[object], float | None]) -> bool:
    """Whether it is a component of a heterogeneous job."""
    return bool(number(job.get("het_job_id")) or job.get("het_job_id_set"))


def _word(value: object, number: Callable[[object], float | None]) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(sorted(str(item) for item in value))
    if isinstance(value, Mapping | int | float):
        found = number(value)
        return "" if not found else "unlimited" if math.isinf(found) else f"{found:.0f}"
    return value if isinstance(value, str) and value != "(null)" else ""
