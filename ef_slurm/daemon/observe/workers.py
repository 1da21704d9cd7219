"""Work on files that somebody else can make hang, in threads that may be lost to it.

A file system that does not answer holds whoever asked it, and nothing ends that. So the tick does
not ask: it hands the work to a few threads and waits for `patience` seconds at most. An owner whose
files made it wait that long is not waited for again for a while: what comes of their work is there
at the next look, if it has come. A thread that hangs is replaced; of each owner's, and in all, only
so many can be lost.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Result = TypeVar("Result")

SPAWN_SECONDS = 0.05
"""Seconds without an end of the work in hand after which another thread joins in."""
KEPT_SECONDS = 60.0
"""Seconds after which a result that nobody asks for is dropped."""


class NoAnswerError(OSError):
    """The file system has not answered yet."""


@dataclass(frozen=True, slots=True)
class Task(Generic[Result]):
    """Something to be done. The same `key` is not begun again while it is under way."""

    key: Hashable
    owner: int
    work: Callable[[], Result]


@dataclass(slots=True)
class _Job(Generic[Result]):
    """A task in hand. `began` and `ended` are monotonic seconds."""

    task: Task[Result]
    began: float | None = None
    ended: float | None = None
    result: Result | Exception | None = None


@dataclass(slots=True)
class _Shared(Generic[Result]):
    """What caller and threads both touch, all of it under `changed`.

    The threads know nothing else, so that they end when nobody is left who could ask.
    """

    per_owner: int
    changed: threading.Condition = field(default_factory=threading.Condition)
    jobs: dict[Hashable, _Job[Result]] = field(default_factory=dict)
    waiting: deque[_Job[Result]] = field(default_factory=deque)
    at_work: Counter[int] = field(default_factory=Counter)
    threads: int = 0
    closed: bool = False

    def close(self) -> None:
        """Let go of the threads that are not lost."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def work(self) -> None:
        """What a thread does all its life."""
        done = False
        with self.changed:
            while not self.closed:
                job = self._next()
                if job is None:
                    if done:  # or idle threads would keep waking one another
                        self.changed.notify_all()
                    done = False
                    self.changed.wait()
                    continue
                self._do(job)
                done = True
                del job  # it may know who asked
            self.threads -= 1

    def _do(self, job: _Job[Result]) -> None:
        """Without `changed`, which is held before and after."""
        owner = job.task.owner
        self.at_work[owner] += 1
        job.began = time.monotonic()
        self.changed.release()
        try:
            result: Result | Exception = job.task.work()
        except Exception as error:
            result = error
        finally:
            self.changed.acquire()
        job.result, job.ended = result, time.monotonic()
        self.at_work[owner] -= 1

    def _next(self) -> _Job[Result] | None:
        """The first that waits and whose owner has a thread left."""
        for _ in range(len(self.waiting)):
            job = self.waiting.popleft()
            if self.at_work[job.task.owner] < self.per_owner:
                return job
            self.waiting.append(job)
        return None


class Workers(Generic[Result]):
    """Threads that do the work of one caller.

    Args:
        patience: seconds for which a call waits at most.
        penance: seconds for which an owner who used them up is not waited for.
        per_owner: threads that the tasks of one owner may hold at a time.
        most: threads in all.
    """

    def __init__(
        self,
        *,
        patience: float = 0.5,
        penance: float = 60.0,
        per_owner: int = 2,
        most: int = 32,
    ) -> None:
        self._patience = patience
        self._penance = penance
        self._most = most
        self._shared: _Shared[Result] = _Shared(per_owner)
        weakref.finalize(self, self._shared.close).atexit = False
        self._slow_until: dict[int, float] = {}

    def ask(self, tasks: Iterable[Task[Result]]) -> Mapping[Hashable, Result | Exception]:
        """Have something looked up, which may be done twice or told late.

        Returns:
            By key: the result, the error that it ended with, or a `NoAnswerError` for what is not
            known yet. The next call that names the same key hears of it.
        """
        shared = self._shared
        with shared.changed:
            self._drop_old()
            asked = [shared.jobs.get(task.key) or self._begin(task) for task in tasks]
            self._wait(asked)
            return {job.task.key: self._taken(job) for job in asked}

    def call(self, task: Task[Result]) -> Result:
        """Have something done, after all that was to be done under this key before.

        Raises:
            NoAnswerError: it is not known whether it was done, or something before it was not.
            Exception: what it ended with.
        """
        shared = self._shared
        with shared.changed:
            before = shared.jobs.get(task.key)
            if before is not None and before.ended is None:
                raise NoAnswerError("the file system does not answer")
            self._slow_until.pop(task.owner, None)  # what is to be done is waited for
            job = self._begin(task)
            self._wait([job])
            answer = self._taken(job)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def hanging(self) -> int:
        """Threads whose work takes longer than a call waits for. Any thread may ask."""
        with self._shared.changed:
            now = time.monotonic()
            began = [job.began for job in self._shared.jobs.values() if job.ended is None]
        return sum(at is not None and now - at > self._patience + SPAWN_SECONDS for at in began)

    def _begin(self, task: Task[Result]) -> _Job[Result]:
        shared, job = self._shared, _Job(task)
        shared.jobs[task.key] = job
        shared.waiting.append(job)
        if not shared.threads:
            self._spawn()
        shared.changed.notify_all()
        return job

    def _taken(self, job: _Job[Result]) -> Result | Exception:
        if job.ended is None:
            return NoAnswerError("the file system does not answer")
        self._shared.jobs.pop(job.task.key, None)
        return job.result  # type: ignore[return-value]

    def _drop_old(self) -> None:
        before = time.monotonic() - KEPT_SECONDS
        jobs = self._shared.jobs
        for key in [k for k, job in jobs.items() if job.ended is not None and job.ended < before]:
            del jobs[key]

    def _wait(self, asked: Iterable[_Job[Result]]) -> None:
        shared = self._shared
        end = time.monotonic() + self._patience
        while True:
            now = time.monotonic()
            pending = [job for job in asked if job.ended is None and self._is_worth(job, now)]
            if not pending or self._all_are_lost(now):
                return
            if now >= end:
                self._punish([job.task.owner for job in pending], now)
                return
            moved = shared.changed.wait(min(end - now, SPAWN_SECONDS))
            if not moved and shared.waiting and shared.threads < self._most:
                self._spawn()

    def _punish(self, awaited: Iterable[int], now: float) -> None:
        """Those owners who were waited for and hold a thread, be it with what hangs by now."""
        unfinished = [job for job in self._shared.jobs.values() if job.ended is None]
        slow = {
            job.task.owner
            for job in unfinished
            if job.began is not None and now - job.began > SPAWN_SECONDS
        }
        for owner in slow.intersection(awaited):
            self._slow_until[owner] = now + self._penance

    def _is_worth(self, job: _Job[Result], now: float) -> bool:
        """Whether to wait for it."""
        hangs = job.began is not None and now - job.began > self._patience + SPAWN_SECONDS
        return not hangs and now >= self._slow_until.get(job.task.owner, 0.0)

    def _all_are_lost(self, now: float) -> bool:
        shared = self._shared
        if shared.threads < self._most:
            return False
        began = (job.began for job in shared.jobs.values() if job.ended is None)
        hang = sum(1 for at in began if at is not None and now - at > self._patience)
        return hang >= self._most

    def _spawn(self) -> None:
        self._shared.threads += 1
        threading.Thread(target=self._shared.work, name="ef-files", daemon=True).start()
