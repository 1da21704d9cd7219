"""Time in which a job stood still, ready to train, and not by its own doing.

It is written into the audit log, by which `plan/lost_time.py` tells whose doing it is that a job is
behind.
"""

from __future__ import annotations

from collections.abc import Iterator

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
"""What a job waits for that does not run; one that is to stop has a state of its own."""


def by_silence(queue: Queue, silent: float, now: float) -> Iterator[Event]:
    """What jobs on their way waited for that Slurm did not answer.

    Args:
        queue: has the jobs, and what is under way for them.
        silent: for how many seconds it did not answer.
        now: UTC epoch seconds.
    """
    if silent < HELD_UP_SECONDS:
        return
    stopped = {job.id for job in queue.jobs.all({JobState.STOPPING})}
    started = {one.job_id for one in queue.intents.unfinished() if one.action in _STARTS}
    why = f"Slurm did not answer for {format_duration(silent)} while it was on its way to its GPUs"
    for job_id in sorted(stopped | started):
        yield _held_up(job_id, why, now)


def until_released(job: QueueJob, status: JobStatus, now: float) -> Event | None:
    """For how long a job that is released now had waited for the GPUs that it was given.

    They were not free yet, or Slurm took none of what it was told; None for no time to speak of.

    Args:
        job: its row, with what it is to hold, and since when.
        status: as it was before. While a process of its last run is left it waits for itself.
        now: UTC epoch seconds.
    """
    if job.running is None or status.seen_pending is None:
        return None
    waited = now - max(job.running.since, status.seen_pending)
    if waited < HELD_UP_SECONDS:
        return None
    why = f"it was kept from the GPUs that it was given for {format_duration(waited)}"
    return _held_up(job.id, why, now)


def _held_up(job_id: int, why: str, now: float) -> Event:
    return Event(now, EventKind.NODE, ACTOR, why, job_id, {PUT_BACK: True})
