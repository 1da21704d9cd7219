"""Capacity: which GPUs are free, from when and until when (paper section 4.1, "free GPUs").

The paper counts free GPUs per time slot. Counting is not enough where a job needs *adjacent* GPUs
and where moving a running job costs minutes: eight free GPUs on eight nodes do not start an 8-GPU
job. A `Timetable` therefore knows the GPUs of one type by their index in the site's node order, and
keeps time as exact change points instead of slots. A job's share is a `Reservation`: an aligned
block of indices (buddy allocation, section 4.3) from a start to an end. Reservations never overlap,
so whatever is on the timetable can be carried out as it stands, without a migration that nobody has
paid for.

Two numbers per GPU answer the planner's questions fast: until when it is free if it is free now
(`until`), and from when it is free for good (`since`). What lies between, a gap between two
reservations, is searched only for jobs that may not begin before some later moment. An outage that
is known in advance (maintenance) is an exception: the time before it is used.

>>> from ef_slurm.model import Cluster
>>> group = Cluster.uniform(nodes=2, gpus_per_node=4).group("gpu")
>>> timetable = Timetable(group, now=0.0)
>>> timetable.put("a", Reservation(0.0, 100.0, gpus=2, gpu_type="gpu", first_gpu=0))
>>> timetable.find_now(gpus=2, until=50.0)  # the buddy of a's block, so that node 2 stays whole
2
>>> timetable.find_now(gpus=8, until=50.0) is None
True
>>> timetable.find_later(gpus=8, seconds=30.0, after=0.0)  # (start, first GPU)
(100.0, 0)
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from copy import copy

import numpy as np
from numpy.typing import NDArray

from ef_slurm.model import NodeGroup, Reservation
from ef_slurm.planner.timeline.barred import BarredBlocks
from ef_slurm.planner.timeline.block_levels import BlockLevels, Floats
from ef_slurm.planner.timeline.bookings import Booking, Bookings
from ef_slurm.planner.timeline.outages import assign_outages
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS


class Timetable:
    """The GPUs of one type over time. Times are seconds, GPUs are indices (`GpuIndexSpace`).

    `latest_until` and `earliest_since` are bounds, by level: no block of 2**level GPUs is free for
    longer from now on, or for good sooner. Entering reservations keeps them true; taking one away
    does not. They let most searches on a full cluster end before they begin.

    Arrays hold one value per GPU, padded to a multiple of the largest block with GPUs that are
    never free.
    """

    def __init__(
        self,
        group: NodeGroup,
        now: float,
        plans: Iterable[Reservation] = (),
        heads: Iterable[int] = (),
    ) -> None:
        """The GPUs of `group` with its outages.

        `heads` are the first GPUs of blocks of whole nodes that jobs stand on, and would keep the
        first node of.
        `plans` are those in hand. They are not entered: where an outage takes some GPUs of a node,
        no matter which, it takes those that the plans do not use.
        """
        self.gpu_type = group.gpu_type
        self.per_node = group.gpus_per_node
        self.width = len(group.nodes) * self.per_node
        self.now = now
        self._top = self.width.bit_length() - 1  # level of the largest block
        largest = 1 << self._top
        padded = -(-self.width // largest) * largest
        until = np.full(padded, math.inf)
        since = np.full(padded, -math.inf)
        until[self.width :] = -math.inf
        since[self.width :] = math.inf
        self._closes: Floats | None = None
        self._reopens: Floats | None = None
        self._read_outages(group, until, since, list(plans))
        self._heads = sorted(heads)
        self._base_until = until.copy()
        self._base_since = since.copy()
        self._until = BlockLevels(until, least=True)
        self._since = BlockLevels(since, least=False)
        self._bookings = Bookings(padded)
        self._forget_bounds()

    def _read_outages(
        self, group: NodeGroup, until: Floats, since: Floats, plans: list[Reservation]
    ) -> None:
        """Enter the outages: those that have begun, and those to come."""
        closes = np.full(len(until), math.inf)
        reopens = np.full(len(until), -math.inf)
        for index, node in enumerate(group.nodes):
            if not node.outages:
                continue
            for outage, gpus in assign_outages(node, index * self.per_node, self.per_node, plans):
                if outage.end <= self.now:
                    continue
                if outage.start <= self.now:
                    until[gpus] = -math.inf
                    since[gpus] = np.maximum(since[gpus], outage.end)
                else:
                    until[gpus] = np.minimum(until[gpus], outage.start)
                    closes[gpus] = np.minimum(closes[gpus], outage.start)
                    reopens[gpus] = np.maximum(reopens[gpus], outage.end)
        # Most clusters have none ahead: they skip every look at it.
        if np.isfinite(closes).any():
            self._closes, self._reopens = closes, reopens

    def blank(self) -> Timetable:
        """The same GPUs and outages with nobody on them."""
        twin = copy(self)
        twin._until = BlockLevels(self._base_until.copy(), least=True)
        twin._since = BlockLevels(self._base_since.copy(), least=False)
        twin._bookings = Bookings(len(self._base_until))
        twin._forget_bounds()
        return twin

    def copy(self) -> Timetable:
        """The same timetable, to be changed on its own."""
        twin = copy(self)
        twin._until, twin._since = self._until.copy(), self._since.copy()
        twin._bookings = self._bookings.copy()
        twin.latest_until = self.latest_until.copy()
        twin.earliest_since = self.earliest_since.copy()
        return twin

    def _forget_bounds(self) -> None:
        """Nothing is known by now of what is free for how long."""
        self.latest_until = [math.inf] * (self._top + 1)
        self.earliest_since = [-math.inf] * (self._top + 1)

    def put(self, job_id: str, reservation: Reservation) -> None:
        """Enter a reservation. The caller has made sure that it is free."""
        self._bookings.add(Booking(job_id, reservation))
        first, level = reservation.first_gpu, reservation.gpus.bit_length() - 1
        start = -math.inf if reservation.start <= self.now else reservation.start
        self._until.tighten(first, level, start)
        self._since.tighten(first, level, reservation.end)

    def _mark(self, reservation: Reservation, low: int, high: int) -> None:
        """Lower `until` and raise `since` of GPUs `low` to `high - 1`."""
        until = self._until.arrays[0][low:high]
        since = self._since.arrays[0][low:high]
        start = -math.inf if reservation.start <= self.now else reservation.start
        if high - low == 1:  # a numpy call on one value costs more than Python's min
            until[0] = min(until[0], start)
            since[0] = max(since[0], reservation.end)
        else:
            np.minimum(until, start, out=until)
            np.maximum(since, reservation.end, out=since)

    def remove(self, job_id: str) -> None:
        """Take away all that a job holds; nothing when it holds nothing."""
        self._forget_bounds()
        for booking, others in self._bookings.remove(job_id):
            first = booking.reservation.first_gpu
            last = first + booking.reservation.gpus
            # Minima cannot be undone: start from the bare GPUs and mark what else lies there.
            self._until.arrays[0][first:last] = self._base_until[first:last]
            self._since.arrays[0][first:last] = self._base_since[first:last]
            for other in others:
                low = max(first, other.first_gpu)
                high = min(last, other.first_gpu + other.gpus)
                if low < high:
                    self._mark(other, low, high)
            self._until.touch(first, last)
            self._since.touch(first, last)

    def on(self, first_gpu: int, gpus: int) -> Iterator[Booking]:
        """The bookings that touch a block, in no particular order, some perhaps twice."""
        return self._bookings.on(first_gpu, gpus)

    def free_until(self, first_gpu: int, gpus: int) -> float:
        """Until when a block is free from now on; minus infinity when it is not free now."""
        return self._until.over(first_gpu, gpus)

    def free_since(self, first_gpu: int, gpus: int) -> float:
        """From when a block is free for good."""
        return self._since.over(first_gpu, gpus)

    def is_free(self, wanted: Reservation) -> bool:
        """Whether nobody holds any GPU of a block at its time.

        What starts later may overlap its neighbours by `EDGE_SECONDS`; what starts now may not, for
        it is carried out at once.
        """
        start, end, first, gpus = wanted.start, wanted.end, wanted.first_gpu, wanted.gpus
        if first + gpus > self.width:
            return False
        until = self.free_until(first, gpus)
        if start <= self.now:
            return until > self.now and end - EDGE_SECONDS <= until
        # Before everybody else, or after everybody else: the two numbers say yes at once.
        if end - EDGE_SECONDS <= until:
            return True
        if self._closes is None and start + EDGE_SECONDS >= self.free_since(first, gpus):
            return True
        # Between two others: look at each of them.
        return self._no_outage(start, end, first, gpus) and not any(
            other.start < end - EDGE_SECONDS and start + EDGE_SECONDS < other.end
            for _, other in self.on(first, gpus)
        )

    def _no_outage(self, start: float, end: float, first_gpu: int, gpus: int) -> bool:
        """Whether no outage touches a block from `start` to `end`."""
        part = slice(first_gpu, first_gpu + gpus)
        if start + EDGE_SECONDS < self._base_since[part].max():
            return False
        if self._closes is None or self._reopens is None:
            return True
        before = end - EDGE_SECONDS <= self._closes[part].min()
        return bool(before or start + EDGE_SECONDS >= self._reopens[part].max())

    def find_now(
        self,
        gpus: int,
        until: float,
        without: tuple[int, int] | None = None,
        barred: BarredBlocks | None = None,
    ) -> int | None:
        """The best block that is free from now to `until`.

        Best is the one that wastes least of larger free blocks, and among those the one that is
        needed soonest by somebody else.

        Args:
            gpus: its size.
            until: seconds.
            without: GPUs from .. to .. (not included), aligned, that it may not lie on.
            barred: what the job may not use.

        Returns:
            Its first GPU; None when there is none.
        """
        level = gpus.bit_length() - 1
        if level > self._top:
            return None
        bound = until - EDGE_SECONDS
        if bound > self.latest_until[level]:
            return None
        fit = self._fit(level, bound, without, barred)
        if not fit.any():
            self.latest_until[level] = float(self._until.at(level).max())
            return None
        # Climb as long as every block that fits is part of a larger one that fits as well: a lone
        # one, whose buddy is taken, is what nobody larger could use.
        while level < self._top:
            larger = self._fit(level + 1, bound, without, barred)
            lone = fit & ~np.repeat(larger, 2)
            if lone.any():
                fit = lone
                break
            fit = larger
            level += 1
        (places,) = np.nonzero(fit)
        best = places[np.argmin(self._until.at(level)[places])]
        first = int(best) << level
        return self._beside_heads(first, 1 << level, gpus) if self._heads else first

    def _beside_heads(self, first: int, width: int, gpus: int) -> int:
        """The part of a free block that leaves others the first node of the blocks they stand on.

        Which part it is makes no difference to what remains of the free block.
        """
        for part in range(first, first + width, gpus):
            node = part // self.per_node * self.per_node
            after = bisect_left(self._heads, node)
            if after == len(self._heads) or self._heads[after] >= part + gpus:
                return part
        return first

    def _fit(
        self,
        level: int,
        bound: float,
        without: tuple[int, int] | None,
        barred: BarredBlocks | None,
    ) -> NDArray[np.bool_]:
        """Which blocks of 2**level GPUs are free until `bound` at least."""
        fit: NDArray[np.bool_] = self._until.at(level) >= bound
        if without is not None:
            first, end = without
            fit[first >> level : (end - 1 >> level) + 1] = False
        return fit if barred is None else fit & ~barred.at(level)

    def longest_now(self, gpus: int, barred: BarredBlocks | None = None) -> tuple[float, int]:
        """(until when, first GPU) of the block that is free from now on for the longest time.

        `barred` is what the job may not use.
        """
        level = gpus.bit_length() - 1
        if level > self._top:
            return -math.inf, 0
        values = self._until.at(level)
        if barred is not None:  # what one job may use is no bound for the others
            values = np.where(barred.at(level), -math.inf, values)
        best = int(np.argmax(values))
        until = float(values[best])
        if barred is None:
            self.latest_until[level] = until
        return until, best << level

    def most_until(self, gpus: int, own: Iterable[Reservation]) -> float:
        """A time beyond which no block of a size is free from now on; a first, cheap look.

        Args:
            gpus: its size.
            own: what a job would give up for the block.

        Returns:
            Minus infinity where none is free now; infinity where only a search could tell.
        """
        level = gpus.bit_length() - 1
        if level > self._top:
            return -math.inf
        bound = self.latest_until[level]
        if bound == math.inf:
            bound = self.longest_now(gpus)[0]
        until = self._until.arrays[0]
        for one in own:
            if one.gpu_type != self.gpu_type:
                continue
            first, last = one.first_gpu, one.first_gpu + one.gpus
            if one.start > self.now:
                # Where others are now, it makes no difference what is planned for later.
                if (until[first:last] > self.now).any():
                    return math.inf
            elif gpus <= one.gpus or all(
                self._until.at(step)[(first >> step) ^ 1] > self.now
                for step in range(one.gpus.bit_length() - 1, level)
            ):
                return math.inf
        return bound

    def full_now(self, gpus: int) -> bool:
        """Whether it is known, without a search, that no block of a size is free now."""
        level = gpus.bit_length() - 1
        return level > self._top or self.latest_until[level] <= self.now

    def not_before(self, gpus: int) -> float:
        """A time, known without a search, before which `find_later` finds nothing."""
        level = gpus.bit_length() - 1
        return math.inf if level > self._top else self.earliest_since[level]

    def find_later(
        self, gpus: int, seconds: float, after: float, barred: BarredBlocks | None = None
    ) -> tuple[float, int] | None:
        """The block that is soonest free for `seconds`, not before `after`.

        Gaps between two reservations are not searched, only the time after the last. `barred` is
        what the job may not use.

        Returns:
            (start, first GPU); None when no block ever is.
        """
        level = gpus.bit_length() - 1
        if level > self._top:
            return None
        since = self._since.at(level)
        if self._closes is None and barred is None:
            best = int(since.argmin())
            start = float(since[best])
            if start <= after:
                return after, int((since <= after).argmax()) << level
            self.earliest_since[level] = start
            return (start, best << level) if start < math.inf else None
        starts = np.maximum(since, after)
        if self._closes is not None and self._reopens is not None:
            # One row per block: it ends before the first outage on it, or starts after the last.
            closes = self._closes.reshape(-1, gpus).min(axis=1)
            reopens = self._reopens.reshape(-1, gpus).max(axis=1)
            starts = np.where(starts + seconds <= closes, starts, np.maximum(starts, reopens))
        if barred is not None:
            starts = np.where(barred.at(level), math.inf, starts)
        best = int(np.argmin(starts))
        start = float(starts[best])
        return (start, best << level) if start < math.inf else None

    def find_at(
        self, gpus: int, start: float, end: float, barred: BarredBlocks | None = None
    ) -> int | None:
        """The first GPU of a block that is free from one later moment to another; None for none.

        Gaps between two reservations are searched. Of all blocks it is the one that leaves the
        largest free ones whole.
        """
        level = gpus.bit_length() - 1
        if level > self._top:
            return None
        low, high = start + EDGE_SECONDS, end - EDGE_SECONDS
        free = self._base_since <= low
        if self._closes is not None and self._reopens is not None:
            free &= (high <= self._closes) | (low >= self._reopens)
        for booking in self._bookings:
            other = booking.reservation
            if other.start < high and low < other.end:
                free[other.first_gpu : other.first_gpu + other.gpus] = False
        fit = free.reshape(-1, gpus).all(axis=1)
        if barred is not None:
            fit &= ~barred.at(level)
        while fit.any() and level < self._top:
            larger = fit.reshape(-1, 2).all(axis=1)
            lone = fit & ~np.repeat(larger, 2)
            if lone.any():
                fit = lone
                break
            fit = larger
            level += 1
        return int(np.argmax(fit)) << level if fit.any() else None
