"""Blocks as places on a line: the GPUs of one type, counted in the site's node order.

>>> from ef_slurm.model import Cluster
>>> line = Line(Cluster.uniform(nodes=4, gpus_per_node=4).group("gpu"))
>>> line.block(first=6, gpus=2)
Block(gpu_type='gpu', nodes=('n2',), gpus_per_node=2, first_gpu=2)
>>> line.first(line.block(first=8, gpus=8))
8
"""

from __future__ import annotations

from ef_slurm.model import Block, Cluster, NodeGroup


class Line:
    """The GPUs of one node group, numbered from 0: node index times GPUs per node, plus offset."""

    def __init__(self, group: NodeGroup) -> None:
        self.group = group
        self.per_node = group.gpus_per_node
        self.width = len(group.nodes) * self.per_node
        self._index = {node.name: index for index, node in enumerate(group.nodes)}

    def block(self, first: int, gpus: int) -> Block:
        """The aligned block of `gpus` GPUs that begins at `first`."""
        group = self.group
        index, offset = divmod(first, self.per_node)
        if gpus <= self.per_node:
            return Block(group.gpu_type, (group.nodes[index].name,), gpus, offset)
        nodes = group.nodes[index : index + gpus // self.per_node]
        return Block(group.gpu_type, tuple(node.name for node in nodes), self.per_node)

    def first(self, block: Block) -> int | None:
        """Where a block begins; None when it is no aligned block of these nodes (any more)."""
        index = self._index.get(block.nodes[0])
        if index is None:
            return None
        first = index * self.per_node + block.first_gpu
        names = block.nodes
        whole = len(names) == 1 or (
            block.gpus_per_node == self.per_node
            and names == tuple(n.name for n in self.group.nodes[index : index + len(names)])
        )
        fits = block.first_gpu + block.gpus_per_node <= self.per_node
        return first if whole and fits and first % block.gpus == 0 else None


def lines_of(cluster: Cluster) -> dict[str, Line]:
    """The line of every GPU type."""
    return {group.gpu_type: Line(group) for group in cluster.groups}
