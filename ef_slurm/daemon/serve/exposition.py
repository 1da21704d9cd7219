"""The metrics as Prometheus reads them, made in a thread of their own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import generate_latest

from ef_slurm.daemon.metrics import Metrics
from ef_slurm.daemon.serve.audit_counts import AuditCounts
from ef_slurm.daemon.serve.present import Present
from ef_slurm.queue.errors import QueueError
from ef_slurm.queue.store import Queue

METRICS_PATH = "/metrics"
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FRESH_SECONDS = 1.0
"""For how long an answer does for whoever asks next, so that asking often costs nothing."""

_log = logging.getLogger(__name__)


class Exposition:
    """Belongs to the server's event loop.

    Args:
        open_queue: for the audit log, in its own thread.
        hanging: how many of the threads that read jobs' files hang.
    """

    def __init__(
        self, metrics: Metrics, open_queue: Callable[[], Queue], hanging: Callable[[], int]
    ) -> None:
        self._metrics = metrics
        self._open = open_queue
        self._hanging = hanging
        self._queue: Queue | None = None
        self._counts: AuditCounts | None = None
        self._text, self._made_at = b"", -FRESH_SECONDS
        self._making: asyncio.Future[bytes] | None = None
        self._pool = ThreadPoolExecutor(1, "metrics")
        self._pool.submit(self._begin)

    async def text(self) -> bytes:
        """All metrics as they are now, or were within `FRESH_SECONDS`."""
        if time.monotonic() - self._made_at < FRESH_SECONDS:
            return self._text
        if self._making is None:
            self._making = asyncio.get_running_loop().run_in_executor(self._pool, self._make)
            self._making.add_done_callback(self._made)
        return await asyncio.shield(self._making)

    def close(self) -> None:
        """Make no more."""
        self._pool.submit(self._end)
        self._pool.shutdown(wait=False)

    def _made(self, making: asyncio.Future[bytes]) -> None:
        self._making = None
        if not making.cancelled() and making.exception() is None:
            self._text, self._made_at = making.result(), time.monotonic()

    # Its thread

    def _begin(self) -> None:
        try:
            self._queue = self._open()
            self._counts = AuditCounts(self._metrics.registry)
            self._counts.begin(self._queue)
            registry, path = self._metrics.registry, self._queue.path
            registry.register(Present(self._metrics, path, self._hanging))
        except Exception:
            _log.exception("metrics: what the queue tells is left out")

    def _make(self) -> bytes:
        if self._queue is not None and self._counts is not None:
            try:
                self._counts.read(self._queue)
            except QueueError as error:
                _log.warning("metrics: the queue: %s", error)
        return generate_latest(self._metrics.registry)

    def _end(self) -> None:
        if self._queue is not None:
            self._queue.close()
