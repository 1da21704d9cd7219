"""Where jobs stand that are to go on there, and what it does to them to take GPUs from under them.

Plans that are made anew begin with an empty timetable, on which whoever is planned first could have
any block. To take one that a job stands on moves that job, which costs its training time, though
another block may be free or just being given up. So of all blocks that serve, searches take those
that fewest jobs would have to leave.

A job that is made smaller in place for next to nothing keeps its first node; another one is
restarted whatever part of its block it loses.

>>> standing = StandingBlocks(16, 4, [(0, 8, True), (8, 4, False)])  # the first is made smaller
>>> standing.at(2).tolist()  # over blocks of 4 GPUs: a job moves, one shrinks, one moves, none
[3, 1, 3, 0]
>>> standing.at(3).tolist()
[3, 3]
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

_MOVED = 2
"""What a job counts that has to move, beside 1 for a block that is not left alone altogether."""


class StandingBlocks:
    """What taking an aligned block does to others, for every size of a block.

    Args:
        gpus: of the timetable, the padding included.
        per_node: GPUs per node.
        blocks: (first GPU, GPUs, whether the job keeps its first node at little cost).
    """

    def __init__(self, gpus: int, per_node: int, blocks: Iterable[tuple[int, int, bool]]) -> None:
        self._gpus = gpus
        rows = np.array(list(blocks), dtype=np.int64).reshape(-1, 3)
        first, size, shrinks = rows[:, 0], rows[:, 1], rows[:, 2].astype(bool)
        self._first, self._end = first, first + size
        # Inside a node nothing is given up in place.
        self._kept = first + np.where(shrinks & (size > per_node), per_node, size)
        self._levels: dict[int, Counts] = {}

    def at(self, level: int) -> Counts:
        """Over the aligned blocks of 2**level GPUs: 0 for one that nobody stands on.

        The more jobs would have to move, the more it is.
        """
        known = self._levels.get(level)
        if known is None:
            touched = self._over(level, self._end) > 0
            known = self._levels[level] = _MOVED * self._over(level, self._kept) + touched
        return known

    def _over(self, level: int, end: Counts) -> Counts:
        """How many jobs' GPUs, from their first to `end`, each block touches."""
        blocks = self._gpus >> level
        begins = np.bincount(self._first >> level, minlength=blocks + 1)
        ends = np.bincount((end - 1 >> level) + 1, minlength=blocks + 1)
        counts: Counts = np.cumsum(begins - ends)[:blocks]
        return counts
