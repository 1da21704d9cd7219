"""One simulation from its inputs to its numbers."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from ef_slurm.model import IfInfeasible, Policy
from ef_slurm.simulator import metrics
from ef_slurm.simulator.engine import Engine
from ef_slurm.simulator.metrics import Metrics
from ef_slurm.simulator.overhead import OverheadModel
from ef_slurm.simulator.policies.base import ClusterSetup, SchedulingPolicy
from ef_slurm.simulator.policies.registry import make_policy
from ef_slurm.simulator.simulated_job import SimulatedJob
from ef_slurm.simulator.trace import Trace, require_requests


@dataclass(frozen=True, slots=True)
class Request:
    """What to simulate."""

    trace: Trace
    nodes: int
    gpus_per_node: int
    policy: str
    overhead: OverheadModel
    if_infeasible: IfInfeasible = IfInfeasible.WAIT
    planner_policy: Policy = field(default_factory=lambda: Policy(offers=False))
    check: bool = False

    @property
    def setting(self) -> ClusterSetup:
        """The world of the policy."""
        return ClusterSetup(
            self.nodes,
            self.gpus_per_node,
            self.overhead.for_cluster(self.nodes * self.gpus_per_node),
            self.if_infeasible,
            self.planner_policy,
        )


@dataclass(frozen=True, slots=True)
class Result:
    """The numbers, and the runs that they come from."""

    metrics: Metrics
    runs: tuple[SimulatedJob, ...]


def prepare(request: Request) -> SchedulingPolicy:
    """The policy, ready to run on the trace.

    Raises:
        SimulatorError: there is no such policy, a package that it needs is missing, or the trace
            does not have what it needs.
    """
    policy = make_policy(request.policy, request.setting)
    if policy.fixed_size:
        require_requests(request.trace, request.policy)
    return policy


def simulate(request: Request, on_done: Callable[[int], None] | None = None) -> Result:
    """Simulates; `on_done` hears of every job that leaves (see `Engine`).

    Raises:
        SimulatorError: see `prepare`.
        InvariantError: a rule of the simulator was broken.
    """
    setting = request.setting
    policy = prepare(request)
    engine = Engine(request.trace, setting, policy, check=request.check, on_done=on_done)
    outcomes = engine.simulate()
    runs = outcomes.runs
    deadline_jobs = sum(run.job.deadline is not None for run in runs)
    met = sum(map(metrics.is_met, runs))
    reshapes = sum(run.reshapes for run in runs)
    numbers = Metrics(
        trace=request.trace.name,
        policy=request.policy,
        overhead=request.overhead.name,
        nodes=request.nodes,
        gpus_per_node=request.gpus_per_node,
        jobs=len(runs),
        deadline_jobs=deadline_jobs,
        best_effort_jobs=len(runs) - deadline_jobs,
        admitted=sum(run.admitted for run in runs),
        met=met,
        ratio=met / deadline_jobs if deadline_jobs else None,
        broken_promises=sum(map(metrics.is_broken, runs)) if policy.judges else None,
        unfinished=sum(run.finished is None and run.admitted for run in runs),
        starts=sum(run.starts for run in runs),
        reshapes=reshapes,
        reshapes_per_job=reshapes / len(runs) if runs else 0.0,
        migrations=sum(run.migrations for run in runs),
        pauses=sum(run.pauses for run in runs),
        gpu_hours=sum(map(metrics.gpu_seconds, runs)) / 3600,
        efficiency=metrics.efficiency(runs, setting.gpus),
        makespan_seconds=metrics.makespan(runs),
        best_effort_completion_seconds=metrics.best_effort_completion(runs),
        rounds=outcomes.rounds,
        planning_seconds=outcomes.planning_seconds,
        longest_round_seconds=outcomes.longest_round_seconds,
        wall_seconds=outcomes.wall_seconds,
        cpu_seconds=outcomes.cpu_seconds,
        peak_rss_mb=peak_rss_mb(),
    )
    return Result(numbers, runs)


def peak_rss_mb() -> float:
    """The most memory that this process ever had resident, in MB (10⁶ bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
