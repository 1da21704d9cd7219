"""Blocks as numbers: the GPUs of one type, counted in the site's node order.

>>> from ef_slurm.model import Cluster
>>> space = GpuIndexSpace(Cluster.uniform(nodes=4, gpus_per_node=4).group("gpu"))
>>> space.block(first_gpu=6, gpus=2)
Block(gpu_type='gpu', nodes=('n2',), gpus_per_node=2, first_gpu=2)
>>> space.first_gpu(space.block(first_gpu=8, gpus=8))
8
"""

from __future__ import annotations

from ef_slurm.model import Block, Cluster, NodeGroup


class GpuIndexSpace:
    """The GPUs of one node group, numbered from 0.

    A GPU's number is its node's index times GPUs per node, plus its index inside the node. A
    block of 2^k GPUs begins at a multiple of 2^k (buddy allocation), so two numbers say which
    one it is, and aligned blocks of one size are rows of an array over all GPUs.
    """

    def __init__(self, group: NodeGroup) -> None:
        self.group = group
        self.per_node = group.gpus_per_node
        self.width = len(group.nodes) * self.per_node
        self._index = {node.name: index for index, node in enumerate(group.nodes)}
        self.most_wake_seconds = max(node.wake_seconds for node in group.nodes)
        """The most that any node needs to wake."""
        self.asleep = frozenset(node.name for node in group.nodes if node.wake_seconds)
        """The nodes that have to be woken."""

    def wake_seconds(self, first_gpu: int, gpus: int) -> float:
        """How long the nodes of a block need to wake."""
        if not self.asleep:
            return 0.0
        first, last = first_gpu // self.per_node, (first_gpu + gpus - 1) // self.per_node
        return max(node.wake_seconds for node in self.group.nodes[first : last + 1])

    def usable_at(self, now: float) -> int:
        """GPUs of nodes that are up, and that no outage takes at this moment."""
        count = 0
        for node in self.group.nodes:
            taken = [
                self.per_node if outage.gpus is None else outage.gpus
                for outage in node.outages
                if outage.start <= now < outage.end
            ]
            count += 0 if node.wake_seconds else max(0, self.per_node - sum(taken))
        return count

    def block(self, first_gpu: int, gpus: int) -> Block:
        """The aligned block of `gpus` GPUs that begins at `first_gpu`."""
        group = self.group
        index, offset = divmod(first_gpu, self.per_node)
        if gpus <= self.per_node:
            return Block(group.gpu_type, (group.nodes[index].name,), gpus, offset)
        nodes = group.nodes[index : index + gpus // self.per_node]
        return Block(group.gpu_type, tuple(node.name for node in nodes), self.per_node)

    def first_gpu(self, block: Block) -> int | None:
        """Where a block begins; None when it is no aligned block of these nodes (any more)."""
        index = self._index.get(block.nodes[0])
        if index is None:
            return None
        first = index * self.per_node + block.first_gpu
        names = block.nodes
        # More than one node: all of their GPUs, and neighbours in the site's order.
        whole = len(names) == 1 or (
            block.gpus_per_node == self.per_node
            and names == tuple(n.name for n in self.group.nodes[index : index + len(names)])
        )
        fits = block.first_gpu + block.gpus_per_node <= self.per_node
        return first if whole and fits and first % block.gpus == 0 else None


def index_spaces(cluster: Cluster) -> dict[str, GpuIndexSpace]:
    """The numbering of every GPU type."""
    return {group.gpu_type: GpuIndexSpace(group) for group in cluster.groups}
