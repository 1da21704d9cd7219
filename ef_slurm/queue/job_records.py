"""Jobs of the queue as the records that lie beside it (`JobRecord`)."""

from __future__ import annotations

from contextlib import suppress

from ef_slurm.model import FINAL, BatchScript, Companion, JobRecord, JobState, QueueJob
from ef_slurm.queue.errors import NoSuchRowError
from ef_slurm.queue.store import Queue


def record_of(queue: Queue, job: QueueJob, *, at: float) -> JobRecord:
    """What has to outlive the queue about a job.

    Args:
        job: its row.
        at: now, UTC epoch seconds.
    """
    return JobRecord(
        job=job,
        script=script_of(queue, job),
        verdict=queue.promises.verdict(job.id),
        promise=queue.promises.of(job.id),
        companions=companions_of(queue, job),
        written_at=at,
    )


def companions_of(queue: Queue, job: QueueJob) -> tuple[Companion, ...]:
    """Its further Slurm jobs that have not ended."""
    return tuple(one for one in queue.companions.of(job.id) if not one.has_ended)


def script_of(queue: Queue, job: QueueJob) -> BatchScript | None:
    """What would be submitted again for a job; None where it has ended, or has none any more."""
    if job.state in FINAL - {JobState.LOST}:
        return None
    with suppress(NoSuchRowError):
        return queue.jobs.script(job.id)
    return None
