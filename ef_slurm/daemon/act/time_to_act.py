"""When rounds of actions give way to whoever waits for an answer.

One thread plans, acts and answers: neither Slurm's word nor the queue is ever looked at by two. A
round over many jobs takes seconds, at some tens of milliseconds a command. So it asks between two
jobs whether somebody waits, and is then left; they are answered, and the rest of it comes next.

Answers get at most half of the time: whatever they, and the looks and plans that come with them,
took is owed to the actions, which then do not give way for as long. Nobody pays for an answer that
took very long: at most `MOST_SECONDS` are owed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.model import QueueJob

LEAST_SECONDS = 0.05
"""A round that takes less is not left: hardly any job had anything to be done."""

MOST_SECONDS = 5.0
"""For how long actions go on at most although somebody waits, beside the one under way."""


def _nobody() -> bool:
    return False


class TimeToAct:
    """Whether actions go on, or give way. The scheduler's thread only.

    Args:
        waits: whether somebody waits for an answer.
        clock: seconds; only differences count.
    """

    def __init__(
        self,
        waits: Callable[[], bool] = _nobody,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waits = waits
        self._clock = clock
        self._began = 0.0
        self._owed = 0.0
        self._left_at: float | None = None
        self.acted = 0.0
        """Seconds that actions took from `begin` to `end`."""

    def begin(self, *, goes_on: bool) -> None:
        """Actions begin.

        Args:
            goes_on: with what was left when they last gave way; else nothing is owed to them.
        """
        self._began = self._clock()
        theirs = 0.0
        if goes_on and self._left_at is not None:
            theirs = self._began - self._left_at
        self._owed = max(LEAST_SECONDS, min(theirs, MOST_SECONDS))
        self._left_at = None

    def is_over(self) -> bool:
        """Whether actions are to be left now: asked between two. It stays so until `begin`."""
        if self._left_at is not None:
            return True
        if not self._waits():
            return False
        now = self._clock()
        if now - self._began < self._owed:
            return False
        self._left_at = now
        return True

    @property
    def gave_way(self) -> bool:
        """Whether they were left, and have not begun again."""
        return self._left_at is not None

    def end(self) -> None:
        """No more actions in this tick."""
        self.acted = self._clock() - self._began


class Turns:
    """Whose turn it is: all jobs', or those that a round which gave way did not reach."""

    def __init__(self, time_to_act: TimeToAct) -> None:
        self._time_to_act = time_to_act
        self._rest: frozenset[int] = frozenset()

    @property
    def unfinished(self) -> bool:
        """Whether the last round was left before its end."""
        return bool(self._rest)

    def goes_on(self, jobs: Sequence[tuple[QueueJob, JobStatus]]) -> bool:
        """Whether the next round is over the rest of the last one."""
        return any(job.id in self._rest for job, _ in jobs)

    def take(
        self, jobs: Sequence[tuple[QueueJob, JobStatus]]
    ) -> Iterator[tuple[QueueJob, JobStatus]]:
        """One round, in the order of `jobs`, until it is over. One at least gets its turn."""
        rest, self._rest = self._rest, frozenset()
        jobs = [one for one in jobs if one[0].id in rest] or jobs
        for place, one in enumerate(jobs):
            if place and self._time_to_act.is_over():
                self._rest = frozenset(job.id for job, _ in jobs[place:])
                return
            yield one
