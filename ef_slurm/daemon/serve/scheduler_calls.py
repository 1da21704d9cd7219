"""How other threads get the scheduler's thread to do something: it is the only one that plans."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from ef_slurm.daemon.plan.changes import Changed
from ef_slurm.daemon.plan.dependencies import WouldWait
from ef_slurm.daemon.plan.measuring import WouldMeasure
from ef_slurm.model import Cluster, JobAction, JobChange, JobRequest
from ef_slurm.planner.what_if import WhatIf

T = TypeVar("T")

MOST_WAITING = 4
"""Verdicts that one user may wait for at a time."""


class JudgingScheduler(Protocol):
    """What the server asks of the scheduler."""

    @property
    def ticked_at(self) -> float | None:
        """When a tick was last finished, UTC epoch seconds. Any thread may ask."""
        ...

    @property
    def gpu_types(self) -> tuple[str, ...]:
        """The GPU types that were last seen. Any thread may ask."""
        ...

    @property
    def cluster(self) -> Cluster | None:
        """What was last seen; None before the first look. Any thread may ask."""
        ...

    def judge(self, request: JobRequest) -> tuple[WhatIf | WouldMeasure | WouldWait, str]:
        """The verdict that this request would get now, also in words. Its own thread only.

        Without a throughput curve: how it would be measured before; with a dependency of which
        nobody can say when it is met: what it would wait for.
        """
        ...

    def change(self, job_id: int, change: JobChange, actor: str) -> Changed:
        """Change a job of the queue, if that can be. Its own thread only."""
        ...

    def act(self, job_id: int, action: JobAction, actor: str, *, by_owner: bool) -> str:
        """Hold, release or requeue a job; a sentence on it. Its own thread only."""
        ...

    def lose(self, job_id: int) -> None:
        """A job's Slurm job is gone: Slurm has used its id again. Its own thread only."""
        ...


class TooManyCallsError(Exception):
    """This user waits for so many verdicts already."""


class SchedulerCalls:
    """What waits for the scheduler's thread, and a way to wake it.

    A tick goes before every what-if; of those, users have theirs answered in turn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._something = threading.Event()
        self._tick_wanted = False
        self._refresh_wanted = False
        self._waiting: OrderedDict[int, deque[tuple[Callable[[], Any], Future[Any]]]] = (
            OrderedDict()
        )

    # Any thread

    def wake(self, *, refresh: bool = False) -> None:
        """Something has changed: come and look; with `refresh`, at Slurm as well."""
        with self._lock:
            self._tick_wanted = True
            self._refresh_wanted |= refresh
            self._something.set()

    def what_if(self, uid: int, work: Callable[[], T]) -> Future[T]:
        """Have `work` done by the scheduler's thread when no tick is due.

        Raises:
            TooManyCallsError: this user waits for `MOST_WAITING` others.
        """
        future: Future[T] = Future()
        with self._lock:
            queue = self._waiting.setdefault(uid, deque())
            while queue and queue[0][1].cancelled():
                queue.popleft()
            if len(queue) >= MOST_WAITING:
                raise TooManyCallsError
            queue.append((work, future))
            self._something.set()
        return future

    # The scheduler's thread

    def begin_tick(self) -> bool:
        """What was asked for so far is this tick's to see; whether it is to ask Slurm again."""
        with self._lock:
            refresh, self._tick_wanted, self._refresh_wanted = self._refresh_wanted, False, False
            if not self._waiting:
                self._something.clear()
            return refresh

    @property
    def tick_wanted(self) -> bool:
        """Whether somebody has waked the scheduler since `begin_tick`."""
        return self._tick_wanted

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits: for a what-if, or for what a tick has for them."""
        return self._tick_wanted or bool(self._waiting)

    def answer_one(self) -> bool:
        """Answer one what-if; whether there was one."""
        found = self._next()
        if found is None:
            return False
        work, future = found
        try:
            future.set_result(work())
        except Exception as error:  # it belongs to the one who asked
            future.set_exception(error)
        return True

    def wait(self, seconds: float) -> None:
        """Until somebody wakes the scheduler or asks, or for so long."""
        self._something.wait(seconds)

    def _next(self) -> tuple[Callable[[], Any], Future[Any]] | None:
        with self._lock:
            while self._waiting:
                uid, queue = next(iter(self._waiting.items()))
                found = queue.popleft() if queue else None
                if queue:
                    self._waiting.move_to_end(uid)
                else:
                    del self._waiting[uid]
                if found is not None and found[1].set_running_or_notify_cancel():
                    return found
            if not self._tick_wanted:
                self._something.clear()
            return None
