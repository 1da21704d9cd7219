"""Which other jobs one may name: those that are waited for, and the array that it is one of."""

from __future__ import annotations

from ef_slurm.daemon.serve.visibility import Viewer
from ef_slurm.model import ArrayMember, Dependency, ModelError
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


def check_array(queue: Queue, slurm: Slurm, uid: int, array: ArrayMember | None, own: int) -> None:
    """Refuse a place in somebody else's array.

    Jobs of an array start, are promised and are counted together, and its name stands for all.

    Args:
        uid: of whoever asks.
        own: the Slurm job that is to be in it; 0 for none yet.

    Raises:
        ModelError: the array's name is no job of theirs.
        SlurmUnavailableError: Slurm does not answer.
    """
    if array is None or array.job_id == own:
        return
    first = queue.jobs.of_slurm(array.job_id)
    if first is None or first.request.uid != uid:  # Slurm's ids come again
        try:
            theirs = slurm.job(array.job_id).uid == uid
        except NoSuchJobError:
            theirs = False
        if not theirs:
            raise ModelError("array job", array.job_id, "a job of your own")


def _is_known(queue: Queue, slurm: Slurm, viewer: Viewer, job_id: int) -> bool:
    row = queue.jobs.of_slurm(job_id)
    if row is not None:
        return viewer.sees(row)
    try:
        job = slurm.job(job_id)
    except NoSuchJobError:
        return False
    return viewer.sees_all or job.uid == viewer.uid or job.account in viewer.accounts
