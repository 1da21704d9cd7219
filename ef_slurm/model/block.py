"""Blocks: buddy-aligned sets of GPUs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ef_slurm.model.checks import is_power_of_two
from ef_slurm.model.errors import ModelError


@dataclass(frozen=True, slots=True)
class Block:
    """A buddy-aligned set of GPUs: inside one node, or 2^k whole nodes.

    `nodes` are names in the cluster's node order, `gpus_per_node` the GPUs taken on each.
    `first_gpu` is the offset inside the node; Slurm picks the real indices, so it only keeps the
    books (no node is given out twice).
    """

    gpu_type: str
    nodes: tuple[str, ...]
    gpus_per_node: int
    first_gpu: int = 0

    def __post_init__(self) -> None:
        if not is_power_of_two(len(self.nodes)):
            raise ModelError("block nodes", self.nodes, "a power of two of them")
        if not is_power_of_two(self.gpus_per_node):
            raise ModelError("block GPUs per node", self.gpus_per_node, "a power of two")
        if self.first_gpu < 0 or self.first_gpu % self.gpus_per_node:
            raise ModelError("block first GPU", self.first_gpu, "a multiple of the GPUs per node")

    @property
    def gpus(self) -> int:
        """GPUs in the block."""
        return len(self.nodes) * self.gpus_per_node


def active_part(block: Block, gpus: int) -> Block:
    """The GPUs of a block that a launch on `gpus` of them uses: on its first nodes, from the first.

    Raises:
        ModelError: `gpus` is no size of a part of the block.

    >>> active_part(Block("gpu", ("n1", "n2"), 4), 2).nodes
    ('n1',)
    """
    if not is_power_of_two(gpus) or gpus > block.gpus:
        raise ModelError("active GPUs", gpus, f"a power of two of at most {block.gpus}")
    per_node = min(gpus, block.gpus_per_node)
    return replace(block, nodes=block.nodes[: gpus // per_node], gpus_per_node=per_node)


def same_place(one: Block, other: Block) -> bool:
    """Whether two blocks are the same GPUs to Slurm, which picks the indices inside a node."""
    return one.nodes == other.nodes and one.gpus_per_node == other.gpus_per_node
