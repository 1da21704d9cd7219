"""A job of the queue as it lies beside the queue too, so that a lost disk costs no promise."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ef_slurm.model.companion import Companion
from ef_slurm.model.job_state import FINAL, JobState
from ef_slurm.model.plan import PromiseState
from ef_slurm.model.promise import Promise, StoredVerdict
from ef_slurm.model.queued_job import QueueJob
from ef_slurm.model.request import BatchScript

RECORD_VERSION = 1
"""Of the form in which records are written."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """All that has to outlive the queue about one job.

    Args:
        job: its row when this was written. Plan and report are not followed: the next tick makes
            and reads them anew.
        script: what to submit again where Slurm loses the job; None where nobody would.
        verdict: the latest answer to it, and `promise` the latest promise; None for none yet.
        companions: its further Slurm jobs that have not ended.
        version: of this form.
        written_at: UTC epoch seconds.
    """

    job: QueueJob
    script: BatchScript | None = None
    verdict: StoredVerdict | None = None
    promise: Promise | None = None
    companions: tuple[Companion, ...] = ()
    version: int = RECORD_VERSION
    written_at: float = 0.0


def lasting(job: QueueJob) -> QueueJob:
    """A job without what is made, or reported, anew all the time.

    Its record is written again when this changes, and not with every report and every plan.
    """
    held, ended = job.state is JobState.HELD, job.state in FINAL
    promise = job.promise
    if promise in (PromiseState.IN_GRACE, PromiseState.AT_RISK) and not held:
        promise = PromiseState.SAFE
    measuring = job.measuring
    return replace(
        job,
        revision=0,
        iteration=job.iteration if ended else 0.0,
        checkpoint_iteration=0.0,
        rate=None,
        progress_at=None,
        plan=(),
        finish=None,
        promise=promise,
        reason=job.reason if job.stalled else None,
        note=job.note if held or ended or job.stalled else "",
        measuring=None if measuring is None else replace(measuring, seconds=0.0, gpu_seconds=0.0),
    )
