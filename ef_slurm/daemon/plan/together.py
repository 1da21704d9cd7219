"""Arrays that are wanted together: all of their members are promised, or none."""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.formats.sentences import reason_sentence
from ef_slurm.model import ACTOR, JobState, Outcome, Plan, QueueJob, Verdict, planner_id, queue_id
from ef_slurm.queue.store import Queue


def refuse_parted(queue: Queue, plan: Plan, jobs: tuple[QueueJob, ...], now: float) -> bool:
    """Refuse arrays that are wanted together and of which some would not be promised.

    Returns:
        Whether there were any: the plan is none then, for it counts on the others of them.

    Raises:
        QueueError: it cannot be written.
    """
    verdicts = {queue_id(one.job_id): one for one in plan.verdicts}
    arrays: dict[int, list[QueueJob]] = {}
    for job in jobs:
        array = job.request.array
        if array is not None and array.together and job.id in verdicts:
            arrays.setdefault(array.job_id, []).append(job)
    names = {planner_id(job.id): str(job.request.slurm_job_id) for job in jobs}

    def name_of(name: str) -> str:
        return names.get(name, name)

    refused = False
    for members in arrays.values():
        late = [job for job in members if verdicts[job.id].outcome is not Outcome.PROMISED]
        if not late:
            continue
        refused = True
        first = verdicts[late[0].id]
        array = late[0].request.array
        assert array is not None
        words = reason_sentence(first.reason, name_of)
        parts = f"{len(late)} of {len(members)} would not be"
        why = f"not promised together: {parts}; {array.name}: {words}"
        with queue.transaction():
            for job in members:
                verdict = Verdict(planner_id(job.id), Outcome.REJECTED, first.reason)
                queue.promises.record(verdict, at=now, explanation=why)
                queue.jobs.save(replace(queue.jobs.get(job.id), note=why))
                queue.jobs.move(job.id, JobState.REJECTED, at=now, actor=ACTOR, why=why)
    return refused
