"""Which GPUs are really free now: what lets a grown job start only once the shrunk one has left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ef_slurm.daemon.observe.gpu_types import counts_of, held_of_types, type_on
from ef_slurm.model import Block
from ef_slurm.slurm.types import HeldGpus, HoldKind, Observation, SlurmJob


@dataclass(slots=True)
class FreeGpus:
    """Free GPUs by node and Slurm's name of their type; fewer with each job that is released."""

    by_node: dict[str, dict[str, int]]

    def fits(self, block: Block) -> bool:
        """Whether every node of the block has its GPUs free."""
        return all(self._free(node, block) >= block.gpus_per_node for node in block.nodes)

    def take(self, block: Block) -> None:
        """Take the block away for a job that is about to be released."""
        for node in block.nodes:
            free = self.by_node.get(node, {})
            gpu_type = type_on(free, block)
            if gpu_type is not None:
                free[gpu_type] -= block.gpus_per_node

    def _free(self, node: str, block: Block) -> int:
        free = self.by_node.get(node, {})
        gpu_type = type_on(free, block)
        return 0 if gpu_type is None else free[gpu_type]


def free_gpus_of(observation: Observation, ours: Iterable[int]) -> FreeGpus:
    """The free GPUs of every usable node.

    A job that still completes holds its GPUs. One of `ours` (Slurm job ids) that was released and
    has not started yet holds what it asks for; others' pending jobs hold nothing.
    """
    own = frozenset(ours)
    claims: dict[str, list[HeldGpus]] = {}
    for job in observation.jobs.values():
        for held in _claims(job, job.job_id in own):
            claims.setdefault(held.node, []).append(held)
    free: dict[str, dict[str, int]] = {}
    for node in observation.nodes:
        if node.usable:
            gone = held_of_types(node, claims.get(node.name, ()))
            free[node.name] = {kind: count - gone[kind] for kind, count in counts_of(node).items()}
    return FreeGpus(free)


def _claims(job: SlurmJob, own: bool) -> tuple[HeldGpus, ...]:
    if job.holds_nodes:
        return job.held
    if own and job.is_pending and job.hold is HoldKind.NONE:
        requested = job.requested
        count = requested.gpus_per_node or 0
        return tuple(HeldGpus(node, requested.gpu_type, count) for node in requested.nodes)
    return ()
