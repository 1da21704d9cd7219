"""Which GPUs are really free now: what lets a grown job start only once the shrunk one has left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ef_slurm.model import Block
from ef_slurm.slurm.types import HoldKind, Observation, SlurmJob


@dataclass(slots=True)
class FreeGpus:
    """Free GPUs by node; fewer with each job that is released within one tick."""

    by_node: dict[str, int]

    def fits(self, block: Block) -> bool:
        """Whether every node of the block has its GPUs free."""
        return all(self.by_node.get(node, 0) >= block.gpus_per_node for node in block.nodes)

    def take(self, block: Block) -> None:
        """Take the block away for a job that is about to be released."""
        for node in block.nodes:
            self.by_node[node] = self.by_node.get(node, 0) - block.gpus_per_node


def free_gpus_of(observation: Observation, ours: Iterable[int]) -> FreeGpus:
    """The free GPUs of every usable node.

    A job that still completes holds its GPUs. One of `ours` (Slurm job ids) that was released and
    has not started yet holds what it asks for; others' pending jobs hold nothing.
    """
    own = frozenset(ours)
    free = {node.name: node.gpu_total for node in observation.nodes if node.usable}
    for job in observation.jobs.values():
        for node, gpus in _claims(job, job.job_id in own):
            if node in free:
                free[node] -= gpus
    return FreeGpus(free)


def _claims(job: SlurmJob, own: bool) -> tuple[tuple[str, int], ...]:
    if job.holds_nodes:
        return job.gpus
    if own and job.is_pending and job.hold is HoldKind.NONE:
        return tuple((node, job.requested.gpus_per_node or 0) for node in job.requested.nodes)
    return ()
