"""How fast a job trains, from the progress that it reports. Pure.

Reports come about once a second: iterations done, and when. They are gathered into *blocks* of ten
seconds or more. The *level* is the median rate of the latest blocks of one regime.

* A block far below the level (a checkpoint, a straggler, an evaluation that the script does not
  tell of: no iteration ends, so the block grows as long as the pause) is a **pause**. It is no
  slowdown. What pauses cost is counted by their pace: the time lost over whole cycles from pause to
  pause. One pause alone has no pace; it is taken for one in ten minutes until more have passed.
* Blocks that stay off the level for `SUDDEN_SECONDS` begin a new **regime**: the job trains at
  another rate since then. If it is slower, that is a `Slowdown`, with the moment it began.
* All other blocks are averaged over five minutes of training: a slow drift is followed.
* What comes first after a start (caches, compilation) is slow, too, and no pause of the training:
  slow blocks before the first level are left out.

The rate that a promise may rest on is the mean of the normal blocks, less what the pauses cost.

>>> estimator = RateEstimator()
>>> for second in range(1, 301):  # ten iterations/s, but none between 100 s and 130 s
...     trained = second if second <= 100 else max(100, second - 30)
...     _ = estimator.observe(float(second), 10 * trained)
>>> estimate = estimator.estimate
>>> round(estimate.training, 2), round(estimate.rate, 2)  # 30 s lost in 600 s
(10.0, 9.5)
>>> estimator.slowdown is None
True
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

BLOCK_SECONDS = 10.0
"""Least seconds of a block."""

LEVEL_BLOCKS = 30
"""The latest blocks of a regime that its rate is taken from: five minutes of fast iterations."""

FIRST_BLOCKS = 3
FIRST_SECONDS = 60.0
"""The blocks that a first estimate takes, or the seconds, where an iteration takes long."""

SUDDEN = 0.15
"""Fraction by which blocks in a row must be off the level to begin a new regime."""
SUDDEN_BLOCKS = 4
SUDDEN_SECONDS = 45.0
"""How many of them, and for how long after the first: what is back before that is a pause."""

NORMAL = 0.3
"""Fraction of the level by which a block may be slower to be averaged; slower ones are pauses."""
FAST = 3.0
"""Times the level that a block counts for at most, whatever it says."""

LONE_PAUSE_SECONDS = 600.0
"""The time that a single pause is spread over, while nobody knows whether there will be more."""
REMEMBERED_PAUSES = 20

RECOVERED = 0.95
"""Fraction of the rate before a slowdown at which the slowdown is over."""


@dataclass(frozen=True, slots=True)
class RateEstimate:
    """What the reports of one launch tell.

    Args:
        rate: iterations/s in the long run, pauses included.
        training: iterations/s while it trains.
        seconds: that the reports cover.
    """

    rate: float
    training: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Slowdown:
    """The job trains more slowly than it did before.

    Args:
        since: when that began, on the clock of the reports.
        factor: the rate while it trains, as a fraction of the one before.
    """

    since: float
    factor: float


@dataclass(frozen=True, slots=True)
class _Block:
    start: float
    end: float
    iterations: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def rate(self) -> float:
        return self.iterations / self.seconds


@dataclass(frozen=True, slots=True)
class _Pause:
    end: float
    lost: float


class RateEstimator:
    """The rate of one launch: one size, one set of nodes.

    Args:
        before: iterations/s while training that earlier launches of this size showed; None where
            there were none. A launch that begins slower is a slowdown.
    """

    def __init__(self, before: float | None = None) -> None:
        self._reference = before
        self._first: float | None = None
        self._open: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None
        self._blocks: deque[_Block] = deque(maxlen=LEVEL_BLOCKS)
        self._off: list[_Block] = []
        self._pauses: deque[_Pause] = deque(maxlen=REMEMBERED_PAUSES)
        self._slow_since: float | None = None
        self._settled = False

    def observe(self, at: float, iterations: float) -> bool:
        """Take a report.

        Args:
            at: when it was true, seconds on any clock that goes forward.
            iterations: done so far.

        Returns:
            Whether the estimate may be another one now. A report from the past is left out; one
            that takes iterations back begins a new block.
        """
        if self._open is None or self._last is None or iterations < self._last[1]:
            self._open = self._last = (at, iterations)
            if self._first is None:
                self._first = at
            return False
        if at <= self._last[0] or iterations == self._last[1]:
            return False
        self._last = (at, iterations)
        start, done = self._open
        if at - start < BLOCK_SECONDS:
            return False
        self._open = self._last
        self._take(_Block(start, at, iterations - done))
        return True

    @property
    def estimate(self) -> RateEstimate | None:
        """None until enough was seen."""
        if not self._settled:
            return None
        assert self._first is not None
        assert self._last is not None
        training, now = self._training(), self._last[0]
        rate = training * (1.0 - self._paused_share(now))
        return RateEstimate(rate, training, now - self._first)

    @property
    def slowdown(self) -> Slowdown | None:
        """None while it trains as it did before, or faster."""
        if self._slow_since is None or self._reference is None:
            return None
        factor = self._training() / self._reference
        return Slowdown(self._slow_since, factor) if factor < RECOVERED else None

    def _take(self, block: _Block) -> None:
        if not self._settled:
            self._settle(block)
            return
        level = self._level()
        if abs(block.rate / level - 1.0) <= SUDDEN:
            self._resume(level)
            self._blocks.append(block)
            return
        if self._off and (self._off[0].rate < level) != (block.rate < level):
            self._resume(level)
        self._off.append(block)
        # The first of them may lie across the change.
        long = self._off[-1].end - self._off[0].end >= SUDDEN_SECONDS
        if len(self._off) >= SUDDEN_BLOCKS and long:
            self._begin_regime(level)

    def _settle(self, block: _Block) -> None:
        """The first level; what is slow before it is how a start goes."""
        self._blocks.append(block)
        seconds = block.end - self._blocks[0].start
        if len(self._blocks) < FIRST_BLOCKS and (seconds < FIRST_SECONDS or len(self._blocks) < 2):
            return
        self._settled = True
        level = self._blocks[-1].rate if len(self._blocks) < FIRST_BLOCKS else self._level()
        while self._blocks[0].rate < (1.0 - SUDDEN) * level:
            self._blocks.popleft()
        self._compare(level, self._blocks[0].start)

    def _resume(self, level: float) -> None:
        """What was off the level was no new regime: what was far below it were pauses."""
        slow = [block for block in self._off if block.rate < (1.0 - NORMAL) * level]
        if slow:
            lost = sum(block.seconds - block.iterations / level for block in slow)
            self._pauses.append(_Pause(slow[-1].end, lost))
        self._blocks.extend(block for block in self._off if block not in slow)
        self._off.clear()

    def _begin_regime(self, level: float) -> None:
        began = self._off[0].start
        self._blocks = deque(self._off[1:], maxlen=LEVEL_BLOCKS)
        self._off.clear()
        if self._reference is None:
            self._reference = level
        self._compare(self._level(), began)

    def _compare(self, level: float, since: float) -> None:
        """Whether this level, in force since then, is a slowdown, the end of one, or neither."""
        if self._reference is None:
            return
        if level >= RECOVERED * self._reference:
            self._slow_since, self._reference = None, None
        elif self._slow_since is None and level < (1.0 - SUDDEN) * self._reference:
            self._slow_since = since

    def _level(self) -> float:
        return median(block.rate for block in self._blocks)

    def _training(self) -> float:
        level = self._level()
        normal = [block for block in self._blocks if block.rate >= (1.0 - NORMAL) * level]
        iterations = sum(min(b.iterations, FAST * level * b.seconds) for b in normal)
        return iterations / sum(block.seconds for block in normal)

    def _paused_share(self, now: float) -> float:
        """The part of the time that pauses take."""
        if not self._pauses:
            return 0.0
        assert self._first is not None
        last, lost = self._pauses[-1], sum(pause.lost for pause in self._pauses)
        if len(self._pauses) == 1:
            return last.lost / max(LONE_PAUSE_SECONDS, now - self._first, last.lost)
        # Whole cycles, from the end of one pause to the end of another one. The present one counts
        # as soon as it is longer than those before.
        first = self._pauses[0]
        cycles = last.end - first.end
        usual = cycles / (len(self._pauses) - 1)
        open_cycle = max(0.0, now - last.end - usual)
        return (lost - first.lost) / (cycles + open_cycle)
