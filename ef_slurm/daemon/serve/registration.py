"""How a job comes into the queue: its owner and id are checked against Slurm's word."""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.api.identity import Caller
from ef_slurm.api.messages import FailureCode, Registered
from ef_slurm.api.routes import RequestError
from ef_slurm.daemon.observe.ownership import is_of_later_submission, no_single_job
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.predecessors import check_array, check_dependency
from ef_slurm.daemon.serve.visibility import Viewer
from ef_slurm.model import (
    ACTIVE,
    BatchScript,
    JobRequest,
    QueueJob,
    check_request,
    check_script,
)
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.types import HoldKind, SlurmJob


class RecycledIdError(RequestError):
    """Slurm has given an active job's id to another submission: the job's own is gone.

    Once the scheduler has heard of that, the registration can be taken. `job_id` is the queue's.
    """

    def __init__(self, job: QueueJob) -> None:
        slurm_id = job.request.slurm_job_id
        super().__init__(
            FailureCode.BUSY, f"Slurm has used id {slurm_id} of a job in the queue again: try again"
        )
        self.job_id = job.id


def register(
    context: ServerContext,
    queue: Queue,
    caller: Caller,
    viewer: Viewer,
    job: JobRequest,
    script: BatchScript,
) -> Registered:
    """Take a held Slurm job of the caller's into the queue; once, however often it is asked for.

    Args:
        queue: this thread's own view of it.

    Raises:
        RecycledIdError: once the scheduler has heard of that, ask again.
        RequestError: that is no job for the caller to register.
        ModelError, DuplicateJobError, LimitError: the queue does not take it.
        SlurmError: Slurm does not know the job, or does not answer.
    """
    # What is no job for the queue whoever sends it costs Slurm no question.
    now = context.clock()
    check_request(replace(job, owner=caller.name, uid=caller.uid, submitted=now), now)
    check_script(script)
    slurm = context.slurm.job(job.slurm_job_id)
    if slurm.uid != caller.uid:
        owner = slurm.user if viewer.sees_all else "somebody else"
        raise RequestError(
            FailureCode.DENIED,
            f"job {slurm.job_id} belongs to {owner}, not to you: if sbatch gave you that id, "
            "Slurm has forgotten your job since; submit it again",
        )
    if slurm.array or slurm.heterogeneous:
        raise RequestError(FailureCode.BAD_REQUEST, f"job {slurm.job_id} is {no_single_job(slurm)}")
    partition = context.partition
    if slurm.requested.partition != partition:
        raise RequestError(
            FailureCode.BAD_REQUEST,
            f"job {slurm.job_id} is in partition {slurm.requested.partition}: "
            f"ef-slurm schedules {partition}",
        )
    cluster = context.cluster
    check_dependency(queue, context.slurm, viewer, job.dependency, slurm.job_id)
    check_array(queue, context.slurm, caller.uid, job.array, slurm.job_id)
    known = queue.jobs.of_slurm(slurm.job_id, cluster)
    if known is not None and known.state in ACTIVE:
        if _is_repeated(known, caller, job):
            return Registered(slurm.job_id, created=False)
        _check_recycled(known, slurm)
    if not slurm.is_pending or slurm.hold is HoldKind.NONE:
        raise RequestError(
            FailureCode.BAD_REQUEST,
            f"job {slurm.job_id} is {slurm.state.value} and not held: submit it with ef-sbatch",
        )
    request = replace(
        job,
        owner=slurm.user,
        uid=slurm.uid,
        account=slurm.account,
        partition=partition,
        cluster=cluster,
        submitted=context.clock(),
        max_gpus=max_gpus(context, job),
    )
    queue.jobs.add(
        request,
        script,
        actor=caller.name,
        limits=context.limits,
        settings=slurm.settings,
        slurm_submitted=None if slurm.restarts else slurm.submit_time,
    )
    context.calls.wake()
    return Registered(slurm.job_id, created=True)


def max_gpus(context: ServerContext, job: JobRequest) -> int | None:
    """The most GPUs that a job may have, its own wish and the site's limit taken together."""
    most = context.limits.gpus_per_job
    if not most:
        return job.max_gpus
    return most if job.max_gpus is None else min(most, job.max_gpus)


def _is_repeated(known: QueueJob, caller: Caller, job: JobRequest) -> bool:
    """Whether it is the registration of the row: each submission has its own state directory."""
    request = known.request
    return (request.uid, request.state_dir) == (caller.uid, job.state_dir)


def _check_recycled(known: QueueJob, slurm: SlurmJob) -> None:
    """Refuse the registration of a Slurm job that an active row of another submission has.

    Raises:
        RecycledIdError: it is not the row's any more.
        RequestError: as far as can be told it is the row's still.
    """
    if slurm.uid != known.request.uid or is_of_later_submission(known, slurm):
        raise RecycledIdError(known)
    raise RequestError(
        FailureCode.UNKNOWN_JOB,
        f"job {slurm.job_id} is another submission of yours, that of {known.request.state_dir}: if "
        "sbatch gave this one that id, Slurm has forgotten it since; submit it again",
    )
