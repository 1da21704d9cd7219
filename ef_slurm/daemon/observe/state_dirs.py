"""Where the daemon reads jobs' reports and leaves its orders: their state directories."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ef_slurm.contract import Order, StateDir
from ef_slurm.daemon.observe.job_status import JobReports, read_job_reports
from ef_slurm.model import QueueJob


class StateDirs(Protocol):
    """The daemon's side of the contract's files."""

    def read(self, job: QueueJob) -> JobReports:
        """The job's own word. Never raises."""
        ...

    def order(self, job: QueueJob, order: Order) -> None:
        """Give an order.

        Raises:
            OSError: it cannot be written.
        """
        ...


class FileStateDirs:
    """The real one: files on the shared file system."""

    def read(self, job: QueueJob) -> JobReports:
        """The job's own word."""
        return read_job_reports(job.request.state_dir)

    def order(self, job: QueueJob, order: Order) -> None:
        """Replace the job's `order.json`, in a directory of the job's owner only."""
        found = Path(job.request.state_dir).stat()
        if found.st_uid != job.request.uid:
            raise PermissionError(f"{job.request.state_dir} does not belong to {job.request.owner}")
        StateDir(Path(job.request.state_dir)).write_order(order)
