"""Ctrl-C, a lost terminal and TERM where half of something would be left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any] | int | None
_HANGUPS = (signal.SIGHUP, signal.SIGTERM)
_ALL = (signal.SIGINT, *_HANGUPS)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Such a signal is heard when the body has ended, and not by the commands that it starts.

    A terminal sends it to them as well: `sbatch` would end without a word about the job that Slurm
    has just taken. Where the body fails, its own error says more.
    """
    heard: list[int] = []
    # Whoever is started while they are blocked has them blocked, too.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    # Another thread may take a signal in; the main one then runs the handler.
    handlers = _replaced(_ALL, lambda number, _frame: heard.append(number))
    try:
        yield
    except BaseException:
        _restore(mask, handlers)
        raise
    _restore(mask, handlers)
    for number in dict.fromkeys(heard):
        signal.raise_signal(number)


@contextmanager
def ended_by_hangup() -> Iterator[None]:
    """A lost terminal and TERM end the body as Ctrl-C does, and what it cleans up is cleaned up.

    Raises:
        KeyboardInterrupt: one of them came.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # Not where somebody has seen to them: under nohup the body goes on.
    default = [one for one in _HANGUPS if signal.getsignal(one) is signal.SIG_DFL]
    handlers = _replaced(default, interrupt)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _replaced(
    numbers: Iterable[signal.Signals],
    handler: Callable[[int, FrameType | None], Any],
) -> Mapping[int, _Handler]:
    """Have the main thread handle them so; the handlers before. Other threads have none."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found: dict[int, _Handler] = {}
    for number in numbers:
        before = signal.getsignal(number)
        if before is not None:  # else it is no handler of Python's, and could not be put back
            found[number] = before
            signal.signal(number, handler)
    return found


def _restore(mask: set[int], handlers: Mapping[int, _Handler]) -> None:
    # First the mask: what waited goes to the handler that only takes note.
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in handlers.items():
        signal.signal(number, handler)
