"""Since when something holds, by a clock that may be set."""

from __future__ import annotations

from collections.abc import Hashable


class Since:
    """Moments at which something began, of jobs by their ids.

    A clock that is set back must not make any of them one to come: whoever waits for so many
    seconds since then would wait for as much longer as it was set back.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Hashable, float]] = {}

    def of(self, job_id: int, what: Hashable, now: float, began: float | None = None) -> float:
        """When it began, never after `now`.

        Args:
            job_id: the queue's.
            what: something else than when last asked begins anew.
            now: UTC epoch seconds, as `began`: when it began, if that is known; else now.
        """
        known, at = self._known.get(job_id, (None, 0.0))
        if job_id not in self._known or known != what:
            at = now if began is None else began
        at = min(at, now)
        self._known[job_id] = (what, at)
        return at

    def forget(self, job_id: int) -> None:
        """It is over."""
        self._known.pop(job_id, None)
