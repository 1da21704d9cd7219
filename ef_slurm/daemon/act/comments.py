"""Deadline and promise in the comments of the Slurm jobs, for squeue and sacct.

What a comment should say follows from the row, what it says from the last look at Slurm: a daemon
that was killed goes on where it was. It is written when the two differ, which is once per change of
the promise: with the update of a shape where there is one anyhow, else alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ef_slurm.daemon.act.time_to_act import TimeToAct
from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.settlements import due_at
from ef_slurm.daemon.pauses import Pauses
from ef_slurm.model import EventKind, JobKind, JobState, PromiseState, QueueJob
from ef_slurm.slurm.comments import compose, deadline_words, owners_words
from ef_slurm.slurm.errors import NoSuchJobError, SlurmError, SlurmUnavailableError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import JobUpdate

_log = logging.getLogger(__name__)

MOST_IN_A_TICK = 8
"""Comments written alone in one tick: some tenths of a second's worth."""

PAUSE_SECONDS = 30.0
"""Least seconds between two of them on one job: its owner may change it as often as they like."""

REFUSED_SECONDS = 600.0
"""For how long none is tried on a job whose comment Slurm, or the site, did not let us write."""


def comment_of(job: QueueJob, status: JobStatus, now: float) -> str:
    """What the comment of a job should be."""
    return compose(owners_words(status.slurm.requested.comment), _ours(job, now))


def _ours(job: QueueJob, now: float) -> str:
    request = job.request
    deadline = None if request.kind is JobKind.BEST_EFFORT else request.deadline
    return deadline_words(deadline, request.grace, _state(job, now))


def _state(job: QueueJob, now: float) -> str:
    due = due_at(job)
    if due is not None and now >= due:
        return "late"
    match job.promise:
        case PromiseState.SAFE:
            return "promised"
        case PromiseState.IN_GRACE:
            return "promised, within its grace"
        case PromiseState.AT_RISK:
            return "at risk"
    if job.best_effort:
        return "not promised, best effort"
    if job.state is JobState.WAITLISTED:
        return "not promised, waitlisted"
    return "not promised yet" if job.state is JobState.NEW else "not promised"


class Comments:
    """Writes the comments that no other update takes along. The scheduler's thread only."""

    def __init__(
        self,
        slurm: Slurm,
        observer: Observer,
        clock: Callable[[], float],
        fence: Fence,
        time_to_act: TimeToAct,
    ) -> None:
        self._time_to_act = time_to_act
        self._slurm = slurm
        self._observer = observer
        self._clock = clock
        self._fence = fence
        self._written = 0
        self._wake: float | None = None
        self._pauses = Pauses()
        self._right: dict[int, tuple[str, float | None, float, str]] = {}

    def write(self, jobs: Iterable[QueueJob]) -> float | None:
        """Write what differs.

        Returns:
            When to come back although nothing else happens; None for not.

        Raises:
            SlurmUnavailableError: Slurm does not answer.
        """
        self._written, self._wake = 0, None
        known = set()
        for job in jobs:
            known.add(job.id)
            with self._fence.around(job, "told to Slurm"):
                self._look_at(job)
        self._pauses.keep(known)
        for job_id in self._right.keys() - known:
            del self._right[job_id]
        return self._wake

    def _look_at(self, job: QueueJob) -> None:
        status = self._observer.status(job)
        if status is None or not _may_be_written(job, status):
            return
        now, comment, request = self._clock(), status.slurm.requested.comment, job.request
        # Of most jobs nothing is new: their comment is not put together again in every tick.
        said = (comment, request.deadline, request.grace, _state(job, now))
        if self._right.get(job.id) == said:
            return
        wanted = comment_of(job, status, now)
        if wanted == comment:
            self._right[job.id] = said
            return
        later = self._pauses.until(job.id, now) or now
        # One at least, however many wait for answers.
        over = self._written >= MOST_IN_A_TICK or (self._written and self._time_to_act.is_over())
        if later > now or over:
            self._wake = later if self._wake is None else min(self._wake, later)
            return
        self._written += 1
        self._pauses.begin(job.id, self._write(job, wanted), now)

    def _write(self, job: QueueJob, wanted: str) -> float:
        """Write one; returns for how many seconds none is to be tried again."""
        slurm_id = job.request.slurm_job_id
        try:
            seen = self._slurm.update(slurm_id, JobUpdate(comment=wanted))
        except SlurmUnavailableError:
            raise
        except NoSuchJobError:
            return REFUSED_SECONDS
        except SlurmError as error:
            words = "job %d: its comment could not be written: %s"
            _log.warning(words, slurm_id, error.message, extra=about(job, EventKind.ERROR))
            return REFUSED_SECONDS
        self._observer.update(seen)
        return PAUSE_SECONDS if seen.requested.comment == wanted else REFUSED_SECONDS


def _may_be_written(job: QueueJob, status: JobStatus) -> bool:
    """Whether it is ours to write now: no mark of its owner's, and no other update on its way."""
    slurm = status.slurm
    if slurm.is_final or slurm.is_marked or job.state is JobState.NEW:
        return False  # ef-sbatch has written what there is to say of a new one
    if slurm.is_pending:
        return job.running is None  # else it gets another shape, and the comment with it
    return slurm.is_running
