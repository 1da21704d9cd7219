"""Capacity: which GPUs are free, from when and until when (paper section 4.1, "free GPUs").

The paper counts free GPUs per time slot. Counting is not enough where a job needs *adjacent* GPUs
and where moving a running job costs minutes: eight free GPUs on eight nodes do not start an 8-GPU
job. A `Timetable` therefore lays the GPUs of one type on a line, in the site's node order, and
keeps time as exact change points instead of slots. A job's share is a rectangle on it: an aligned
block of the line (buddy allocation, section 4.3) from a start to an end. Rectangles never overlap,
so whatever is on the timetable can be carried out as it stands, without a migration that nobody
has paid for.

Two numbers per GPU answer the planner's questions fast: until when it is free if it is free now,
and from when it is free for good. An absence that is known in advance (maintenance) is a rectangle
too; the time before it can be used.

>>> from ef_slurm.model import Cluster
>>> group = Cluster.uniform(nodes=2, gpus_per_node=4).group("gpu")
>>> table = Timetable(group, now=0.0)
>>> table.put("a", 0.0, 100.0, first=0, gpus=2)
>>> table.find_now(gpus=2, until=50.0)  # the buddy of a's block, so that node 2 stays whole
2
>>> table.find_now(gpus=8, until=50.0) is None
True
>>> table.find_later(gpus=8, seconds=30.0, after=0.0)  # (start, first GPU)
(100.0, 0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ef_slurm.model import Node, NodeGroup, Outage

Floats = NDArray[np.float64]

EDGE = 1e-6
"""Seconds by which the end of one rectangle and the start of the next may differ by rounding."""

_BUCKET = 8  # GPUs per entry of the index that finds the rectangles on a block


class Rectangle(NamedTuple):
    """GPUs `first` to `first + gpus - 1` held by `key` from `start` to `end`."""

    start: float
    end: float
    first: int
    gpus: int
    key: str


def _assign(
    node: Node, first: int, per_node: int, plans: list[Rectangle]
) -> list[tuple[Outage, list[int]]]:
    """Which GPUs of a node each absence takes: first those that no plan uses, the last ones first;
    absences at the same time take different ones."""
    line = range(first + per_node - 1, first - 1, -1)
    taken: list[tuple[Outage, list[int]]] = []
    partial: list[tuple[Outage, list[int]]] = []
    for outage in sorted(node.outages, key=lambda o: (o.start, o.end, o.gpus or per_node)):
        lost = per_node if outage.gpus is None else min(outage.gpus, per_node)
        if lost == per_node:
            taken.append((outage, list(line)))
            continue
        used = {
            gpu
            for plan in plans
            if plan.start < outage.end - EDGE and outage.start + EDGE < plan.end
            for gpu in range(max(first, plan.first), plan.first + plan.gpus)
        }
        doubled = {
            gpu: sum(_together(outage, other) for other, gpus in partial if gpu in gpus)
            for gpu in line
        }
        gpus = sorted(line, key=lambda gpu: (doubled[gpu], gpu in used))[:lost]
        taken.append((outage, gpus))
        partial.append((outage, gpus))
    return taken


def _together(one: Outage, other: Outage) -> float:
    """Seconds during which both last."""
    return max(0.0, min(one.end, other.end) - max(one.start, other.start))


class _Levels:
    """An array over single GPUs with its minima (or maxima) over aligned blocks of every size.

    Blocks are refreshed when asked for, and only over the stretch of line that has changed.
    """

    def __init__(self, leaves: Floats, top: int, *, least: bool) -> None:
        self.arrays: list[Floats] = [leaves]
        self._fold = np.minimum if least else np.maximum
        for level in range(1, top + 1):
            self.arrays.append(np.empty(len(leaves) >> level))
        self._lows, self._highs = [0], [len(leaves)]  # of the stretches that have changed
        self._seen = [0] * (top + 1)

    def copy(self) -> _Levels:
        """The same values, to be changed on their own."""
        twin = object.__new__(_Levels)
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
        """Values over the blocks of 2**level GPUs."""
        count = len(self._lows)
        for step in range(1, level + 1):
            seen = self._seen[step]
            if seen == count:
                continue
            self._seen[step] = count
            low, high = min(self._lows[seen:]), max(self._highs[seen:])
            first, last = low >> step, (high - 1 >> step) + 1
            below = self.arrays[step - 1]
            self._fold(
                below[2 * first : 2 * last : 2],
                below[2 * first + 1 : 2 * last : 2],
                out=self.arrays[step][first:last],
            )
        return self.arrays[level]


class Timetable:
    """The GPUs of one type over time. Times are seconds, `first` is a position on the line."""

    def __init__(self, group: NodeGroup, now: float, plans: Iterable[Rectangle] = ()) -> None:
        """The line of `group` with its absences on it.

        `plans` are those in hand. They are not entered: where an absence takes some GPUs of a node,
        no matter which, it takes those that the plans do not use.
        """
        self.gpu_type = group.gpu_type
        self.per_node = group.gpus_per_node
        self.width = len(group.nodes) * self.per_node
        self.now = now
        self._top = self.width.bit_length() - 1
        largest = 1 << self._top
        padded = -(-self.width // largest) * largest
        until = np.full(padded, math.inf)
        since = np.full(padded, -math.inf)
        until[self.width :] = -math.inf
        since[self.width :] = math.inf
        self._closes: Floats | None = None
        self._reopens: Floats | None = None
        self._read_outages(group, until, since, list(plans))
        self._base_until = until.copy()
        self._base_since = since.copy()
        self._until = _Levels(until, self._top, least=True)
        self._since = _Levels(since, self._top, least=False)
        self._buckets: list[list[Rectangle]] = [[] for _ in range(0, padded, _BUCKET)]
        self._of: dict[str, tuple[Rectangle, ...]] = {}
        self._forget_bounds()

    def _read_outages(
        self, group: NodeGroup, until: Floats, since: Floats, plans: list[Rectangle]
    ) -> None:
        """Enter the absences: those that have begun, and those to come."""
        closes = np.full(len(until), math.inf)
        reopens = np.full(len(until), -math.inf)
        for index, node in enumerate(group.nodes):
            for outage, gpus in _assign(node, index * self.per_node, self.per_node, plans):
                if outage.end <= self.now:
                    continue
                if outage.start <= self.now:
                    until[gpus] = -math.inf
                    since[gpus] = np.maximum(since[gpus], outage.end)
                else:
                    until[gpus] = np.minimum(until[gpus], outage.start)
                    closes[gpus] = np.minimum(closes[gpus], outage.start)
                    reopens[gpus] = np.maximum(reopens[gpus], outage.end)
        if np.isfinite(closes).any():
            self._closes, self._reopens = closes, reopens

    def blank(self) -> Timetable:
        """The same GPUs and absences with nobody on them."""
        twin = copy(self)
        twin._until = _Levels(self._base_until.copy(), self._top, least=True)
        twin._since = _Levels(self._base_since.copy(), self._top, least=False)
        twin._buckets = [[] for _ in self._buckets]
        twin._of = {}
        twin._forget_bounds()
        return twin

    def copy(self) -> Timetable:
        """The same timetable, to be changed on its own."""
        twin = copy(self)
        twin._until, twin._since = self._until.copy(), self._since.copy()
        twin._buckets = [bucket.copy() for bucket in self._buckets]
        twin._of = self._of.copy()
        twin._most_until = self._most_until.copy()
        twin._least_since = self._least_since.copy()
        return twin

    def _forget_bounds(self) -> None:
        """No block is free for longer, or for good sooner, than these bounds, by level.

        Entering rectangles keeps them true; taking one away does not.
        """
        self._most_until = [math.inf] * (self._top + 1)
        self._least_since = [-math.inf] * (self._top + 1)

    def put(self, key: str, start: float, end: float, first: int, gpus: int) -> None:
        """Enter a rectangle. The caller has made sure that it is free."""
        rectangle = Rectangle(start, end, first, gpus, key)
        for bucket in self._buckets[first // _BUCKET : (first + gpus - 1) // _BUCKET + 1]:
            bucket.append(rectangle)
        self._of[key] = (*self._of.get(key, ()), rectangle)
        self._mark(rectangle, first, first + gpus)
        self._until.touch(first, first + gpus)
        self._since.touch(first, first + gpus)

    def _mark(self, rectangle: Rectangle, low: int, high: int) -> None:
        until = self._until.arrays[0][low:high]
        since = self._since.arrays[0][low:high]
        start = -math.inf if rectangle.start <= self.now else rectangle.start
        if high - low == 1:
            until[0] = min(until[0], start)
            since[0] = max(since[0], rectangle.end)
        else:
            np.minimum(until, start, out=until)
            np.maximum(since, rectangle.end, out=since)

    def remove(self, key: str) -> None:
        """Take away all that `key` holds; nothing when it holds nothing."""
        self._forget_bounds()
        for rectangle in self._of.pop(key, ()):
            first, last = rectangle.first, rectangle.first + rectangle.gpus
            self._until.arrays[0][first:last] = self._base_until[first:last]
            self._since.arrays[0][first:last] = self._base_since[first:last]
            span = self._buckets[first // _BUCKET : (last - 1) // _BUCKET + 1]
            others: set[Rectangle] = set()
            for bucket in span:
                bucket.remove(rectangle)
                others.update(bucket)
            for other in others:
                low, high = max(first, other.first), min(last, other.first + other.gpus)
                if low < high:
                    self._mark(other, low, high)
            self._until.touch(first, last)
            self._since.touch(first, last)

    def on(self, first: int, gpus: int) -> Iterator[Rectangle]:
        """The rectangles that touch a block, in no particular order, some perhaps twice."""
        last = first + gpus
        for bucket in self._buckets[first // _BUCKET : (last - 1) // _BUCKET + 1]:
            for rectangle in bucket:
                if rectangle.first < last and first < rectangle.first + rectangle.gpus:
                    yield rectangle

    def free_until(self, first: int, gpus: int) -> float:
        """Until when a block is free from now on; minus infinity when it is not free now."""
        if gpus == 1:
            return float(self._until.arrays[0][first])
        return float(self._until.arrays[0][first : first + gpus].min())

    def free_since(self, first: int, gpus: int) -> float:
        """From when a block is free for good."""
        if gpus == 1:
            return float(self._since.arrays[0][first])
        return float(self._since.arrays[0][first : first + gpus].max())

    def is_free(self, start: float, end: float, first: int, gpus: int) -> bool:
        """Whether nobody holds any GPU of a block from `start` to `end`.

        What starts later may overlap its neighbours by `EDGE`; what starts now may not.
        """
        if first + gpus > self.width:
            return False
        until = self.free_until(first, gpus)
        if start <= self.now:
            return until > self.now and end - EDGE <= until
        if end - EDGE <= until:
            return True
        if self._closes is None and start + EDGE >= self.free_since(first, gpus):
            return True
        return self._usable(start, end, first, gpus) and not any(
            rectangle.start < end - EDGE and start + EDGE < rectangle.end
            for rectangle in self.on(first, gpus)
        )

    def _usable(self, start: float, end: float, first: int, gpus: int) -> bool:
        """Whether no absence touches a block from `start` to `end`."""
        part = slice(first, first + gpus)
        if start + EDGE < self._base_since[part].max():
            return False
        if self._closes is None or self._reopens is None:
            return True
        before = end - EDGE <= self._closes[part].min()
        return bool(before or start + EDGE >= self._reopens[part].max())

    def find_now(
        self, gpus: int, until: float, without: tuple[int, int] | None = None
    ) -> int | None:
        """The best block that is free from now to `until`: it wastes least of larger free blocks,
        and among those is needed soonest by somebody else. None when there is none.

        Args:
            gpus: its size.
            until: seconds.
            without: GPUs from .. to .. (not included), aligned, that it may not lie on.
        """
        level = gpus.bit_length() - 1
        if level > self._top:
            return None
        bound = until - EDGE
        if bound > self._most_until[level]:
            return None
        values = self._until.at(level)
        fit = self._fit(level, bound, without)
        if not fit.any():
            self._most_until[level] = float(values.max())
            return None
        while level < self._top:
            upper = self._fit(level + 1, bound, without)
            lone = fit & ~np.repeat(upper, 2)
            if lone.any():
                fit = lone
                break
            fit = upper
            level += 1
        (places,) = np.nonzero(fit)
        best = places[np.argmin(self._until.at(level)[places])]
        return int(best) << level

    def _fit(self, level: int, bound: float, without: tuple[int, int] | None) -> NDArray[np.bool_]:
        """Which blocks of 2**level GPUs are free until `bound` at least."""
        fit: NDArray[np.bool_] = self._until.at(level) >= bound
        if without is not None:
            first, end = without
            fit[first >> level : (end - 1 >> level) + 1] = False
        return fit

    def longest_now(self, gpus: int) -> tuple[float, int]:
        """(until when, first GPU) of the block that is free from now on for the longest time."""
        level = gpus.bit_length() - 1
        if level > self._top:
            return -math.inf, 0
        values = self._until.at(level)
        best = int(np.argmax(values))
        until = self._most_until[level] = float(values[best])
        return until, best << level

    def full_now(self, gpus: int) -> bool:
        """Whether it is known, without a search, that no block of a size is free now."""
        level = gpus.bit_length() - 1
        return level > self._top or self._most_until[level] <= self.now

    def not_before(self, gpus: int) -> float:
        """A time, known without a search, before which `find_later` finds nothing."""
        level = gpus.bit_length() - 1
        return math.inf if level > self._top else self._least_since[level]

    def find_later(self, gpus: int, seconds: float, after: float) -> tuple[float, int] | None:
        """(start, first GPU) of the block that is soonest free for `seconds`, not before `after`.

        Gaps between two planned rectangles are not searched, only the time after the last.
        """
        level = gpus.bit_length() - 1
        if level > self._top:
            return None
        starts = np.maximum(self._since.at(level), after)
        if self._closes is not None and self._reopens is not None:
            closes = self._closes.reshape(-1, gpus).min(axis=1)
            reopens = self._reopens.reshape(-1, gpus).max(axis=1)
            starts = np.where(starts + seconds <= closes, starts, np.maximum(starts, reopens))
        best = int(np.argmin(starts))
        start = float(starts[best])
        if start > after and self._closes is None:
            self._least_since[level] = start
        return (start, best << level) if start < math.inf else None
