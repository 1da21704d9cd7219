"""What is known of the jobs that others wait for.

However many jobs wait for the same one, it is read once in a tick, and once at all when it has
ended. Slurm is asked nothing: what its last look does not have is gone once the next one has not
got it either. So no user's dependencies hold up a tick.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import takewhile

from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.plan.gates import Came, Other
from ef_slurm.model import (
    FINAL,
    LOST_WINDOW_SECONDS,
    Condition,
    DependencyKind,
    JobKind,
    JobRequest,
    JobState,
    PromiseOutcome,
    PromiseState,
    QueueJob,
)
from ef_slurm.queue.errors import NoSuchRowError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.types import JobBaseState, SlurmJob

_ENDED = FINAL - {JobState.LOST}
"""States that a job does not leave any more."""

_Name = tuple[int, str]
"""A user, and what a job is called."""


class WaitedFor:
    """Tells how far other jobs have come. The scheduler's thread only."""

    def __init__(self, queue: Queue, observer: Observer) -> None:
        self._queue = queue
        self._observer = observer
        self._rows: dict[int, QueueJob] = {}
        self._named: dict[_Name, list[int]] = {}
        self._foreign: dict[_Name, list[SlurmJob]] = {}
        self._now: dict[int, Other] = {}
        self._ended: dict[int, Other] = {}
        self._missed: dict[int, float] = {}
        self._used: set[int] = set()
        self._asked: set[int] = set()

    def look(self, jobs: Collection[QueueJob]) -> None:
        """Begin a tick with the active rows; what nobody has asked for in the last is forgotten."""
        self._rows = {job.id: job for job in jobs}
        self._named, self._foreign = {}, {}
        self._now = {}
        self._ended = {row: other for row, other in self._ended.items() if row in self._used}
        self._missed = {one: at for one, at in self._missed.items() if one in self._asked}
        self._used, self._asked = set(), set()

    def changed(self, job: QueueJob) -> None:
        """A row is otherwise than when the tick began."""
        self._rows[job.id] = job
        self._now.pop(job.id, None)

    def others(
        self, condition: Condition, request: JobRequest, job: QueueJob | None
    ) -> Sequence[Other]:
        """The jobs that a condition is about.

        Args:
            job: the row that waits; None for a request that nobody has submitted, for which Slurm
                is asked.
        """
        if condition.kind is DependencyKind.SINGLETON:
            return self._namesakes(request, job)
        assert condition.job_id is not None
        if condition.row is not None:
            return (self._of_row(condition.row, condition.job_id),)
        slurm = self._observer.observation.jobs.get(condition.job_id)
        if slurm is None and job is None:
            slurm = self._observer.fetch(condition.job_id)
        if slurm is not None:
            return (_of_slurm(slurm),)
        gone = job is None or self._is_gone(condition.job_id)
        # One that came since the last look is not in it.
        return (Other(_name(condition.job_id), Came.GONE if gone else Came.WAITS),)

    def _is_gone(self, slurm_id: int) -> bool:
        """Whether two looks have missed it."""
        look = self._observer.observation.at
        self._asked.add(slurm_id)
        return self._missed.setdefault(slurm_id, look) != look

    def _namesakes(self, request: JobRequest, job: QueueJob | None) -> Sequence[Other]:
        """The owner's earlier jobs of the same name that go on."""
        if not self._named:
            self._sort()
        key = (request.uid, request.name)
        rows = self._named.get(key, ())
        earlier = rows if job is None else takewhile(lambda row: row < job.id, rows)
        going = (self._rows[row] for row in earlier if self._rows[row].state not in FINAL)
        found = [self._of_row(one.id, one.request.slurm_job_id) for one in going]
        own = request.slurm_job_id or float("inf")
        found += [_of_slurm(one) for one in self._foreign.get(key, ()) if one.job_id < own]
        return found

    def _sort(self) -> None:
        """Put the jobs that go on under their owners' names of them."""
        named: defaultdict[_Name, list[int]] = defaultdict(list)
        for row in sorted(self._rows):
            request = self._rows[row].request
            named[request.uid, request.name].append(row)
        ours = {job.request.slurm_job_id for job in self._rows.values()}
        foreign: defaultdict[_Name, list[SlurmJob]] = defaultdict(list)
        for slurm in self._observer.observation.jobs.values():
            if slurm.job_id not in ours and not slurm.is_final:
                foreign[slurm.uid, slurm.name].append(slurm)
        self._named, self._foreign = dict(named), dict(foreign)

    def _of_row(self, row: int, slurm_id: int) -> Other:
        self._used.add(row)
        known = self._ended.get(row) or self._now.get(row)
        if known is not None:
            return known
        try:
            job = self._rows.get(row) or self._queue.jobs.get(row)
        except NoSuchRowError:
            gone = self._ended[row] = Other(_name(slurm_id), Came.GONE)
            return gone
        other = self._of_job(job)
        (self._ended if job.state in _ENDED else self._now)[row] = other
        return other

    def _of_job(self, job: QueueJob) -> Other:
        name, began = _name(job.request.slurm_job_id), job.first_started_at
        if job.state is JobState.COMPLETED:
            return Other(name, Came.COMPLETE, began, job.ended_at)
        if job.state in _ENDED:
            return Other(name, Came.ENDED, began, job.ended_at)
        if self._is_given_up(job):
            return Other(name, Came.GONE, began, job.ended_at)
        came = Came.WAITS if began is None else Came.BEGAN
        return Other(name, came, began, None, self._due(job))

    def _is_given_up(self, job: QueueJob) -> bool:
        """Whether it was lost so long ago that it is not submitted again."""
        now = self._observer.observation.at
        if job.state is not JobState.LOST or job.ended_at is None:
            return False
        return job.ended_at + LOST_WINDOW_SECONDS < now

    def _due(self, job: QueueJob) -> float | None:
        """When a job will have ended, by its promise; None without one that counts."""
        request = job.request
        unsure = job.state in (JobState.HELD, JobState.LOST) or job.kind is JobKind.BEST_EFFORT
        if request.deadline is None or unsure or job.promise is PromiseState.NONE:
            return None
        promise = self._queue.promises.of(job.id)
        if promise is None or promise.outcome is not PromiseOutcome.OPEN:
            return None
        due = request.deadline + request.grace
        if job.promise is not PromiseState.AT_RISK:
            return due
        return None if job.finish is None else max(due, job.finish)


def _name(slurm_id: int) -> str:
    return f"job {slurm_id}"


def _of_slurm(slurm: SlurmJob) -> Other:
    """A job that is not ef-slurm's: nobody has promised when it ends."""
    name = _name(slurm.job_id)
    if slurm.is_final:
        well = slurm.state is JobBaseState.COMPLETED and not slurm.exit_code
        return Other(name, Came.COMPLETE if well else Came.ENDED, slurm.start_time, slurm.end_time)
    if slurm.is_running or slurm.holds_nodes or slurm.restarts:
        return Other(name, Came.BEGAN, slurm.start_time)
    return Other(name, Came.WAITS)
