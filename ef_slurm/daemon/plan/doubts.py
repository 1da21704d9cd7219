"""What speaks against a promise that the planner thinks safe: refusals, gates, and trouble here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.observe.closures import Closures
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.plan.lost_time import LostTime
from ef_slurm.model import (
    Decision,
    GateState,
    Plan,
    PromiseState,
    QueueJob,
    Reason,
    ReasonCode,
    planner_id,
    queue_id,
)


@dataclass(frozen=True, slots=True)
class Doubts:
    """What is known besides the planner's numbers.

    What Slurm refuses to start may be refused again, whatever the planner thinks of it.
    """

    observer: Observer
    closures: Closures
    lost_time: LostTime
    fence: Fence

    def of(self, plan: Plan, jobs: tuple[QueueJob, ...], now: float) -> Plan:
        """The plan, in which no promise is safe that something known speaks against."""
        rows, waits = {}, set()
        for job in jobs:
            with self.fence.around(job, "planned"):
                rows[planner_id(job.id)] = job
                status = self.observer.status(job)
                if status is None or not status.slurm.is_running:
                    waits.add(job.id)

        def seen(decision: Decision) -> Decision:
            if self.fence.fails(queue_id(decision.job_id)):
                risk = decision.promise is not PromiseState.NONE
                return replace(decision, promise=PromiseState.AT_RISK) if risk else decision
            job = rows.get(decision.job_id)
            if job is None or decision.promise is PromiseState.NONE:
                return decision
            reason = self._against(decision.reason, job, now, waits=job.id in waits)
            if reason == decision.reason:
                return decision
            return replace(decision, promise=PromiseState.AT_RISK, reason=reason)

        return replace(plan, decisions=tuple(seen(decision) for decision in plan.decisions))

    def _against(self, reason: Reason, job: QueueJob, now: float, *, waits: bool) -> Reason:
        """What speaks against a promise; the planner's reason where nothing else does."""
        if waits and job.depends and (job.gate is None or job.gate.state is GateState.UNKNOWN):
            words = "" if job.gate is None else job.gate.words
            return replace(reason, code=ReasonCode.DEPENDENCY, limit=words)
        if waits and self.closures.of(job.id, now) is not None:
            return replace(reason, code=ReasonCode.REFUSED)
        if reason.code is not ReasonCode.BEHIND:
            return reason
        if waits and job.first_started_at is None:
            return replace(reason, code=ReasonCode.NOT_STARTED)  # what has never run is not slow
        if self.lost_time.explains(job):
            return replace(reason, code=ReasonCode.LOST_CAPACITY)
        return reason
