"""A launch measures itself: one size after the other, a second or two each, in one *round*.

All its ranks stay; who is not needed at a size waits to be taken in again. A round is one live
change with several process groups, which ends on the ranks with which it began. Rank 0 alone knows
of it: for the others these are changes like any other, and every iteration counts.
"""

from collections.abc import Sequence

from ef_slurm.contract import Point

WARM_ITERATIONS = 2
"""The first ones at a size, which are slow: connections, buckets, memory, workers."""
WARM_SECONDS = 0.3
LEAST_SECONDS = 1.0
"""Seconds after which a steady rate is known."""
MOST_SECONDS = 2.0
"""Seconds after which one that is not steady is taken as it is."""
STEADY = 0.05
"""Fraction by which both halves of a steady one differ."""
LEAST_ITERATIONS = 4
SLOW_SECONDS = 30.0
"""Seconds after which one iteration is enough."""
INTERRUPTIONS = 3
"""How often something else may begin it anew at a size; what comes more often belongs to it."""


class Pace:
    """How fast a training is at one size, by when its iterations end.

    Args:
        iteration: iterations done where that size begins.
        at: seconds of a clock that goes forward.
    """

    def __init__(self, iteration: int, at: float):
        self._began = iteration, at
        self._seen: list[tuple[int, float]] = []
        self._interruptions = 0
        self._disturbed = False

    def see(self, iteration: int, at: float, disturbed: bool) -> None:
        """An iteration that has ended.

        Args:
            disturbed: whether something else goes on: a checkpoint, an evaluation. What was seen
                before is no whole time of training then, and left out.
        """
        self._interruptions += disturbed and not self._disturbed
        self._disturbed = disturbed
        if disturbed and self._interruptions <= INTERRUPTIONS:
            self._began = iteration, at
            self._seen.clear()
            return
        first, since = self._began
        warm = iteration >= first + WARM_ITERATIONS and at >= since + WARM_SECONDS
        if warm and (not self._seen or iteration > self._seen[-1][0]):
            self._seen.append((iteration, at))

    def point(self, gpus: int) -> Point | None:
        """What was seen; None where that does not tell enough yet."""
        if len(self._seen) < 2:
            return None
        (first, since), (last, until) = self._seen[0], self._seen[-1]
        iterations, seconds = last - first, until - since
        if iterations < LEAST_ITERATIONS:
            enough = seconds >= SLOW_SECONDS
        else:
            enough = seconds >= MOST_SECONDS or (seconds >= LEAST_SECONDS and self._is_steady())
        return Point(gpus, iterations, seconds) if enough else None

    def _is_steady(self) -> bool:
        (first, since), (last, until) = self._seen[0], self._seen[-1]
        middle = (since + until) / 2
        half, then = min(self._seen, key=lambda one: abs(one[1] - middle))
        if not since < then < until:
            return False
        before, after = (half - first) / (then - since), (last - half) / (until - then)
        return abs(after - before) <= STEADY * max(before, after)


class Round:
    """The sizes that are left to be measured, and what was measured.

    Args:
        change: number of the live change that it is.
        text: the sizes as they were ordered.
        members: of all ranks, in rank order.
        sizes: numbers of ranks, at most as many as there are, in the order to measure them.

    Attributes:
        change, text, members: as given.
        steps: process groups that it has had made.
        points: what was measured.
    """

    def __init__(self, change: int, text: str, members: Sequence[int], sizes: Sequence[int]):
        self.change = change
        self.text = text
        self.members = tuple(members)
        self.steps = 0
        self.points: list[Point] = []
        self._left = list(sizes)
        self._pace: Pace | None = None

    @property
    def next(self) -> int:
        """How many of the members are to train now; all of them at the end."""
        return self._left[0] if self._left else len(self.members)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be measured."""
        return not self._left

    def skip(self) -> None:
        """Leave out the size that comes next."""
        self._left.pop(0)

    def changed(self) -> None:
        """Others train now."""
        self._pace = None

    def see(self, size: int, iteration: int, at: float, disturbed: bool) -> bool:
        """An iteration that has ended; whether that completes a point.

        Args:
            size: ranks that train.
            iteration, at, disturbed: as `Pace`.
        """
        if self.is_over or size != self.next:
            return False
        if self._pace is None:
            self._pace = Pace(iteration, at)
        self._pace.see(iteration, at, disturbed)
        point = self._pace.point(size)
        if point is None:
            return False
        self.points.append(point)
        self._left.pop(0)
        return True
