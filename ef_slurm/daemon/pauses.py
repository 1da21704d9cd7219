"""For how long something is waited for, or left alone, by a clock that may be set.

A clock that is set back by an hour makes of what has just been a thing to come: whoever waits until
some seconds after it would wait for an hour more.
"""

from __future__ import annotations

from collections.abc import Collection


def lately(at: float, seconds: float, now: float) -> bool:
    """Whether something was less than so many seconds ago.

    What is to come by more than that is of a clock that was ahead, and counts as long ago.

    Args:
        at: when it was; `now` the present: both UTC epoch seconds.

    >>> lately(100.0, 30.0, now=129.0), lately(100.0, 30.0, now=130.0)
    (True, False)
    >>> lately(3700.0, 30.0, now=129.0)
    False
    """
    return abs(now - at) < seconds


class Pauses:
    """Jobs with which something is not tried for a while, by their ids."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[float, float]] = {}

    def begin(self, job_id: int, seconds: float, now: float) -> None:
        """Leave it alone for so many seconds from now on, UTC epoch seconds."""
        self._known[job_id] = (now, seconds)

    def until(self, job_id: int, now: float) -> float | None:
        """When its pause is over, UTC epoch seconds; None where it has none."""
        at, seconds = self._known.get(job_id, (now, 0.0))
        return at + seconds if lately(at, seconds, now) else None

    @property
    def known(self) -> frozenset[int]:
        """All that had one and were not forgotten since."""
        return frozenset(self._known)

    def end(self, job_id: int) -> None:
        """It has none any more."""
        self._known.pop(job_id, None)

    def keep(self, job_ids: Collection[int]) -> None:
        """Forget all others."""
        self._known = {one: self._known[one] for one in self._known.keys() & set(job_ids)}
