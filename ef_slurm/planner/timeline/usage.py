"""How much is used at every moment, as a step function.

>>> profile = UsageProfile()
>>> profile.add("a", 0.0, 10.0, 4.0)
>>> profile.add("b", 5.0, 20.0, 3.0)
>>> profile.peak(0.0, 20.0), profile.peak(10.0, 20.0), profile.next_fall(6.0)
(7.0, 3.0, 10.0)
>>> profile.remove("a")
>>> profile.peak(0.0, 20.0)
3.0
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right


class UsageProfile:
    """What the parts of many users add up to over time."""

    def __init__(self) -> None:
        # From `_times[i]` on, until the next one, `_levels[i]` are used.
        self._times = [-math.inf]
        self._levels = [0.0]
        self._parts: dict[str, tuple[tuple[float, float, float], ...]] = {}

    def copy(self) -> UsageProfile:
        """The same, to be changed on its own."""
        twin = UsageProfile()
        twin._times, twin._levels = self._times.copy(), self._levels.copy()
        twin._parts = self._parts.copy()
        return twin

    def add(self, name: str, start: float, end: float, amount: float) -> None:
        """From `start` to `end` somebody uses so much more."""
        self._parts[name] = (*self._parts.get(name, ()), (start, end, amount))
        self._change(start, end, amount)

    def remove(self, name: str) -> None:
        """All that somebody uses is used no longer."""
        for start, end, amount in self._parts.pop(name, ()):
            self._change(start, end, -amount)

    def without(self, name: str) -> UsageProfile:
        """What all the others use; not to be changed."""
        if name not in self._parts:
            return self
        twin = self.copy()
        twin.remove(name)
        return twin

    def peak(self, start: float, end: float) -> float:
        """The most that is used at one moment from `start` to `end`."""
        first = bisect_right(self._times, start) - 1
        return max(self._levels[max(0, first) : max(first + 1, bisect_left(self._times, end))])

    def next_fall(self, start: float) -> float:
        """The first moment after `start` from which on less is used; infinite if there is none."""
        for place in range(bisect_right(self._times, start), len(self._times)):
            if self._levels[place] < self._levels[place - 1]:
                return self._times[place]
        return math.inf

    def _change(self, start: float, end: float, amount: float) -> None:
        first = self._cut(start)
        last = len(self._times) if end == math.inf else self._cut(end)
        for place in range(first, last):
            self._levels[place] += amount

    def _cut(self, at: float) -> int:
        """The place of the step that begins at this moment; there is one from now on."""
        place = bisect_left(self._times, at)
        if place == len(self._times) or self._times[place] != at:
            self._times.insert(place, at)
            self._levels.insert(place, self._levels[place - 1])
        return place
