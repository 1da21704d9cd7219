"""The launch that follows in the same allocation: training goes on while it is made ready."""

import time
from collections.abc import Callable
from pathlib import Path

from ef_slurm.contract import Action, Order

LONGEST_SECONDS = 20.0
"""For which training goes on; the daemon waits a little longer for a job to agree."""


class NextLaunch:
    """Rank 0's view of it.

    Args:
        ready: the file that the next launch's servers make when they can fork its ranks; None
            where nobody prepares any.
        clock: monotonic seconds.
    """

    def __init__(self, ready: Path | None, clock: Callable[[], float] = time.monotonic):
        self._ready = ready
        self._clock = clock
        self._since: float | None = None

    def is_awaited(self, order: Order | None) -> bool:
        """Whether training is to go on for now, although this order ends the launch."""
        if self._ready is None or order is None or order.action is not Action.RELAUNCH:
            self._since = None
            return False
        if self._since is None:
            self._since = self._clock()
        return self._clock() - self._since < LONGEST_SECONDS and not _is_there(self._ready)


def _is_there(file: Path) -> bool:
    """Whether it is seen; where its disk is away, it is not."""
    try:
        return file.exists()
    except OSError:
        return False
