"""How other threads get the scheduler's thread to do something: it is the only one that plans."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Errands:
    """A bell and a box of work."""

    def __init__(self) -> None:
        self._bell = threading.Event()
        self._box: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()

    def ring(self) -> None:
        """Something has changed: come and look."""
        self._bell.set()

    def ask(self, work: Callable[[], T], seconds: float) -> T:
        """Have `work` done by the scheduler's thread; its result or its exception.

        Raises:
            TimeoutError: it was not done in time.
        """
        future: Future[T] = Future()
        self._box.put((work, future))
        self._bell.set()
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()
            raise

    def do(self) -> None:
        """Do what lies in the box."""
        self._bell.clear()
        while True:
            try:
                work, future = self._box.get_nowait()
            except Empty:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except Exception as error:  # it belongs to the one who asked
                future.set_exception(error)

    def wait(self, seconds: float) -> bool:
        """Until the bell rings; whether it did."""
        return self._bell.wait(seconds)
