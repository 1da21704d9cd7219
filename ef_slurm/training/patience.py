"""Patience with a disk that is full or away for a moment: that must not end a training."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""How long a disk may be full or away when a launch begins, before that launch fails. Its batch
script then waits, too, and launches it again."""
_POLL_SECONDS = 0.5
_OF_NO_DISK = (FileExistsError, NotADirectoryError, IsADirectoryError)
"""Something else is where the file should be: that does not mend itself."""


def patiently(act: Callable[[], T]) -> T:
    """Do it, again and again while a disk is full or away.

    Args:
        act: may be done again after it has failed.

    Raises:
        OSError: something else is in the way, or it still fails after `PATIENCE_SECONDS`.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return act()
        except _OF_NO_DISK:
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def is_in_the_way(error: OSError) -> bool:
    """Whether it is no matter of a disk, and so not waited for."""
    return isinstance(error, _OF_NO_DISK)
