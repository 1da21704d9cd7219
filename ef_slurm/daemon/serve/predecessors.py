"""Which jobs somebody may let a job of theirs wait for: those that they may know of."""

from __future__ import annotations

from ef_slurm.daemon.serve.visibility import Viewer
from ef_slurm.model import Dependency, ModelError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import NoSuchJobError
from ef_slurm.slurm.interface import Slurm


def check_dependency(
    queue: Queue, slurm: Slurm, viewer: Viewer, dependency: Dependency, own: int
) -> None:
    """Refuse a dependency on a job that is none for whoever asks, or on the job itself.

    Args:
        own: the Slurm job that is to wait; 0 for none yet.

    Raises:
        ModelError: it is; the text does not tell a job that may not be seen from one that is none.
        SlurmUnavailableError: Slurm does not answer.
    """
    for condition in dependency.conditions:
        if condition.job_id is None:
            continue
        if condition.job_id == own:
            raise ModelError("dependency", own, "another job than itself")
        if not _is_known(queue, slurm, viewer, condition.job_id):
            wanted = "a job that Slurm or ef-slurm knows, and you may see"
            raise ModelError("dependency", condition.job_id, wanted)


def _is_known(queue: Queue, slurm: Slurm, viewer: Viewer, job_id: int) -> bool:
    row = queue.jobs.of_slurm(job_id)
    if row is not None:
        return viewer.sees(row)
    try:
        job = slurm.job(job_id)
    except NoSuchJobError:
        return False
    return viewer.sees_all or job.uid == viewer.uid or job.account in viewer.accounts
