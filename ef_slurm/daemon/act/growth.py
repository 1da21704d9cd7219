"""Whether a job grows while it trains. Pure.

By doublings, each of which takes as long as one; meanwhile it trains, more slowly than after all of
them. The planner counts on a requeue where several take longer than that (`Overhead.growth`), and
that is how it is done where the promise needs it.
"""

from __future__ import annotations

from ef_slurm.model import JobKind, Overhead, QueueJob, doublings_of, is_in_time


def is_too_slow(job: QueueJob, overhead: Overhead, held_gpus: int, new_gpus: int) -> bool:
    """Whether all doublings of a growth would keep a job from its deadline, and a requeue does not.

    Args:
        job: the row, with the finish that the plan in force predicts.
        overhead: what its changes are taken to cost.
        held_gpus: GPUs that it holds now, 1 or more.
        new_gpus: GPUs that it is to have.
    """
    request = job.request
    if job.kind is JobKind.BEST_EFFORT or request.deadline is None or job.finish is None:
        return False
    later = doublings_of(held_gpus, new_gpus) * overhead.grow
    later -= overhead.growth(held_gpus, new_gpus)
    grace = request.grace
    in_time = is_in_time(job.finish, request.deadline, grace)
    return later > 0.0 and in_time and not is_in_time(job.finish + later, request.deadline, grace)
