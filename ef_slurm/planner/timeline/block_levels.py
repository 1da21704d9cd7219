"""Values of single GPUs, and their minima or maxima over aligned blocks of every size.

>>> levels = BlockLevels(np.array([5.0, 3.0, 9.0, 7.0]), least=True)
>>> levels.at(1).tolist(), levels.at(2).tolist()  # over blocks of 2 GPUs, of 4 GPUs
([3.0, 7.0], [3.0])
>>> levels.arrays[0][1] = 6.0
>>> levels.touch(1, 2)
>>> levels.at(1).tolist()
[5.0, 7.0]
>>> levels.tighten(first=2, level=1, value=4.0)
>>> levels.at(1).tolist(), levels.at(2).tolist()
([5.0, 4.0], [4.0])
"""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class BlockLevels:
    """A pyramid of arrays: `arrays[k]` has one value for each aligned block of 2**k GPUs.

    A level is made when it is first asked for. From then on `tighten` keeps it true, which is cheap
    because it changes values in one direction only. Other writers change `arrays[0]` (one value per
    GPU) and say so by `touch`; levels are then refreshed, over what has changed, when next asked.
    """

    def __init__(self, leaves: Floats, *, least: bool) -> None:
        """The values of single GPUs; minima over blocks if `least`, else maxima."""
        self.arrays: list[Floats] = [leaves]
        self._least = least
        self._fold = np.minimum if least else np.maximum
        self._low, self._high = len(leaves), 0  # what was touched, as one range of GPUs

    def copy(self) -> BlockLevels:
        """The same values, to be changed on their own."""
        twin = copy(self)
        twin.arrays = [array.copy() for array in self.arrays]
        return twin

    def touch(self, low: int, high: int) -> None:
        """Note that GPUs `low` to `high - 1` have changed."""
        if low < self._low:
            self._low = low
        if high > self._high:
            self._high = high

    def tighten(self, first: int, level: int, value: float) -> None:
        """Let no GPU of a block of 2**level GPUs have more than `value` (less, for maxima)."""
        least, arrays = self._least, self.arrays
        last = first + (1 << level)
        if self._low < self._high or level >= len(arrays):
            part = arrays[0][first:last]
            self._fold(part, value, out=part)
            self.touch(first, last)
            return
        before = arrays[level][first >> level]
        whole = before >= value if least else before <= value
        for step in range(level):
            if whole:
                arrays[step][first >> step : last >> step] = value
            else:
                part = arrays[step][first >> step : last >> step]
                self._fold(part, value, out=part)
        for step in range(level, len(arrays)):
            array, place = arrays[step], first >> step
            before = array[place]
            if before <= value if least else before >= value:
                break  # then larger blocks around it have no more either
            array[place] = value

    def over(self, first: int, gpus: int) -> float:
        """The value over some GPUs; for an aligned block it is mostly known."""
        level = gpus.bit_length() - 1
        aligned = not (gpus & gpus - 1 or first & gpus - 1)
        if aligned and level < len(self.arrays) and self._low >= self._high:
            return float(self.arrays[level][first >> level])
        return float(self._fold.reduce(self.arrays[0][first : first + gpus]))

    def at(self, level: int) -> Floats:
        """Values over the blocks of 2**level GPUs; shape (GPUs >> level,)."""
        if self._low < self._high:
            for step in range(1, len(self.arrays)):
                self._refresh(step, self._low, self._high)
            self._low, self._high = len(self.arrays[0]), 0
        for step in range(len(self.arrays), level + 1):
            self.arrays.append(np.empty(len(self.arrays[0]) >> step))
            self._refresh(step, 0, len(self.arrays[0]))
        return self.arrays[level]

    def _refresh(self, level: int, low: int, high: int) -> None:
        """Make a level true between two GPUs, from the one below it."""
        first, last = low >> level, (high - 1 >> level) + 1
        below = self.arrays[level - 1]
        self._fold(
            below[2 * first : 2 * last : 2],
            below[2 * first + 1 : 2 * last : 2],
            out=self.arrays[level][first:last],
        )
