"""One simulation from its inputs to its numbers."""

from __future__ import annotations

import math
import resource
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ef_slurm.model import ChangeKind, IfInfeasible, Policy
from ef_slurm.simulator import metrics
from ef_slurm.simulator.cluster import GpuGroup
from ef_slurm.simulator.engine import Engine
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.failures import FailuresOption
from ef_slurm.simulator.knowledge import CurvesOption
from ef_slurm.simulator.metrics import Metrics
from ef_slurm.simulator.overhead import OverheadModel
from ef_slurm.simulator.policies.base import ClusterSetup, SchedulingPolicy
from ef_slurm.simulator.policies.registry import ELASTICFLOW, make_policy
from ef_slurm.simulator.simulated_job import SimulatedJob
from ef_slurm.simulator.trace import Trace, require_requests


@dataclass(frozen=True, slots=True)
class Request:
    """What to simulate.

    Args:
        trace: the jobs.
        groups: of the cluster; see `cluster.uniform` and `cluster.side_by_side`.
        policy: a name of `POLICIES`.
        overhead: what starts and reshapes cost.
        if_infeasible: what elasticflow does with a deadline that it cannot promise.
        planner_policy: elasticflow's own settings; by default no counter-offers, which take time.
        check: whether the simulator's own rules are checked at every event.
        curves: what the policy knows of throughput curves.
        failures: how nodes fail.
    """

    trace: Trace
    groups: tuple[GpuGroup, ...]
    policy: str
    overhead: OverheadModel
    if_infeasible: IfInfeasible = IfInfeasible.WAIT
    planner_policy: Policy = field(default_factory=lambda: Policy(offers=False))
    check: bool = False
    curves: CurvesOption = field(default_factory=CurvesOption)
    failures: FailuresOption = field(default_factory=FailuresOption)

    @property
    def admission(self) -> str | None:
        """Whom it promises a deadline when not everybody can be; None where that is no choice."""
        return self.planner_policy.admission.value if self.policy == ELASTICFLOW else None

    @property
    def setup(self) -> ClusterSetup:
        """The cluster and the rules, as the policy sees them."""
        return ClusterSetup(
            self.groups,
            self.overhead.for_cluster(sum(group.gpus for group in self.groups)),
            self.if_infeasible,
            self.planner_policy,
        )


@dataclass(frozen=True, slots=True)
class Result:
    """The numbers, the jobs that they come from, and the cluster."""

    metrics: Metrics
    jobs: tuple[SimulatedJob, ...]
    groups: tuple[GpuGroup, ...]


def prepare(request: Request) -> SchedulingPolicy:
    """The policy, ready to run on the trace.

    Raises:
        SimulatorError: there is no such policy, a package that it needs is missing, or the trace
            does not have what it needs.
    """
    if len(request.groups) > 1 and request.curves.name != CurvesOption().name:
        raise SimulatorError(
            f"curves {request.curves.name!r} are for clusters of one GPU type: leave --curves out"
        )
    policy = make_policy(request.policy, request.setup)
    if policy.fixed_size:
        require_requests(request.trace, request.policy)
    return policy


def simulate(request: Request, on_done: Callable[[int], None] | None = None) -> Result:
    """Simulates one trace under one policy.

    Args:
        request: what to simulate.
        on_done: called with the number of jobs that left since the last call.

    Raises:
        SimulatorError: see `prepare`.
        InvariantError: a rule of the simulator was broken.
    """
    setup = request.setup
    policy = prepare(request)
    since = request.trace.jobs[0].submitted if request.trace.jobs else 0.0
    engine = Engine(
        request.trace,
        setup,
        policy,
        check=request.check,
        knowledge=request.curves.knowledge(setup.nodes, setup.gpus_per_node),
        failures=request.failures.failures(setup.nodes, since),
        on_done=on_done,
    )
    outcomes = engine.simulate()
    jobs = outcomes.jobs
    deadline_jobs = sum(job.spec.deadline is not None for job in jobs)
    met = sum(map(metrics.is_met, jobs))
    reshapes = sum(job.reshapes for job in jobs)
    changes = sum((job.changes for job in jobs), Counter[ChangeKind]())
    overheads = {
        kind: math.fsum(metrics.overhead_gpu_seconds(job, kind) for job in jobs) / 3600
        for kind in ChangeKind
    }
    numbers = Metrics(
        trace=request.trace.name,
        policy=request.policy,
        admission=request.admission,
        overhead=request.overhead.name,
        curves=request.curves.name,
        failures=request.failures.name,
        cluster=",".join(map(str, request.groups)),
        nodes=setup.nodes,
        gpus_per_node=setup.gpus_per_node,
        gpus=setup.gpus,
        jobs=len(jobs),
        deadline_jobs=deadline_jobs,
        best_effort_jobs=len(jobs) - deadline_jobs,
        admitted=sum(job.admitted for job in jobs),
        met=met,
        ratio=met / deadline_jobs if deadline_jobs else None,
        broken_promises=sum(map(metrics.is_broken, jobs)) if policy.judges else None,
        unfinished=sum(job.finished is None and job.admitted for job in jobs),
        starts=sum(job.starts for job in jobs),
        reshapes=reshapes,
        reshapes_per_job=reshapes / len(jobs) if jobs else 0.0,
        resumes=changes[ChangeKind.START],
        grows=changes[ChangeKind.GROW],
        shrinks=changes[ChangeKind.SHRINK],
        migrations=changes[ChangeKind.MOVE],
        restarts=changes[ChangeKind.RESTART],
        pauses=sum(job.pauses for job in jobs),
        gpu_hours=sum(map(metrics.gpu_seconds, jobs)) / 3600,
        overhead_gpu_hours=math.fsum(overheads.values()),
        start_gpu_hours=overheads[ChangeKind.START],
        grow_gpu_hours=overheads[ChangeKind.GROW],
        shrink_gpu_hours=overheads[ChangeKind.SHRINK],
        move_gpu_hours=overheads[ChangeKind.MOVE],
        restart_gpu_hours=overheads[ChangeKind.RESTART],
        measured_gpu_hours=sum(job.measured_gpu_seconds for job in jobs) / 3600,
        at_risk_warnings=metrics.at_risk_warnings(jobs) if policy.judges else None,
        warning_lead_seconds=metrics.warning_lead(jobs),
        unwarned_broken_promises=metrics.unwarned(jobs) if policy.judges else None,
        node_failures=outcomes.node_failures,
        lost_gpu_hours=sum(map(metrics.lost_gpu_seconds, jobs)) / 3600,
        efficiency=metrics.efficiency(jobs, setup.gpus),
        makespan_seconds=metrics.makespan(jobs),
        best_effort_completion_seconds=metrics.best_effort_completion(jobs),
        rounds=outcomes.rounds,
        planning_seconds=outcomes.planning_seconds,
        longest_round_seconds=outcomes.longest_round_seconds,
        wall_seconds=outcomes.wall_seconds,
        cpu_seconds=outcomes.cpu_seconds,
        peak_rss_mb=peak_rss_mb(),
    )
    return Result(numbers, jobs, request.groups)


def peak_rss_mb() -> float:
    """The most memory that this process ever had resident, in MB (10⁶ bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
