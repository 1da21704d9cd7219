"""The GPUs of a type that one job may not use: holes for it alone.

A job may be restricted to nodes (features, excluded nodes), and Slurm may have refused it on some.
For everybody else these GPUs are what they are.

>>> from ef_slurm.model import Cluster
>>> from ef_slurm.planner.timeline.gpu_index import GpuIndexSpace
>>> space = GpuIndexSpace(Cluster.uniform(nodes=4, gpus_per_node=2).group("gpu"))
>>> barred = BarredBlocks.of(space, {"n1"})
>>> barred.touches(first_gpu=0, gpus=4), barred.touches(first_gpu=4, gpus=4)
(True, False)
>>> barred.largest
4
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from ef_slurm.planner.timeline.gpu_index import GpuIndexSpace

Flags = NDArray[np.bool_]


class BarredBlocks:
    """Which aligned blocks hold a GPU that the job may not use, for every size of a block."""

    def __init__(self, levels: tuple[Flags, ...]) -> None:
        self._levels = levels

    @classmethod
    def of(cls, space: GpuIndexSpace, nodes: Collection[str]) -> BarredBlocks | None:
        """The blocks that touch `nodes`; None when none of these is in the space."""
        per_node = space.per_node
        names = [node.name in nodes for node in space.group.nodes]
        if not any(names):
            return None
        top = space.width.bit_length() - 1
        leaves = np.ones(-(-space.width // (1 << top)) << top, dtype=np.bool_)
        leaves[: space.width] = np.repeat(np.array(names, dtype=np.bool_), per_node)
        levels = [leaves]
        for _ in range(top):
            below = levels[-1]
            levels.append(below[0::2] | below[1::2])
        return cls(tuple(levels))

    def at(self, level: int) -> Flags:
        """Over the aligned blocks of 2**level GPUs; shape (GPUs >> level,)."""
        return self._levels[level]

    def touches(self, first_gpu: int, gpus: int) -> bool:
        """Whether an aligned block of `gpus` GPUs holds one that the job may not use."""
        level = gpus.bit_length() - 1
        return level >= len(self._levels) or bool(self._levels[level][first_gpu >> level])

    @property
    def largest(self) -> int:
        """GPUs of the largest block that the job may use; 0 when it may use none."""
        for level in range(len(self._levels) - 1, -1, -1):
            if not self._levels[level].all():
                return 1 << level
        return 0
