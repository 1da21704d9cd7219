"""Values of single GPUs, and their minima or maxima over aligned blocks of every size.

>>> levels = BlockLevels(np.array([5.0, 3.0, 9.0, 7.0]), top=2, least=True)
>>> levels.at(1).tolist(), levels.at(2).tolist()  # over blocks of 2 GPUs, of 4 GPUs
([3.0, 7.0], [3.0])
>>> levels.arrays[0][1] = 6.0
>>> levels.touch(1, 2)
>>> levels.at(1).tolist()
[5.0, 7.0]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class BlockLevels:
    """A pyramid of arrays: `arrays[k]` has one value for each aligned block of 2**k GPUs.

    Writers change `arrays[0]` (one value per GPU) and say so by `touch`. The levels above are
    refreshed when asked for, and only over what has changed since: a plan is entered far more often
    than a large block is searched for.
    """

    def __init__(self, leaves: Floats, top: int, *, least: bool) -> None:
        """`leaves` has a multiple of 2**top values; minima if `least`, else maxima."""
        self.arrays: list[Floats] = [leaves]
        self._fold = np.minimum if least else np.maximum
        for level in range(1, top + 1):
            self.arrays.append(np.empty(len(leaves) >> level))
        # Changes so far, as ranges of GPUs, and how many of them each level has taken in.
        self._lows, self._highs = [0], [len(leaves)]
        self._seen = [0] * (top + 1)

    def copy(self) -> BlockLevels:
        """The same values, to be changed on their own."""
        twin = object.__new__(BlockLevels)
        twin.arrays = [array.copy() for array in self.arrays]
        twin._fold = self._fold
        twin._lows, twin._highs = self._lows.copy(), self._highs.copy()
        twin._seen = self._seen.copy()
        return twin

    def touch(self, low: int, high: int) -> None:
        """Note that GPUs `low` to `high - 1` have changed."""
        self._lows.append(low)
        self._highs.append(high)

    def at(self, level: int) -> Floats:
        """Values over the blocks of 2**level GPUs; shape (GPUs >> level,)."""
        count = len(self._lows)
        for step in range(1, level + 1):
            seen = self._seen[step]
            if seen == count:
                continue
            self._seen[step] = count
            # One range around all changes: cheaper than one numpy call for each of them.
            low, high = min(self._lows[seen:]), max(self._highs[seen:])
            first, last = low >> step, (high - 1 >> step) + 1
            below = self.arrays[step - 1]
            self._fold(
                below[2 * first : 2 * last : 2],
                below[2 * first + 1 : 2 * last : 2],
                out=self.arrays[step][first:last],
            )
        return self.arrays[level]
