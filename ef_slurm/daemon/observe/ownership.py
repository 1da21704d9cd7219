"""Who may put which Slurm job into the queue."""

from __future__ import annotations

from ef_slurm.model import QueueJob
from ef_slurm.slurm.types import SlurmJob


def no_single_job(slurm: SlurmJob) -> str:
    """Why an array, or a heterogeneous job, is none for the queue: it runs more than one row."""
    kind = "an array, or a task of one" if slurm.array else "a component of a heterogeneous job"
    return f"{kind}: ef-slurm promises one job at a time; call ef-sbatch once per run"


def ownership_error(job: QueueJob, slurm: SlurmJob) -> str | None:
    """Why the row must not speak for the Slurm job; None if it may."""
    if slurm.uid != job.request.uid:
        return (
            f"Slurm job {slurm.job_id} belongs to {slurm.user or slurm.uid}, "
            f"not to {job.request.owner}"
        )
    return None


def is_another_submission(job: QueueJob, slurm: SlurmJob) -> bool:
    """Whether the Slurm job is none of the row's: Slurm has forgotten that, and used its id again.

    slurmctld that is killed right after a submission forgets it, and gives its id to another one.
    Both moments are of slurmctld's clock. A job keeps its own until it is requeued, which counts as
    a submission in Slurm: of a job that was requeued nothing is said.
    """
    taken, seen = job.slurm_submitted, slurm.submit_time
    if slurm.restarts > 0 or taken is None or seen is None:
        return False
    return seen != taken


def may_be_its_end(job: QueueJob, ended: SlurmJob) -> bool:
    """Whether accounting's word under the row's id is of its own Slurm job (`Slurm.ended`).

    Accounting does not count requeues, and each is a submission: of a job that has run, owner and
    name say it.
    """
    if ownership_error(job, ended) is not None or ended.name != job.request.name:
        return False
    return job.first_started_at is not None or not is_another_submission(job, ended)


CLOCKS_SECONDS = 1.0
"""By how much Slurm's word on when a job came may be later than the queue's, and mean the same."""


def is_of_later_submission(job: QueueJob, slurm: SlurmJob) -> bool:
    """Whether Slurm took the Slurm job after the row's own, as far as can be told.

    Where Slurm's word on the row's own is not known, that is later than the row's registration: two
    clocks, either of which may have been set meanwhile, are a witness beside another, and no proof.
    """
    seen = slurm.submit_time
    if job.slurm_submitted is not None or slurm.restarts > 0 or seen is None:
        return is_another_submission(job, slurm)
    return seen > job.request.submitted + CLOCKS_SECONDS
