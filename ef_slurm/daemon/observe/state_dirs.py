"""Where the daemon reads jobs' reports and leaves its orders."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol

from ef_slurm.contract import Action, Order
from ef_slurm.daemon.observe.job_status import JobReports, read_job_reports
from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.model import QueueJob

_log = logging.getLogger(__name__)


class StateDirs(Protocol):
    """The daemon's side of the contract's files."""

    def read(self, job: QueueJob) -> JobReports:
        """The job's own word, and the order that it was given. Never raises."""
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
    """The real one: files on the shared file system."""

    def __init__(self, orders: OrderFiles) -> None:
        self._orders = orders

    def read(self, job: QueueJob) -> JobReports:
        """The job's own word, and the order that it was given."""
        reports = read_job_reports(job.request.state_dir)
        try:
            return replace(reports, order=self._orders.read(job))
        except OSError as error:
            return replace(reports, trouble=str(error))

    def order(self, job: QueueJob, order: Order) -> None:
        """Replace the job's order, where only the daemon can write."""
        self._orders.write(job, order)

    def prepare(self, job: QueueJob) -> None:
        """Write an order that says nothing, unless the job has one.

        Written before the job can look for it, so that no network file system remembers on its node
        that there is none.
        """
        try:
            if self._orders.read(job) is None or job.first_started_at is None:
                self._orders.write(job, Order(0, Action.NONE, job.request.submitted))
        except OSError as error:
            _log.warning(
                "job %d cannot be given orders and will be asked with TERM alone: %s",
                job.request.slurm_job_id,
                error,
            )

    def forget(self, job: QueueJob) -> None:
        """Remove the job's order."""
        self._orders.forget(job)
