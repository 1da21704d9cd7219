"""Questions about the queue, answered alike by the daemon and by its owner's own commands."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable

from ef_slurm.model import (
    ACTIVE,
    FINAL,
    HistoryMark,
    HistoryPage,
    JobDetail,
    JobList,
    JobState,
    JobView,
    OtherJob,
    QueueJob,
    Story,
    named_queue_ids,
    view,
)
from ef_slurm.queue.errors import NoSuchRowError
from ef_slurm.queue.store import Queue

POLL_SECONDS = 0.05
"""Seconds between looks for a change of the queue while somebody waits for an answer."""


class UnknownJobError(LookupError):
    """The queue has no job that Slurm calls so."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"job {job_id} is not in ef-slurm's queue")
        self.job_id = job_id


def find(queue: Queue, job_id: int) -> QueueJob:
    """The row of a Slurm job.

    Raises:
        UnknownJobError: the queue has none.
    """
    job = queue.jobs.of_slurm(job_id)
    if job is None:
        raise UnknownJobError(job_id)
    return job


def meant(queue: Queue, job_id: int) -> QueueJob | None:
    """The row of a Slurm job or, where that is a companion, of the job that it belongs to.

    An id that Slurm has given again is the job's that has it in the queue.
    """
    job = queue.jobs.of_slurm(job_id)
    if job is not None:
        return job
    companion = queue.companions.of_slurm(job_id)
    return None if companion is None else queue.jobs.get(companion.job_id)


def find_meant(queue: Queue, job_id: int) -> QueueJob:
    """The same.

    Raises:
        UnknownJobError: the queue has none.
    """
    job = meant(queue, job_id)
    if job is None:
        raise UnknownJobError(job_id)
    return job


def named(queue: Queue, job_id: int) -> tuple[QueueJob, ...]:
    """The members of the array of that name, or the one job; none where there is none."""
    members = queue.jobs.of_array(job_id)
    if members:
        return members
    job = meant(queue, job_id)
    return () if job is None else (job,)


def status(queue: Queue, job_id: int) -> JobDetail:
    """One job.

    Args:
        job_id: Slurm's, or that of a companion of it.

    Raises:
        UnknownJobError: the queue does not have it.
    """
    return detail(queue, find_meant(queue, job_id), asked=(job_id,))


def detail(queue: Queue, job: QueueJob, *, asked: Collection[int] = ()) -> JobDetail:
    """One job, of its row.

    Args:
        asked: the ids by which it was asked for.
    """
    seen = _view(queue, job, asked)
    return JobDetail(seen, _others(queue, [seen]))


def wait_for(
    queue: Queue, job_id: int, wanted: Callable[[JobDetail], bool], seconds: float
) -> JobDetail:
    """One job, as soon as it is as wanted; as it then is, once the time is over.

    Args:
        wanted: whether what the job has come to is what is waited for.
        seconds: to wait at most.

    Raises:
        UnknownJobError: the queue does not have it.
    """
    end = time.monotonic() + seconds
    while True:
        version = queue.data_version()
        detail = status(queue, job_id)
        if wanted(detail) or time.monotonic() >= end:
            return detail
        while queue.data_version() == version and time.monotonic() < end:
            time.sleep(POLL_SECONDS)


def story(queue: Queue, job_id: int) -> Story:
    """One job with its events.

    Args:
        job_id: Slurm's, or that of a companion of it.

    Raises:
        UnknownJobError: the queue does not have it.
    """
    job = find_meant(queue, job_id)
    seen = _view(queue, job, (job_id,))
    events = tuple(queue.events.all(job_id=job.id))
    return Story(seen, events, queue.promises.of(job.id), _others(queue, [seen]))


def list_jobs(
    queue: Queue,
    now: float,
    *,
    users: Collection[str] = (),
    states: Collection[JobState] = (),
    job_ids: Collection[int] = (),
    ended: bool = False,
    visible: Callable[[QueueJob], bool] = lambda _: True,
) -> JobList:
    """Jobs in order of their Slurm ids.

    Args:
        now: what the answer says about its own time, UTC epoch seconds.
        users: of these owners only; everybody's without any.
        states: in these states only; in any active one without any.
        job_ids: these and no others, in whatever state; those that do not exist are left out. An
            array's stands for all its members, a companion's for the job that it belongs to.
        ended: without `states` and `job_ids`, ended jobs as well.
        visible: which jobs whoever asks may see.
    """
    if job_ids:
        found = {job.id: job for job_id in dict.fromkeys(job_ids) for job in named(queue, job_id)}
        jobs = list(found.values())
    else:
        wanted = frozenset(states) or (ACTIVE | FINAL if ended else ACTIVE)
        jobs = list(queue.jobs.all(wanted))
    jobs = [job for job in jobs if visible(job)]
    if users:
        jobs = [job for job in jobs if job.request.owner in users]
    if states:
        jobs = [job for job in jobs if job.state in states]
    jobs.sort(key=lambda job: job.request.slurm_job_id)
    views = tuple(_view(queue, job, job_ids) for job in jobs)
    return JobList(now, views, _others(queue, views))


def history(
    queue: Queue,
    now: float,
    *,
    since: float,
    until: float | None,
    after: HistoryMark | None = None,
    users: Collection[str] = (),
    accounts: Collection[str] = (),
    uid: int | None = None,
    visible: Callable[[int, str], bool] = lambda *_: True,
) -> HistoryPage:
    """A part of the record of jobs that have ended, as `History.page` has it."""
    return queue.history.page(
        now,
        since=since,
        until=math.inf if until is None else until,
        after=after,
        users=users,
        accounts=accounts,
        uid=uid,
        visible=visible,
    )


def _view(queue: Queue, job: QueueJob, asked: Collection[int] = ()) -> JobView:
    """A row as people see it.

    Args:
        asked: the ids by which jobs were asked for: a companion that has ended is shown only so.
    """
    companions = [
        one
        for one in queue.companions.of(job.id, ended=bool(asked))
        if not one.has_ended or one.slurm_job_id in asked
    ]
    return view(job, queue.promises.verdict(job.id), queue.promises.of(job.id), companions)


def _others(queue: Queue, views: Iterable[JobView]) -> tuple[OtherJob, ...]:
    ids = sorted({queue_id for seen in views for queue_id in named_queue_ids(seen)})
    others = []
    for queue_id in ids:
        try:
            request = queue.jobs.get(queue_id).request
        except NoSuchRowError:
            continue
        others.append(OtherJob(queue_id, request.slurm_job_id, request.owner))
    return tuple(others)
