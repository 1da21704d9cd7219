"""The owner's own queue file as something that answers, where no daemon's permission is needed."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path

from ef_slurm.api.client import Client, FailureError, reached
from ef_slurm.api.messages import (
    Await,
    Cancel,
    Cancelled,
    Explain,
    Failure,
    FailureCode,
    ListHistory,
    ListJobs,
    NotCancelled,
    Ping,
    Register,
    Registered,
    Request,
    Response,
    Withdraw,
    Withdrawn,
)
from ef_slurm.model import FINAL, JobDetail, JobState
from ef_slurm.queue import queries
from ef_slurm.queue.errors import DuplicateJobError
from ef_slurm.queue.filesystem import refuse_network_filesystem
from ef_slurm.queue.store import Queue


class QueueClient:
    """The owner's own queue file, and the daemon's socket for what the file cannot answer.

    Args:
        path: of the SQLite file.
        daemon: asked where only the daemon knows (a verdict without a submission).
        cancelled: whether Slurm says that a job was cancelled or is gone.
    """

    def __init__(self, path: Path, daemon: Client, cancelled: Callable[[int], bool]) -> None:
        self._path = path
        self._daemon = daemon
        self._cancelled = cancelled
        self._open: Queue | None = None

    def close(self) -> None:
        """Close the file and the daemon's connection."""
        self._daemon.close()
        if self._open is not None:
            self._open.close()
            self._open = None

    def ask(self, request: Request) -> Response:
        """The answer out of the file.

        Raises:
            QueueError: the file cannot be read or written.
            UnreachableError, FailureError: as `Client.ask` does.
        """
        try:
            return self._answer(request)
        except queries.UnknownJobError as error:
            raise FailureError(Failure(FailureCode.UNKNOWN_JOB, str(error))) from None

    def _answer(self, request: Request) -> Response:
        match request:
            case Register():
                return self._register(request)
            case Await():
                return self._await(request)
            case ListJobs(users, states, job_ids, ended):
                return queries.list_jobs(
                    self._queue(),
                    time.time(),
                    users=users,
                    states=states,
                    job_ids=job_ids,
                    ended=ended,
                )
            case ListHistory(since, until, users, accounts):
                return queries.history(
                    self._queue(),
                    time.time(),
                    since=since,
                    until=until,
                    after=request.mark,
                    users=users,
                    accounts=accounts,
                )
            case Explain(job_id):
                return queries.story(self._queue(), job_id)
            case Cancel(job_ids):
                return self._cancel(job_ids)
            case Withdraw(job_id):
                if queries.find(self._queue(), job_id).state is JobState.NEW:
                    self._move_to_cancelled(job_id, "submission given up by its owner")
                return Withdrawn(job_id)
            case Ping():
                # Asked first: better to learn now than after sbatch that the queue cannot be here.
                refuse_network_filesystem(self._path)
                return self._daemon.ask(request)
            case _:
                return self._daemon.ask(request)

    def _queue(self, *, create: bool = False) -> Queue:
        if self._open is None:
            self._open = Queue.open(self._path, create=create)
        return self._open

    def _register(self, request: Register) -> Registered:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._queue(create=True).jobs.add(request.job, request.script, actor=request.job.owner)
        except DuplicateJobError:
            job = request.job
            known = self._queue().jobs.of_slurm(job.slurm_job_id, job.cluster)
            if known is not None and known.request.state_dir != job.state_dir:
                raise  # another submission's: for the daemon to say which of them Slurm has
            return Registered(job.slurm_job_id, created=False)
        return Registered(request.job.slurm_job_id, created=True)

    def _await(self, request: Await) -> JobDetail:
        return queries.wait_for(
            self._queue(),
            request.job_id,
            lambda status: reached(status, request.until),
            request.seconds,
        )

    def _cancel(self, job_ids: tuple[int, ...]) -> Cancelled:
        done, refused = [], []
        for job_id in job_ids:
            job = queries.find_meant(self._queue(), job_id)
            if job.state in FINAL:
                done.append(job_id)
            elif self._cancelled(job_id):
                # Without a companion the job goes on; the daemon sees for itself.
                if job.request.slurm_job_id == job_id:
                    self._move_to_cancelled(job_id, "cancelled by its owner")
                done.append(job_id)
            else:
                refused.append(NotCancelled(job_id, "Slurm has not cancelled it"))
        return Cancelled(tuple(done), tuple(refused))

    def _move_to_cancelled(self, job_id: int, why: str) -> None:
        queue = self._queue()
        user = pwd.getpwuid(os.getuid()).pw_name
        job = queries.find(queue, job_id)
        queue.jobs.move(job.id, JobState.CANCELLED, at=time.time(), actor=user, why=why)
