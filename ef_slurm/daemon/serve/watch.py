"""Waits for changes of the queue without a thread for each who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ef_slurm.queue.store import Queue

POLL_SECONDS = 0.05
"""Seconds between looks at the queue while somebody waits."""


class QueueWatch:
    """The queue's version as the server's event loop sees it."""

    def __init__(self, open_queue: Callable[[], Queue]) -> None:
        self._open = open_queue
        self._queue: Queue | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._poller: asyncio.Task[None] | None = None

    def version(self) -> int:
        """Differs from before when another connection has written since."""
        if self._queue is None:
            self._queue = self._open()
        return self._queue.data_version()

    async def changed(self, seen: int, seconds: float) -> None:
        """Until the version is another than `seen`, or for so long."""
        if self.version() != seen:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(seen))
        try:
            await asyncio.wait_for(waiter, seconds)
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(waiter)

    def close(self) -> None:
        """Look no more."""
        if self._poller is not None:
            self._poller.cancel()
        if self._queue is not None:
            self._queue.close()
            self._queue = None

    async def _poll(self, seen: int) -> None:
        while self._waiting:
            await asyncio.sleep(POLL_SECONDS)
            version = self.version()
            if version != seen:
                seen = version
                for waiter in self._waiting:
                    if not waiter.done():
                        waiter.set_result(None)
