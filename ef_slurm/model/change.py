"""What an owner wants otherwise of a job that is in the queue already."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from ef_slurm.model.dependency import Dependency
from ef_slurm.model.errors import ModelError
from ef_slurm.model.job import JobKind
from ef_slurm.model.queued_job import QueueJob
from ef_slurm.model.request import JobRequest


@dataclass(frozen=True, slots=True)
class JobChange:
    """What is to be otherwise; None for what stays.

    Args:
        deadline: UTC epoch seconds. A best-effort job asks for a promise with it.
        iterations: of the whole training.
        max_gpus: the largest share; 0 for any.
        best_effort: True gives the deadline up; False asks again for the promise of a job that
            runs as best effort because its deadline could not be promised.
        begin: before when it may not start, UTC epoch seconds; 0 for at once.
        dependency: what has to be so before it may start; one without conditions for nothing.
    """

    deadline: float | None = None
    iterations: int | None = None
    max_gpus: int | None = None
    best_effort: bool | None = None
    begin: float | None = None
    dependency: Dependency | None = None


class ChangeOutcome(enum.Enum):
    """What became of a change."""

    DONE = "done"  # it is as asked, and what it is promised, if anything, is for that
    TO_BE_JUDGED = "to-be-judged"  # it is as asked; its verdict is still to come
    REFUSED = "refused"  # it cannot be promised: nothing was changed


class JobAction(enum.Enum):
    """What an owner, or an operator, may have done with a job of the queue."""

    HOLD = "hold"  # it saves a checkpoint, leaves its GPUs, and takes no part in plans
    RELEASE = "release"  # what was held goes on: it is judged anew where it has no promise
    REQUEUE = "requeue"  # it saves a checkpoint, and is started anew
    TOP = "top"  # it is asked first of its owner's jobs on the waiting list


def changed(job: QueueJob, change: JobChange) -> JobRequest:
    """The request of a job with the change in it.

    Raises:
        ModelError: the change asks for what cannot be, or for nothing.
    """
    if change == JobChange():
        raise ModelError(
            "change",
            "nothing",
            "deadline=, iterations=, max_gpus=, best_effort=, begin= or dependency= with a value",
        )
    request = _other_kind(job, change)
    if change.iterations is not None:
        done = max(job.iteration, job.checkpoint_iteration)
        if change.iterations <= done:
            raise ModelError(
                "iterations", change.iterations, f"more than the {done:.0f} that it has done"
            )
        request = replace(request, iterations=change.iterations, assumed=False)
    if change.max_gpus is not None:
        request = replace(request, max_gpus=change.max_gpus or None)
    if change.begin is not None:
        if job.first_started_at is not None or job.running is not None:
            raise ModelError("begin", change.begin, "nothing: it has begun")
        request = replace(request, begin=change.begin or None)
    if change.dependency is not None:
        if job.first_started_at is not None or job.running is not None:
            raise ModelError("dependency", "another one", "nothing: it has begun")
        kill = request.dependency.kill
        request = replace(request, dependency=replace(change.dependency, kill=kill))
    return request


def _other_kind(job: QueueJob, change: JobChange) -> JobRequest:
    request = job.request
    if change.best_effort:
        if change.deadline is not None:
            raise ModelError("deadline", change.deadline, "none together with best_effort=yes")
        return replace(request, kind=JobKind.BEST_EFFORT, deadline=None, grace=0.0)
    if change.deadline is not None:
        kind = JobKind.DEADLINE if request.kind is JobKind.BEST_EFFORT else request.kind
        return replace(request, kind=kind, deadline=change.deadline)
    if change.best_effort is not None and request.deadline is None:
        raise ModelError("best_effort", "no", "a deadline= with it: the job has none")
    return request


def is_looser(before: JobRequest, after: JobRequest) -> bool:
    """Whether whatever keeps the first request also keeps the second."""
    if after.kind is JobKind.BEST_EFFORT:
        return True
    if before.deadline is None or after.deadline is None or before.iterations is None:
        return False
    fewer = after.iterations is not None and after.iterations <= before.iterations
    wider = after.max_gpus is None or (
        before.max_gpus is not None and after.max_gpus >= before.max_gpus
    )
    sooner = after.begin is None or (before.begin is not None and after.begin <= before.begin)
    return (
        fewer
        and wider
        and sooner
        and after.dependency in (Dependency(kill=after.dependency.kill), before.dependency)
        and after.deadline + after.grace >= before.deadline + before.grace
        and after.deadline >= before.deadline
    )
