"""ef-slurm's own planner, called as the daemon calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ef_slurm.model import (
    OBSERVE_SECONDS,
    Arrivals,
    Cluster,
    IfInfeasible,
    Job,
    JobKind,
    Node,
    NodeGroup,
    Outage,
    Outcome,
    PromiseState,
    Running,
)
from ef_slurm.planner.measuring import MeasuringSlots
from ef_slurm.planner.plan import plan_round
from ef_slurm.planner.waiting import WaitingList
from ef_slurm.profiling.measuring import Belief
from ef_slurm.simulator.cluster import GPU_TYPE, GpuGroup
from ef_slurm.simulator.policies.base import ClusterSetup, Round
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob


class ElasticFlow:
    """Every round: the simulated jobs as `Job`s into `plan`, its decisions back as grants."""

    name = "elasticflow"
    judges = True
    work_conserving = False
    fixed_size = False

    def __init__(self, setup: ClusterSetup) -> None:
        self._groups = setup.groups
        self._cluster = _cluster(setup.groups, {})
        self._policy = setup.policy
        self._if_infeasible = setup.if_infeasible
        self._waiting: WaitingList | None = None
        self._arrivals: Arrivals = ()
        self._slots = MeasuringSlots(OBSERVE_SECONDS)

    def see_down(self, down: Mapping[str, float]) -> None:
        """See `SchedulingPolicy`."""
        self._cluster = _cluster(self._groups, down)

    def _seen(self, job: SimulatedJob, now: float) -> Job:
        weight = self._policy.weight(job.spec.account)
        return as_job(job, now, self._if_infeasible, weight)

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        seen = [self._seen(job, now) for job in jobs if job.belief]
        for job in jobs:
            if job.measurement is not None:
                plain = self._seen(job, now)
                seen.append(self._slots.ask(plain, job.measurement, now))
        answer, self._waiting, self._arrivals = plan_round(
            now, seen, self._cluster, self._policy, self._waiting, self._arrivals
        )
        self._slots.record(answer)
        measured = self._slots.measured
        return Round(
            grants={
                decision.job_id: Grant(decision.gpus, decision.block, decision.schedule)
                for decision in answer.decisions
            },
            verdicts={
                verdict.job_id: verdict.outcome
                for verdict in answer.verdicts
                if verdict.job_id not in measured
            },
            next_change=answer.next_change,
            at_risk=frozenset(
                decision.job_id
                for decision in answer.decisions
                if decision.promise is PromiseState.AT_RISK and decision.job_id not in measured
            ),
        )


def _cluster(groups: Sequence[GpuGroup], down: Mapping[str, float]) -> Cluster:
    return Cluster(
        tuple(
            NodeGroup(
                group.gpu_type,
                group.gpus_per_node,
                tuple(
                    Node(name, (Outage(down[name]),) if name in down else ())
                    for name in group.names
                ),
            )
            for group in groups
        )
    )


def as_job(job: SimulatedJob, now: float, if_infeasible: IfInfeasible, weight: float = 1.0) -> Job:
    """What the planner sees of a simulated job.

    A deadline job that runs as best effort, because its deadline could not be promised, is a
    best-effort job from then on.
    """
    promised = job.outcome is not Outcome.BEST_EFFORT
    belief = job.belief or Belief(job.spec.curve, job.spec.curve)
    # Of several types every curve is known (`Request`).
    curves = job.spec.curves or ((GPU_TYPE, belief.promised),)
    return Job(
        id=job.spec.id,
        submitted=job.spec.submitted,
        iterations=job.remaining_at(now),
        curves=curves,
        growth_curves=() if belief.exact else ((GPU_TYPE, belief.expected),),
        kind=job.spec.kind if promised else JobKind.BEST_EFFORT,
        deadline=job.spec.deadline if promised else None,
        grace=job.spec.grace if promised else 0.0,
        if_infeasible=if_infeasible,
        standing=job.standing,
        overhead=job.overhead,
        running=_running(job),
        plan=job.schedule,
        last_reshape=job.last_reshape,
        reshapes=job.reshapes,
        account=job.spec.account,
        weight=weight,
    )


def _running(job: SimulatedJob) -> Running | None:
    return None if job.block is None else Running(job.block, job.since, job.trains_from)
