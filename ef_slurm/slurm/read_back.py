"""What Slurm made of an update, against what was asked for.

Updates are not atomic, some are taken and changed, and until 26.05.3 backfill could undo a new time
limit during its cycle: what counts is what the job shows afterwards.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ef_slurm.formats.durations import whole_minutes
from ef_slurm.formats.gres import GPU, Gres, format_gres
from ef_slurm.formats.hostlist import compress
from ef_slurm.slurm.types import JobUpdate, Requested, Shape, SlurmJob


def gres_of(shape: Shape) -> str:
    """What a shape asks for on each node, as Slurm writes it: "gpu:a100:4"."""
    return format_gres([Gres(GPU, shape.gpu_type, shape.gpus_per_node)])


def _asked(requested: Requested) -> str:
    count = requested.gpus_per_node
    return "none" if count is None else format_gres([Gres(GPU, requested.gpu_type, count)])


def undone_after_release(update: JobUpdate, job: SlurmJob) -> list[str]:
    """The same for a job that was released since: once it runs, what it holds is its shape."""
    if update.shape is None or not job.holds_nodes:
        return differences_of(update, job)
    wanted = {(node, update.shape.gpus_per_node) for node in update.shape.nodes}
    others = differences_of(replace(update, shape=None), job)
    if set(job.gpus) == wanted:
        return others
    held = ", ".join(f"{count} on {node}" for node, count in job.gpus) or "none"
    return [f"GPUs are {held}, not {gres_of(update.shape)} on each of its nodes", *others]


def differences_of(update: JobUpdate, job: SlurmJob) -> list[str]:
    """A sentence for every field that is not what was asked for, as far as Slurm tells."""
    requested = job.requested
    pairs: list[tuple[str, object, object]] = []
    if update.shape is not None:
        count = len(update.shape.nodes)
        pairs += [
            ("tasks", requested.tasks, count),
            ("GPUs per node", _asked(requested), gres_of(update.shape)),
            ("node list", compress(sorted(requested.nodes)), compress(sorted(update.shape.nodes))),
        ]
        if requested.min_nodes is not None:
            pairs += [
                ("fewest nodes", requested.min_nodes, count),
                ("most nodes", requested.max_nodes, count),
            ]
    if update.time_limit is not None:
        wanted = whole_minutes(update.time_limit)
        # 22.05 tells no limit of a pending job that has none.
        seen = math.inf if requested.time_limit is None else requested.time_limit
        pairs.append(("time limit in seconds", seen, wanted))
    if update.comment is not None and job.is_marked:
        # What a comment says beside that starts nothing, and a site may change it.
        pairs.append(("comment", requested.comment, update.comment))
    return [f"{what} is {seen}, not {wanted}" for what, seen, wanted in pairs if seen != wanted]
