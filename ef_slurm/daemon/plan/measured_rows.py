"""Rows of jobs that nobody can judge yet: what they stand for, and what comes next. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from ef_slurm.daemon.observe.reserved import is_inside
from ef_slurm.formats.sentences import gpus
from ef_slurm.model import (
    Cluster,
    Job,
    JobKind,
    Measuring,
    ModelError,
    NodeGroup,
    QueueJob,
    ThroughputCurve,
)
from ef_slurm.profiling.measuring import Belief, believe

ASSUMED_ITERATIONS = 1_000_000
"""Of a job that has not told how many it has; a slot lasts as long whatever they are."""


def is_measured(job: QueueJob) -> bool:
    """Whether the job takes part in plans only to be measured."""
    return job.measuring is not None and not job.request.complete


def stand_in(job: QueueJob) -> QueueJob:
    """The row of a job that is measured, completed so that the planner can have it.

    Curve and iterations are not looked at.
    """
    measuring, request = job.measuring, job.request
    assert measuring is not None
    curve = ThroughputCurve.of({measuring.wanted[0]: 1.0})
    iterations = request.iterations or int(job.iteration) + ASSUMED_ITERATIONS
    return replace(
        job,
        request=replace(
            request,
            curves=((measuring.gpu_type, curve),),
            growth_curves=(),
            iterations=iterations,
        ),
    )


def one_gpu(job: QueueJob, gpu_type: str, size: int) -> Job:
    measuring = Measuring(0.0, gpu_type, (size,))
    asked = stand_in(replace(job, measuring=measuring, running=None, plan=()))
    return asked.for_planner(iterations=1.0)  # however many it says that it has left


def group_of(job: QueueJob, cluster: Cluster) -> NodeGroup | None:
    """The GPUs that a job is measured on: where it is, else the most that it may use."""
    request = job.request
    types = request.gpu_types or tuple(kind for kind, _ in request.curves)
    if job.measuring is not None and job.measuring.rates:
        types = (job.measuring.gpu_type,)
    groups = [
        group
        for group in cluster.groups
        if not is_inside(group.gpu_type) and (not types or group.gpu_type in types)
    ]
    return max(groups, key=lambda group: group.gpus_per_node * len(group.nodes), default=None)


def trains_on(job: QueueJob) -> int:
    """GPUs that it trains on; 0 for none."""
    return 0 if job.running is None else job.running.active_gpus


def to_hold(job: QueueJob, gpus_per_node: int) -> int:
    """GPUs to ask for: all that sizes inside one node need, so that it keeps them in between."""
    assert job.measuring is not None
    first, *later = job.measuring.wanted
    if first > gpus_per_node:
        return first
    return max(size for size in (first, *later, job.share) if size <= gpus_per_node)


def in_one_round(job: QueueJob) -> tuple[int, ...]:
    """The sizes that a launch can measure by itself, on what it trains on, the largest first.

    All powers of two that are not known, from the least that is wanted or known: once its ranks are
    there, each costs a second or two.
    """
    measuring, trains = job.measuring, trains_on(job)
    if measuring is None or not is_measured(job) or job.request.curves:
        return ()
    if not any(size <= trains for size in measuring.wanted):
        return ()
    known = {size for size, _ in measuring.rates}
    least = min((*measuring.wanted, *known))
    sizes = (trains >> power for power in range(trains.bit_length()))
    return tuple(
        size
        for size in sizes
        if size >= least and size not in known and size not in measuring.unusable
    )


def meanwhile(job: QueueJob, rates: Mapping[int, float], sizes: Collection[int]) -> tuple[int, ...]:
    """The size to go on with while only the number of iterations is missing."""
    if trains_on(job) in sizes:
        return (trains_on(job),)
    return (min(rates, default=min(sizes)),)


def is_late(job: QueueJob, now: float) -> bool:
    deadline = job.request.deadline
    late = deadline is not None and deadline + job.request.grace <= now
    return late and job.kind is not JobKind.BEST_EFFORT


def believed(rates: Mapping[int, float], sizes: Collection[int], gpus_per_node: int) -> Belief:
    try:
        return believe(rates, sizes, gpus_per_node)
    except (ModelError, RuntimeError):
        # No model fits what was seen: nothing else is counted on.
        only = ThroughputCurve.of(dict(rates))
        return Belief(only, only)


def source_words(rates: Mapping[int, float]) -> str:
    sizes = ", ".join(
        f"{rate:.3g} iterations/s on {gpus(size)}" for size, rate in sorted(rates.items())
    )
    alone = "; no other size is counted on" if len(rates) == 1 else ""
    return f"measured while it trained: {sizes}{alone}"
