"""Which of a node's GPU types a job holds, and what Slurm calls the type of a block.

The planner's name of a type is Slurm's, or the site's (`nodes.gpu_type`) where Slurm's gres names
none. A node may have GPUs of several types.
"""

from __future__ import annotations

from collections.abc import Iterable

from ef_slurm.model import Block
from ef_slurm.slurm.types import HeldGpus, Observation, SlurmNode


def counts_of(node: SlurmNode) -> dict[str, int]:
    """GPUs by Slurm's name of their type."""
    return {gpu.gpu_type: gpu.count for gpu in node.gpus}


def held_of_types(node: SlurmNode, held: Iterable[HeldGpus]) -> dict[str, int]:
    """GPUs of the node that are held, by Slurm's name of their type.

    A job that asked for no type may hold any of them: where the node has several, as many of each
    are taken to be gone.
    """
    counts = counts_of(node)
    gone = dict.fromkeys(counts, 0)
    for one in held:
        if one.node != node.name:
            continue
        for gpu_type in (one.gpu_type,) if one.gpu_type in counts else counts:
            gone[gpu_type] = min(counts[gpu_type], gone[gpu_type] + one.count)
    return gone


def type_on(counts: Iterable[str], block: Block) -> str | None:
    """Slurm's name of the block's type on a node that has these types; None if it has it not."""
    known = set(counts)
    return block.gpu_type if block.gpu_type in known else ("" if "" in known else None)


def slurm_type(observation: Observation, block: Block) -> str:
    """The type to ask Slurm for: "" where some node of the block names none."""
    nodes = [node for node in observation.nodes if node.name in block.nodes]
    named = {type_on(counts_of(node), block) for node in nodes}
    return block.gpu_type if named == {block.gpu_type} else ""
