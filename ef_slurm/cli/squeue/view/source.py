"""What the view shows is from here: the daemon's answers, and the log's file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol, TypeVar

from ef_slurm.api.client import Client, expect
from ef_slurm.api.messages import Explain
from ef_slurm.cli.squeue.choice import Choice, Found, Known, find
from ef_slurm.cli.squeue.view.log_tail import LogError, read_tail
from ef_slurm.model import Story

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Log:
    """The end of a log, or why there is none."""

    path: Path | None
    lines: Sequence[str]
    problem: str = ""


class Source(Protocol):
    """Answers, each of which may take its time."""

    def jobs(self) -> Future[Found]:
        """The queue."""
        ...

    def story(self, job_id: int) -> Future[Story]:
        """One job's."""
        ...

    def log(self, job_id: int) -> Future[Log]:
        """The end of its log."""
        ...


class _Worker:
    """One thread that does one thing after the other, and that nobody waits for at the end.

    An executor's threads are joined when the interpreter ends, however long they hang.
    """

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have it done."""
        future: Future[T] = Future()

        def do() -> None:
            if not future.set_running_or_notify_cancel():
                return  # nobody waits for it any more
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        self._work.put(do)
        return future

    def end(self) -> None:
        """Do what was submitted, and no more."""
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


class DaemonSource:
    """Asks the daemon, in one thread of its own: a connection, or an open queue, belongs to one.

    Args:
        connect: makes the way to the queue; called in that thread.
        output_file: asks Slurm where a job writes.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        choice: Choice,
        known: Known,
        output_file: Callable[[int], Path | None],
    ) -> None:
        self._connect = connect
        self._choice = choice
        self._known = known
        self._output_file = output_file
        self._asking = _Worker("ask")
        # Logs lie on file systems that may hang: the queue is not waited for then.
        self._reading = _Worker("log")
        self._client: Client | None = None
        self._paths: dict[int, Path] = {}

    def close(self) -> None:
        """Ask nothing more. What hangs is left behind when the process ends."""
        self._asking.submit(self._close)
        for worker in (self._asking, self._reading):
            worker.end()

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _connected(self) -> Client:
        if self._client is None:
            self._client = self._connect()
        return self._client

    def jobs(self) -> Future[Found]:
        """As `Source` says."""
        return self._asking.submit(lambda: find(self._connected(), self._choice, self._known))

    def story(self, job_id: int) -> Future[Story]:
        """As `Source` says."""
        return self._asking.submit(lambda: expect(Story, self._connected().ask(Explain(job_id))))

    def log(self, job_id: int) -> Future[Log]:
        """As `Source` says."""
        return self._reading.submit(lambda: self._log(job_id))

    def _log(self, job_id: int) -> Log:
        path = self._paths.get(job_id)
        if path is None:
            path = self._output_file(job_id)
            if path is None:
                return Log(None, (), "Slurm does not tell where this job writes")
            self._paths[job_id] = path
        try:
            return Log(path, read_tail(path))
        except LogError as error:
            return Log(path, (), str(error))
