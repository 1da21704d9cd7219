"""Time in which a job stood still, ready to train, or had too few GPUs, and not by its own doing.

It is written into the audit log, by which `plan/lost_time.py` tells whose doing it is that a job is
behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.formats.durations import format_duration
from ef_slurm.model import (
    ACTOR,
    PUT_BACK,
    Event,
    EventKind,
    IntentAction,
    JobState,
    QueueJob,
)
from ef_slurm.queue.store import Queue

HELD_UP_SECONDS = 10.0
"""From which on it counts: starts and moves are always a few seconds longer or shorter."""

_STARTS = frozenset(
    {IntentAction.HOLD, IntentAction.SHAPE, IntentAction.RELEASE, IntentAction.SUBMIT}
)
"""What a job waits for that is about to start."""

_WAITING = frozenset({JobState.ADMITTED, JobState.PAUSED, JobState.STOPPING})
"""Who waits for its turn, or to be put back: no plan is carried out meanwhile."""

_ON = frozenset({JobState.STARTING, JobState.RUNNING})


def by_silence(
    queue: Queue, status: Callable[[QueueJob], JobStatus | None], silent: float, now: float
) -> Iterator[Event]:
    """Which jobs waited while Slurm did not answer: those on their way, to come, or to grow.

    Args:
        queue: has the jobs, and what is under way for them.
        status: what is known of a job, now that it answers again.
        silent: for how many seconds it did not answer.
        now: UTC epoch seconds.
    """
    if silent < HELD_UP_SECONDS:
        return
    waiting = {job.id for job in queue.jobs.all(_WAITING)}
    started = {one.job_id for one in queue.intents.unfinished() if one.action in _STARTS}
    grow = {job.id for job in queue.jobs.all(_ON) if _is_to_grow(job, status(job))}
    why = f"Slurm did not answer for {format_duration(silent)} while it waited for its GPUs"
    for job_id in sorted(waiting | started | grow):
        yield _held_up(job_id, why, now)


def _is_to_grow(job: QueueJob, status: JobStatus | None) -> bool:
    """Whether it holds fewer GPUs than it was given."""
    if job.running is None or status is None or not status.slurm.is_running:
        return False
    return sum(count for _, count in status.layout) < job.running.gpus


def waiting_for_gpus(queue: Queue, job: QueueJob, status: JobStatus, now: float) -> Event | None:
    """For how long a job that does not run has waited for GPUs that it was given.

    They were not free yet, or Slurm took none of what it was told; None for no time to speak of.

    Args:
        queue: knows since when it is to have any, these or others.
        status: before it is released. While a process of its last run is left it waits for itself.
        now: UTC epoch seconds.
    """
    given = queue.events.given_gpus_at(job.id)
    if given is None or status.seen_pending is None:
        return None
    waited = now - max(given, status.seen_pending)
    if waited < HELD_UP_SECONDS:
        return None
    why = f"it was kept waiting for GPUs that it was given, for {format_duration(waited)}"
    return _held_up(job.id, why, now)


def _held_up(job_id: int, why: str, now: float) -> Event:
    return Event(now, EventKind.NODE, ACTOR, why, job_id, {PUT_BACK: True})
