"""How other threads get the scheduler's thread to do something: it is the only one that plans."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from ef_slurm.daemon.plan.measuring import WouldMeasure
from ef_slurm.model import Cluster, JobRequest
from ef_slurm.planner.what_if import WhatIf

T = TypeVar("T")


class JudgingScheduler(Protocol):
    """What the server asks of the scheduler."""

    @property
    def ticked_at(self) -> float | None:
        """When a tick was last finished, UTC epoch seconds. Any thread may ask."""
        ...

    @property
    def gpu_types(self) -> tuple[str, ...]:
        """The GPU types that were last planned with. Any thread may ask."""
        ...

    @property
    def cluster(self) -> Cluster | None:
        """What was last planned with; None before the first plan. Any thread may ask."""
        ...

    def judge(self, request: JobRequest) -> tuple[WhatIf | WouldMeasure, str]:
        """The verdict that this request would get now, also in words. Its own thread only.

        Without a throughput curve: how it would be measured before.
        """
        ...

    def recheck(self, slurm_job_ids: Iterable[int]) -> None:
        """Ask Slurm about these jobs. Its own thread only."""
        ...


class SchedulerCalls:
    """Calls that wait for the scheduler, and a way to wake it."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._pending: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()

    def wake(self) -> None:
        """Something has changed: come and look."""
        self._wanted.set()

    def call(self, work: Callable[[], T], seconds: float) -> T:
        """Have `work` done by the scheduler's thread; its result or its exception.

        Raises:
            TimeoutError: it was not done in time.
        """
        future: Future[T] = Future()
        self._pending.put((work, future))
        self._wanted.set()
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()
            raise

    def run_pending(self) -> None:
        """Do what was asked for."""
        self._wanted.clear()
        while True:
            try:
                work, future = self._pending.get_nowait()
            except Empty:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except Exception as error:  # it belongs to the one who asked
                future.set_exception(error)

    def wait(self, seconds: float) -> bool:
        """Until somebody wakes the scheduler; whether somebody did."""
        return self._wanted.wait(seconds)
