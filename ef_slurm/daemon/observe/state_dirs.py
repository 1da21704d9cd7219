"""Where the daemon reads jobs' reports and leaves its orders."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from ef_slurm.contract import Action, Order
from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.daemon.observe.report_files import read_job_reports
from ef_slurm.daemon.observe.workers import NoAnswerError, Task, Workers
from ef_slurm.model import EventKind, QueueJob

ORDER_SECONDS = 5.0
"""How long an order may take to be on disk."""
SILENT_SECONDS = 5.0
"""After how long a job is told that its files cannot be read."""

_log = logging.getLogger(__name__)


class StateDirs(Protocol):
    """The daemon's side of the contract's files."""

    def read(self, job: QueueJob) -> JobReports:
        """The job's own word, and the order that it was given. Never raises."""
        ...

    def read_all(self, jobs: Sequence[QueueJob]) -> Sequence[JobReports]:
        """The same of many jobs, none of which holds up the others."""
        ...

    def order(self, job: QueueJob, order: Order) -> None:
        """Give an order.

        Raises:
            OSError: it cannot be written.
        """
        ...

    def prepare(self, job: QueueJob) -> None:
        """See to it that a job that is about to start finds its order file. Never raises."""
        ...

    def forget(self, job: QueueJob) -> None:
        """The job has ended: no order lies there for it any more. Never raises."""
        ...


class FileStateDirs:
    """The real one: files on the shared file system.

    Args:
        readers: the threads that read what is the jobs' own.
        writers: the thread that reads and writes orders.
        check: raises where this daemon may give no orders any more.
    """

    def __init__(
        self,
        orders: OrderFiles,
        *,
        readers: Workers[JobReports] | None = None,
        writers: Workers[Order | None] | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._orders = orders
        self._check = check
        self._readers: Workers[JobReports] = readers or Workers()
        self._writers: Workers[Order | None] = writers or Workers(patience=ORDER_SECONDS, penance=0)
        self._last: dict[int, JobReports] = {}
        self._silent_since: dict[int, float] = {}
        self._in_force: dict[int, Order | None] = {}

    @property
    def hanging(self) -> int:
        """Threads that wait for a file system that does not answer. Any thread may ask."""
        return self._readers.hanging + self._writers.hanging

    def make_order_root(self) -> None:
        """Make the directory of orders, if it is missing.

        Raises:
            OSError: it cannot be made, is not the daemon's alone, or does not answer.
        """
        self._writers.call(Task("orders", os.geteuid(), self._orders.make_root))

    def read(self, job: QueueJob) -> JobReports:
        """The job's own word, and the order that it was given."""
        return self.read_all((job,))[0]

    def read_all(self, jobs: Sequence[QueueJob]) -> Sequence[JobReports]:
        """The same of many jobs. What does not answer now is what it last was."""
        answers = self._readers.ask(_reading(job) for job in jobs)
        return [self._reports(job, answers[job.id]) for job in jobs]

    def order(self, job: QueueJob, order: Order) -> None:
        """Replace the job's order, where only the daemon can write."""

        def write() -> Order:
            self._orders.write(job, order)
            return order

        if self._check is not None:
            self._check()
        self._in_force.pop(job.id, None)  # if this fails, nobody knows
        self._in_force[job.id] = self._act(job, write)

    def prepare(self, job: QueueJob) -> None:
        """Write an order that says nothing, unless the job has one.

        Written before the job can look for it, so that no network file system remembers on its node
        that there is none.
        """
        try:
            if job.first_started_at is None or self._ordered(job) is None:
                first = Order(0, Action.NONE, job.request.submitted)
                self.order(job, replace(first, iterations=job.ordered_iterations))
        except OSError as error:
            _log.warning(
                "job %d cannot be given orders and will be asked with TERM alone: %s",
                job.request.slurm_job_id,
                error,
                extra=about(job, EventKind.ERROR),
            )

    def forget(self, job: QueueJob) -> None:
        """Remove the job's order."""
        self._last.pop(job.id, None)
        self._silent_since.pop(job.id, None)
        self._in_force.pop(job.id, None)

        def remove() -> None:
            self._orders.forget(job)

        try:
            self._act(job, remove)
        except OSError as error:
            slurm_id, about_it = job.request.slurm_job_id, about(job, EventKind.ERROR)
            _log.warning("job %d: its order stays: %s", slurm_id, error, extra=about_it)

    def _reports(self, job: QueueJob, answer: JobReports | Exception) -> JobReports:
        if isinstance(answer, JobReports):
            self._last[job.id] = answer
            self._silent_since.pop(job.id, None)
        elif isinstance(answer, NoAnswerError):
            now = time.monotonic()
            silent = now - self._silent_since.setdefault(job.id, now) >= SILENT_SECONDS
            answer = self._last.get(job.id, JobReports())
            if silent:
                answer = replace(answer, trouble="its state directory does not answer")
        else:
            answer = replace(self._last.get(job.id, JobReports()), trouble=repr(answer))
        try:
            return replace(answer, order=self._ordered(job))
        except OSError as error:
            return replace(answer, trouble=str(error))

    def _ordered(self, job: QueueJob) -> Order | None:
        """The order in force: as this process wrote it, or as it found it."""
        if job.id not in self._in_force:
            self._in_force[job.id] = self._act(job, lambda: self._orders.read(job))
        return self._in_force[job.id]

    def _act(self, job: QueueJob, work: Callable[[], Order | None]) -> Order | None:
        # One key for all: they are on one file system, and must not overtake one another.
        return self._writers.call(Task("orders", job.request.uid, work))


def _reading(job: QueueJob) -> Task[JobReports]:
    request = job.request
    return Task(job.id, request.uid, lambda: read_job_reports(request.state_dir, request.uid))
