"""The blocks of a GPU type that one job may not use: holes for it alone.

A job may be restricted to nodes (features, excluded nodes), and Slurm may have refused it on some,
at that size or at any. For everybody else these GPUs are what they are.

>>> from ef_slurm.model import Bar, Cluster
>>> from ef_slurm.planner.timeline.gpu_index import GpuIndexSpace
>>> space = GpuIndexSpace(Cluster.uniform(nodes=4, gpus_per_node=2).group("gpu"))
>>> barred = BarredBlocks.of(space, [Bar(frozenset({"n1"}), from_gpus=2)])
>>> barred.touches(0, 1), barred.touches(0, 2), barred.touches(0, 4), barred.touches(4, 4)
(False, True, True, False)
>>> barred.largest
4
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ef_slurm.model import Bar
from ef_slurm.planner.timeline.gpu_index import GpuIndexSpace

Flags = NDArray[np.bool_]


class BarredBlocks:
    """Which aligned blocks the job may not use, for every size of a block."""

    def __init__(self, levels: tuple[Flags, ...]) -> None:
        self._levels = levels

    @classmethod
    def of(cls, space: GpuIndexSpace, bars: Iterable[Bar]) -> BarredBlocks | None:
        """The blocks that `bars` name; None when they name no node of the space."""
        index = {node.name: number for number, node in enumerate(space.group.nodes)}
        top = space.width.bit_length() - 1
        # Per GPU: the least size of a block that it is barred for.
        least = np.zeros(-(-space.width // (1 << top)) << top)
        least[: space.width] = np.inf
        for bar in bars:
            for number in (index[name] for name in bar.nodes if name in index):
                gpus = least[number * space.per_node : (number + 1) * space.per_node]
                np.minimum(gpus, bar.from_gpus, out=gpus)
        if np.isinf(least[: space.width]).all():
            return None
        levels = [least <= 1]
        for level in range(1, top + 1):
            least = np.minimum(least[0::2], least[1::2])
            levels.append(least <= 1 << level)
        return cls(tuple(levels))

    def at(self, level: int) -> Flags:
        """Over the aligned blocks of 2**level GPUs; shape (GPUs >> level,)."""
        return self._levels[level]

    def touches(self, first_gpu: int, gpus: int) -> bool:
        """Whether an aligned block of `gpus` GPUs is one that the job may not use."""
        level = gpus.bit_length() - 1
        return level >= len(self._levels) or bool(self._levels[level][first_gpu >> level])

    @property
    def largest(self) -> int:
        """GPUs of the largest block that the job may use; 0 when it may use none."""
        for level in range(len(self._levels) - 1, -1, -1):
            if not self._levels[level].all():
                return 1 << level
        return 0
