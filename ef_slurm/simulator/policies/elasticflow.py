"""ef-slurm's own planner, called as the daemon calls it."""

from __future__ import annotations

from collections.abc import Sequence

from ef_slurm.model import Cluster, IfInfeasible, Job, JobKind, Outcome, Running
from ef_slurm.planner.plan import plan
from ef_slurm.simulator.policies.base import ClusterSetup, Round
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob

GPU_TYPE = "gpu"


class ElasticFlow:
    """Every round: the runs as `Job`s into `plan`, its decisions back as grants."""

    name = "elasticflow"
    judges = True
    work_conserving = False
    fixed_size = False

    def __init__(self, setting: ClusterSetup) -> None:
        self._cluster = Cluster.uniform(setting.nodes, setting.gpus_per_node, GPU_TYPE)
        self._policy = setting.policy
        self._if_infeasible = setting.if_infeasible

    def decide(self, now: float, runs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        jobs = tuple(as_job(run, now, self._if_infeasible) for run in runs)
        answer = plan(now, jobs, self._cluster, self._policy)
        return Round(
            grants={
                decision.job_id: Grant(decision.gpus, decision.block, decision.schedule)
                for decision in answer.decisions
            },
            verdicts={verdict.job_id: verdict.outcome for verdict in answer.verdicts},
            next_change=answer.next_change,
        )


def as_job(run: SimulatedJob, now: float, if_infeasible: IfInfeasible) -> Job:
    """What the planner sees of a run.

    A deadline job that runs as best effort, because its deadline could not be promised, is a
    best-effort job from then on.
    """
    promised = run.outcome is not Outcome.BEST_EFFORT
    running = None
    if run.block is not None:
        running = Running(run.block, run.since, run.trains_from)
    return Job(
        id=run.job.id,
        submitted=run.job.submitted,
        iterations=run.remaining_at(now),
        curves=((GPU_TYPE, run.job.curve),),
        kind=run.job.kind if promised else JobKind.BEST_EFFORT,
        deadline=run.job.deadline if promised else None,
        if_infeasible=if_infeasible,
        standing=run.standing,
        overhead=run.overhead,
        running=running,
        plan=run.schedule,
        last_reshape=run.last_reshape,
        reshapes=run.reshapes,
    )
