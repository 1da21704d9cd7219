"""Arrays in the table: one line for all of their jobs that are in one state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ef_slurm.formats.arrays import format_tasks
from ef_slurm.model import JobView, PromiseState


def collapsed(jobs: Iterable[JobView]) -> tuple[JobView, ...]:
    """The jobs, in which one stands for all of an array that have come equally far.

    It has the GPUs and the work of all, and all else of the one that is due to finish last.
    """
    groups: dict[object, list[JobView]] = {}
    for place, job in enumerate(jobs):
        array = job.array
        alike = (job.state, job.measuring is None, job.promise, job.promise_outcome)
        key = place if array is None else (array.job_id, job.owner, *alike)
        groups.setdefault(key, []).append(job)
    return tuple(_one(members) for members in groups.values())


def _one(members: Sequence[JobView]) -> JobView:
    if len(members) == 1:
        return members[0]
    last = max(members, key=lambda job: -math.inf if job.finish is None else job.finish)
    array = last.array
    assert array is not None
    tasks = format_tasks(job.array.task for job in members if job.array is not None)
    waits = not any(job.share for job in members)
    most = f"%{array.most}" if array.most and waits else ""
    iterations = [job.iterations for job in members if job.iterations is not None]
    rates = [job.rate for job in members if job.rate is not None]
    return replace(
        last,
        array=replace(array, several=f"{tasks}{most}"),
        share=sum(job.share for job in members),
        nodes=tuple(dict.fromkeys(node for job in members for node in job.nodes)),
        iterations=sum(iterations) if len(iterations) == len(members) else None,
        iteration=sum(job.iteration for job in members),
        rate=sum(rates) if rates else None,
        promise=max((job.promise for job in members), key=list(PromiseState).index),
    )
