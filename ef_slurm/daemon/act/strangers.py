"""Slurm jobs in ef-slurm's partition that no plan knows of: stopped where they were ours, and told.

Whatever holds GPUs there and is not in the queue is counted as somebody else's in every plan
(`daemon.observe.capacity`). Two kinds of it are nobody's good right: a job that its owner has put
back with `scontrol requeue` after it had ended, which Slurm starts without a hold, and a job that
was given up and then released. Both are cancelled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from ef_slurm.daemon.act.orphans import ENDED, REFUSED_SECONDS
from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.ownership import is_of_later_submission, ownership_error
from ef_slurm.daemon.pauses import lately
from ef_slurm.formats.sentences import instant
from ef_slurm.model import ACTOR, FINAL, Event, EventKind, JobState, QueueJob
from ef_slurm.queue.errors import UnreadableRowError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import NoSuchJobError, NotPermittedError, RefusedError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import HoldKind, SlurmJob

_STRANGER, _CANCELLED, _REFUSED = "stranger", "cancelled", "refused"

_log = logging.getLogger(__name__)


class Strangers:
    """Looks for jobs that run, or are about to, behind the plan's back.

    Args:
        partitions: those that ef-slurm schedules.
    """

    def __init__(
        self,
        slurm: Slurm,
        observer: Observer,
        queue: Queue,
        clock: Callable[[], float],
        partitions: Collection[str],
    ) -> None:
        self._slurm = slurm
        self._observer = observer
        self._queue = queue
        self._clock = clock
        self._partitions = frozenset(partitions)
        self._told: set[tuple[int, int, str]] = set()
        """Runs at large, by Slurm's id and count of restarts, and what was told of each."""
        self._asked: dict[tuple[int, int], float] = {}
        """Of those runs, when Slurm was asked to cancel each."""

    def stop(self, active: Collection[int]) -> bool:
        """Stop what was ours and runs again, and tell of everything else once.

        Args:
            active: Slurm's ids of the jobs that take part in plans.

        Returns:
            Whether something was stopped, so that Slurm should be asked again.

        Raises:
            SlurmUnavailableError: Slurm does not answer.
        """
        now, stopped = self._clock(), False
        observed = self._observer.observation.jobs.values()
        # Who has left, and is there again, was put back, or Slurm has forgotten that it had ended.
        at_large = tuple(job for job in observed if self._is_at_large(job))
        if self._told or self._asked:
            runs = {(job.job_id, job.restarts) for job in at_large}
            self._told = {told for told in self._told if told[:2] in runs}
            self._asked = {run: at for run, at in self._asked.items() if run in runs}
        for job in at_large:
            run = (job.job_id, job.restarts)
            if job.job_id in active or (*run, _STRANGER) in self._told:
                continue
            if run in self._asked and lately(self._asked[run], REFUSED_SECONDS, now):
                continue
            try:
                row = self._queue.jobs.of_slurm(job.job_id)
            except UnreadableRowError:
                continue  # set aside, and told elsewhere
            if row is not None and _had_ended(row, job) and not _is_left_to_others(row, job):
                self._asked[run] = now
                stopped |= self._cancel(row, job)
            elif row is None and job.holds_nodes:
                self._is_news(job, _STRANGER)
                self._tell(job)
        return stopped

    def _is_news(self, job: SlurmJob, what: str) -> bool:
        """Whether that was not told yet of the run."""
        told = (job.job_id, job.restarts, what)
        if told in self._told:
            return False
        self._told.add(told)
        return True

    def _is_at_large(self, job: SlurmJob) -> bool:
        """Whether it holds GPUs of our partition, or may come to."""
        if job.requested.partition not in self._partitions or "COMPLETING" in job.flags:
            return False
        return job.holds_nodes or job.is_pending

    def _cancel(self, row: QueueJob, job: SlurmJob) -> bool:
        now, what = self._clock(), _CANCELLED
        why = (
            f"Slurm job {job.job_id} was put back or released after it had ended "
            f"({row.state.value}): it is cancelled; submit it again with ef-sbatch"
        )
        kind = EventKind.USER
        if _ran_at_the_end(row, job):
            kind = EventKind.STATE
            why = (
                f"Slurm job {job.job_id} is cancelled, since it is {row.state.value}; what it has "
                f"saved stays in {row.request.state_dir}"
            )
        try:
            self._slurm.cancel(job.job_id)
            self._observer.fetch(
                job.job_id
            )  # or its GPUs would count as somebody's till the next look
        except NoSuchJobError:
            return False
        except (NotPermittedError, RefusedError) as error:
            why, what = f"{why}, which Slurm refused: {error.message}", _REFUSED
        if not self._is_news(job, what):
            return True
        _log.warning("%s", why, extra=about(row, kind))
        self._queue.events.log(Event(now, kind, ACTOR, why, row.id))
        return True

    def _tell(self, job: SlurmJob) -> None:
        until = "" if job.end_time is None else f" until {instant(job.end_time)}"
        message = (
            f"Slurm job {job.job_id} of {job.user or job.uid} runs in partition "
            f"{job.requested.partition} and was not submitted with ef-sbatch: its GPUs count as "
            f"somebody else's{until}"
        )
        _log.warning("%s", message, extra=about(None, EventKind.USER))
        self._queue.events.log(Event(self._clock(), EventKind.USER, ACTOR, message))


def _is_left_to_others(row: QueueJob, job: SlurmJob) -> bool:
    """Whether it waits in Slurm as it did when it was given up: `Orphans` cancels it in its time.

    A job that has ended otherwise is not in Slurm: one that waits there was put back, by its owner,
    or by a slurmctld that came back with an older state.
    """
    return job.is_pending and job.hold is not HoldKind.NONE and row.state in ENDED


def _ran_at_the_end(row: QueueJob, job: SlurmJob) -> bool:
    """Whether the queue's job ended in the run that it still has: measured, and then refused."""
    started, ended = job.start_time, row.ended_at
    return job.holds_nodes and started is not None and ended is not None and started <= ended


def _had_ended(row: QueueJob, job: SlurmJob) -> bool:
    """Whether the queue's job of that id is over, and is this one: Slurm uses ids again."""
    if row.state not in FINAL or row.state is JobState.LOST:
        return False
    if ownership_error(row, job) is not None:
        return False
    return not is_of_later_submission(row, job)
