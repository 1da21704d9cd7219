"""Newcomers that no node here can ever run: they fail, and are told what there is."""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.observe.reserved import is_inside
from ef_slurm.daemon.plan.footprints import footprints_by_job, too_much
from ef_slurm.daemon.plan.planner_input import runs_on
from ef_slurm.model import ACTOR, Cluster, JobState, QueueJob, planner_id
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.per_gpu import per_gpu_of


def turn_away(
    queue: Queue, jobs: tuple[QueueJob, ...], cluster: Cluster, now: float, fence: Fence
) -> tuple[QueueJob, ...]:
    """Fail newcomers that no node of ours can ever run; returns the others.

    Raises:
        QueueError: it cannot be written.
    """
    kept = []
    takes = footprints_by_job(jobs, cluster)
    for job in jobs:
        with fence.around(job, "judged"):
            fits = runs_on(job, cluster) and takes[planner_id(job.id)]
            if job.state is JobState.NEW and not fits:
                _fail(queue, job, cluster, now)
                continue
        kept.append(job)
    return tuple(kept)


def _fail(queue: Queue, job: QueueJob, cluster: Cluster, now: float) -> None:
    wanted = ", ".join(kind for kind, _ in job.request.curves)
    asks = f"it has throughput curves for {wanted}"
    if not wanted:
        asks = f"it asks for {', '.join(job.request.gpu_types) or 'GPUs'}"
    why = f"{asks}; {types_here(cluster)}"
    if runs_on(job, cluster):
        why = too_much(per_gpu_of(job.slurm_settings), cluster)
    with queue.transaction():
        queue.jobs.save(replace(job, note=why))
        queue.jobs.move(job.id, JobState.FAILED, at=now, actor=ACTOR, why=why)


def types_here(cluster: Cluster) -> str:
    """Which GPU types there are, in words."""
    return f"GPU types here: {', '.join(types_of(cluster)) or 'none'}"


def types_of(cluster: Cluster) -> tuple[str, ...]:
    """GPU types, wherever they are: those inside a reservation are outside of it as well."""
    return tuple(one.gpu_type for one in cluster.groups if not is_inside(one.gpu_type))
