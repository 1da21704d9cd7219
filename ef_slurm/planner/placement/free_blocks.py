"""Aligned blocks in an array of free GPUs per node (paper section 4.3).

The array follows the site's node order. A block of 2^k whole nodes starts at a multiple of 2^k;
inside a node only the count matters, so a node with f free GPUs holds f // s blocks of s GPUs.

Three nodes of 4 GPUs, half of the first one taken, hold five blocks of 2 GPUs but none of 8, since
n2 and n3 are no aligned pair:

>>> free = np.array([2, 4, 4])
>>> aligned_free(free, 4, 2).tolist(), aligned_free(free, 4, 8).tolist()
([0, 1, 1, 2, 2], [])
>>> count_free_blocks(free, 4).by_size
(10, 10, 8, 0)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ef_slurm.model import Node

Counts = NDArray[np.int64]

NEIGHBOURHOOD_WEIGHT = 1 / 8
"""How much less the next larger neighbourhood counts when equals are compared."""


@dataclass(frozen=True, slots=True)
class FreeBlockCounts:
    """What can be placed: `by_size[k]` GPUs lie in aligned blocks of at least 2^k GPUs.

    >>> counts = FreeBlockCounts((12, 12, 8, 8))
    >>> counts.fits([8, 2, 2]), counts.fits([4, 4, 4])
    (True, False)
    """

    by_size: tuple[int, ...]

    @property
    def gpus(self) -> int:
        """All usable GPUs."""
        return self.by_size[0] if self.by_size else 0

    @property
    def largest(self) -> int:
        """The largest block, in GPUs; 0 when there is none."""
        return max((1 << k for k, gpus in enumerate(self.by_size) if gpus), default=0)

    def fits(self, sizes: Iterable[int]) -> bool:
        """Whether blocks of these sizes can be placed together (the fit theorem)."""
        wanted = list(sizes)
        return len(self.accept(wanted)) == len(wanted)

    def accept(self, sizes: Sequence[int]) -> list[int]:
        """Positions of the `sizes` that fit together, the earlier ones first."""
        left = list(self.by_size)
        accepted = []
        for position, size in enumerate(sizes):
            levels = size.bit_length()
            if levels <= len(left) and min(left[:levels]) >= size:
                accepted.append(position)
                for level in range(levels):
                    left[level] -= size
        return accepted


def usable_gpus(node: Node, gpus_per_node: int, at: float) -> int:
    """GPUs of a node that may be used at a time: all less the sum of the outages in force."""
    usable = gpus_per_node
    for outage in node.outages:
        if outage.start <= at < outage.end:
            usable -= gpus_per_node if outage.gpus is None else outage.gpus
    return max(0, usable)


def aligned_free(free: Counts, gpus_per_node: int, size: int) -> Counts:
    """First nodes of the aligned free blocks of `size` GPUs; a node once per block inside it.

    Args:
        free: free GPUs per node, shape (nodes,).
        gpus_per_node: GPUs of a healthy node.
        size: a power of two.

    Returns:
        Node indices in the site's order, shape (blocks,).
    """
    if size < gpus_per_node:
        # Inside a node any GPUs do: only their number counts.
        return np.repeat(np.arange(free.size), free // size)
    nodes = size // gpus_per_node
    whole = free.size // nodes * nodes  # nodes at the end make no aligned block
    full = (free[:whole].reshape(-1, nodes) == gpus_per_node).all(axis=1)
    return np.flatnonzero(full) * nodes


def count_free_blocks(free: Counts, gpus_per_node: int) -> FreeBlockCounts:
    """The GPUs in free blocks of every size; `free` has free GPUs per node, shape (nodes,)."""
    by_size = []
    size = 1
    while size <= gpus_per_node * free.size:
        by_size.append(size * aligned_free(free, gpus_per_node, size).size)
        size *= 2
    return FreeBlockCounts(tuple(by_size))


def ranked(free: Counts, gpus_per_node: int, size: int) -> Counts:
    """First nodes of the free blocks of `size`, the best first.

    Best is the block cut from the smallest free block; among equals the most crowded neighbourhood,
    then the site's order. A node comes once for every block inside it.

    Args:
        free: free GPUs per node, shape (nodes,).
        gpus_per_node: GPUs of a healthy node.
        size: a power of two.

    Returns:
        Node indices, shape (blocks,).
    """
    whole, crowd = _whole_and_crowd(free, gpus_per_node)
    if size >= gpus_per_node:
        nodes = aligned_free(free, gpus_per_node, size)
        pieces = whole[nodes]
        times = np.ones_like(nodes)
    else:
        # Nodes that are free as a whole, and then, for each power of two between the size and the
        # node, those whose free GPUs hold a piece of it: the binary digits of their number.
        found = [np.flatnonzero(whole)]
        cut = [whole[found[0]]]
        piece = size
        while piece < gpus_per_node:
            part = np.flatnonzero((free & piece != 0) & (whole == 0))
            found.append(part)
            cut.append(np.full(part.size, piece))
            piece *= 2
        nodes, pieces = np.concatenate(found), np.concatenate(cut)
        times = np.minimum(pieces, gpus_per_node) // size
    order = np.lexsort((nodes, crowd[nodes], pieces))
    return np.repeat(nodes[order], times[order])


def _whole_and_crowd(free: Counts, gpus_per_node: int) -> tuple[Counts, NDArray[np.float64]]:
    """Per node: GPUs of the largest free block around it, and how free its surroundings are.

    Both of shape (nodes,); the first is 0 for a node that is not entirely free.
    """
    whole = np.where(free == gpus_per_node, free, 0)
    crowd = free / gpus_per_node
    span, weight = 2, NEIGHBOURHOOD_WEIGHT
    padded = free  # sums over spans of nodes: half as many values at every round
    while span < 2 * free.size:
        padded = np.append(padded, 0) if padded.size % 2 else padded
        padded = padded.reshape(-1, 2).sum(axis=1)
        around = np.repeat(padded, span)[: free.size]
        whole = np.where(around == span * gpus_per_node, around, whole)
        crowd = crowd + weight * around / (span * gpus_per_node)
        span, weight = span * 2, weight * NEIGHBOURHOOD_WEIGHT
    return whole, crowd
