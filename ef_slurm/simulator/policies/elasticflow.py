"""ef-slurm's own planner, called as the daemon calls it."""

from __future__ import annotations

from collections.abc import Sequence

from ef_slurm.model import Cluster, IfInfeasible, Job, JobKind, Outcome, Running
from ef_slurm.planner.plan import plan
from ef_slurm.simulator.policies.base import ClusterSetup, Round
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob

GPU_TYPE = "gpu"


class ElasticFlow:
    """Every round: the simulated jobs as `Job`s into `plan`, its decisions back as grants."""

    name = "elasticflow"
    judges = True
    work_conserving = False
    fixed_size = False

    def __init__(self, setup: ClusterSetup) -> None:
        self._cluster = Cluster.uniform(setup.nodes, setup.gpus_per_node, GPU_TYPE)
        self._policy = setup.policy
        self._if_infeasible = setup.if_infeasible

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        seen = tuple(as_job(job, now, self._if_infeasible) for job in jobs)
        answer = plan(now, seen, self._cluster, self._policy)
        return Round(
            grants={
                decision.job_id: Grant(decision.gpus, decision.block, decision.schedule)
                for decision in answer.decisions
            },
            verdicts={verdict.job_id: verdict.outcome for verdict in answer.verdicts},
            next_change=answer.next_change,
        )


def as_job(job: SimulatedJob, now: float, if_infeasible: IfInfeasible) -> Job:
    """What the planner sees of a simulated job.

    A deadline job that runs as best effort, because its deadline could not be promised, is a
    best-effort job from then on.
    """
    promised = job.outcome is not Outcome.BEST_EFFORT
    running = None
    if job.block is not None:
        running = Running(job.block, job.since, job.trains_from)
    return Job(
        id=job.spec.id,
        submitted=job.spec.submitted,
        iterations=job.remaining_at(now),
        curves=((GPU_TYPE, job.spec.curve),),
        kind=job.spec.kind if promised else JobKind.BEST_EFFORT,
        deadline=job.spec.deadline if promised else None,
        if_infeasible=if_infeasible,
        standing=job.standing,
        overhead=job.overhead,
        running=running,
        plan=job.schedule,
        last_reshape=job.last_reshape,
        reshapes=job.reshapes,
    )
