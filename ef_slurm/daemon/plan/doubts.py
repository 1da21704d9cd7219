"""What speaks against a promise that the planner thinks safe: refusals, gates, and trouble here."""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.observe.closures import Closures
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.model import (
    Decision,
    GateState,
    Plan,
    PromiseState,
    QueueJob,
    ReasonCode,
    planner_id,
    queue_id,
)


def with_doubts(
    plan: Plan,
    jobs: tuple[QueueJob, ...],
    now: float,
    observer: Observer,
    closures: Closures,
    fence: Fence,
) -> Plan:
    """The plan, in which no promise is safe that something known speaks against.

    What Slurm refuses to start may be refused again, whatever the planner thinks of it.
    """
    waits = {}
    for job in jobs:
        with fence.around(job, "planned"):
            status = observer.status(job)
            if status is None or not status.slurm.is_running:
                waits[planner_id(job.id)] = job

    def seen(decision: Decision) -> Decision:
        if fence.fails(queue_id(decision.job_id)):
            risk = decision.promise is not PromiseState.NONE
            return replace(decision, promise=PromiseState.AT_RISK) if risk else decision
        job = waits.get(decision.job_id)
        if job is None or decision.promise is PromiseState.NONE:
            return decision
        reason = decision.reason
        if job.depends and (job.gate is None or job.gate.state is GateState.UNKNOWN):
            words = "" if job.gate is None else job.gate.words
            reason, code = replace(reason, limit=words), ReasonCode.DEPENDENCY
        elif closures.of(job.id, now) is not None:
            code = ReasonCode.REFUSED
        elif reason.code is ReasonCode.BEHIND and job.first_started_at is None:
            code = ReasonCode.NOT_STARTED  # what has never run is not slow
        else:
            return decision
        return replace(decision, promise=PromiseState.AT_RISK, reason=replace(reason, code=code))

    return replace(plan, decisions=tuple(seen(decision) for decision in plan.decisions))
