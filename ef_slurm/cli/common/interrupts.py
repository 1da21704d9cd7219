"""Ctrl-C where half of something would be left: it waits until that is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any] | int | None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C is heard when the body has ended, and not by the commands that it starts.

    A terminal sends it to them as well: `sbatch` would end without a word about the job that Slurm
    has just taken. Where the body fails, its own error says more.
    """
    heard: list[int] = []
    handler = None
    # Whoever is started while it is blocked has it blocked, too.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if threading.current_thread() is threading.main_thread():
        # Another thread may take the signal in; the main one then runs the handler.
        handler = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))
    try:
        yield
    except BaseException:
        _restore(mask, handler)
        raise
    _restore(mask, handler)
    if heard:
        signal.raise_signal(signal.SIGINT)


def _restore(mask: set[int], handler: _Handler) -> None:
    # First the mask: what waited goes to the handler that only takes note.
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if handler is not None:
        signal.signal(signal.SIGINT, handler)
