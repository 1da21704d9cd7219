"""Threads that answer requests, shared fairly: however much one user asks, others get their turn.

The bookkeeping belongs to the server's event loop; only the work itself is done by the threads. How
many requests can wait is bounded by the connections: each has one at a time.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class FairWorkers:
    """A pool of threads in which each key (a uid) has its own queue, served in turn.

    Args:
        threads: in all.
        at_once: of one key; fewer than `threads`, so that nobody holds all of them.
    """

    def __init__(self, name: str, *, threads: int, at_once: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._at_once = at_once
        self._running: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    async def run(self, key: Hashable, work: Callable[[], T]) -> T:
        """Have `work` done by a thread, once it is this key's turn."""
        await self._turn(key)
        try:
            done = asyncio.get_running_loop().run_in_executor(self._pool, work)
        except BaseException:
            self._done(key)
            raise
        done.add_done_callback(lambda _: self._done(key))
        # Whoever asked may go away; the thread is busy until it is done all the same.
        return await asyncio.shield(done)

    def close(self) -> None:
        """Start nothing more. What is under way is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, key: Hashable) -> None:
        if self._may_start(key) and key not in self._waiting:
            self._start(key)
            return
        queue = self._waiting.setdefault(key, deque())
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._done(key)  # it was started just then
            raise

    def _may_start(self, key: Hashable) -> bool:
        return self._free > 0 and self._running[key] < self._at_once

    def _start(self, key: Hashable) -> None:
        self._free -= 1
        self._running[key] += 1

    def _done(self, key: Hashable) -> None:
        self._free += 1
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
        self._next()

    def _next(self) -> None:
        """Start what may start, one of each key in turn."""
        started = True
        while started and self._free > 0:
            started = False
            for key in list(self._waiting):
                queue = self._waiting[key]
                while queue and queue[0].done():  # whoever asked is gone
                    queue.popleft()
                if queue and self._may_start(key):
                    self._start(key)
                    queue.popleft().set_result(None)
                    started = True
                    self._waiting.move_to_end(key)
                if not queue:
                    del self._waiting[key]
                if started:
                    break
