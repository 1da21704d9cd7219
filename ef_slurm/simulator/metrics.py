"""What a simulation says: counts, ratios, hours.

- *met*: deadline jobs that finished by their deadline; *ratio*: met / all deadline jobs, those that
  were turned away included.
- *broken promise*: promised, then finished late or never. Policies that promise nothing have None.
- *reshape*: a job that had started gets another share or another block, a resume after a pause
  included. First starts are counted apart, and so are pauses: what costs is the restart.
- *resume, grow, shrink, migration, restart*: reshapes by kind (`model.ChangeKind`); a start again
  after a pause, and a migration is a move, which keeps the share and changes the block.
- *overhead GPU hours*: held without training because of the change just made, by kind of change.
- *measured GPU hours*: held by jobs whose curve was measured before they were judged.
- *at-risk warnings*: promises that were ever named at risk; the *lead* is from the first warning to
  the deadline, over those that were broken.
- *node failures*: until the last job left. *lost GPU hours*: of training since the last checkpoint
  of jobs that a failure stopped; a start that it cut short is not counted.
- *efficiency* (paper, Figure 10): Σ T(n)/T(1) over the jobs that train, divided by the GPUs of the
  cluster, averaged over time from the first submission to the last completion. For a curve that
  cannot run on one GPU, T(1) is taken as its smallest size's rate per GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ef_slurm.model import Admission, ChangeKind, JobKind, is_in_time
from ef_slurm.simulator.simulated_job import SimulatedJob


@dataclass(frozen=True, slots=True)
class Metrics:
    """A simulation in numbers. The names are those of `--json`.

    `admission` says whom the policy promises a deadline first, where it has a choice of it.
    `cluster` is TYPE:NODESxGPUS for every group of nodes, `gpus_per_node` of the largest nodes.
    """

    trace: str
    policy: str
    admission: str | None
    overhead: str
    curves: str
    failures: str
    cluster: str
    nodes: int
    gpus_per_node: int
    gpus: int
    jobs: int
    deadline_jobs: int
    best_effort_jobs: int
    admitted: int
    met: int
    ratio: float | None
    broken_promises: int | None
    unfinished: int
    starts: int
    reshapes: int
    reshapes_per_job: float
    resumes: int
    grows: int
    shrinks: int
    migrations: int
    restarts: int
    pauses: int
    gpu_hours: float
    overhead_gpu_hours: float
    start_gpu_hours: float
    grow_gpu_hours: float
    shrink_gpu_hours: float
    move_gpu_hours: float
    restart_gpu_hours: float
    measured_gpu_hours: float
    at_risk_warnings: int | None
    warning_lead_seconds: float | None
    unwarned_broken_promises: int | None
    node_failures: int
    lost_gpu_hours: float
    efficiency: float
    makespan_seconds: float
    best_effort_completion_seconds: float | None
    rounds: int
    planning_seconds: float
    longest_round_seconds: float
    wall_seconds: float
    cpu_seconds: float
    peak_rss_mb: float

    @property
    def label(self) -> str:
        """The policy as tables and pictures call it."""
        plain = self.admission in (None, Admission.FIRST_COME.value)
        return self.policy if plain else f"{self.policy}, {self.admission}"


def is_met(job: SimulatedJob) -> bool:
    """Whether a deadline job finished in time."""
    deadline = job.spec.deadline
    if deadline is None or job.finished is None:
        return False
    return is_in_time(job.finished, deadline)


def is_broken(job: SimulatedJob) -> bool:
    """Whether the job was promised its deadline and missed it, grace included."""
    return job.promised_at is not None and job.spec.deadline is not None and not is_in_grace(job)


def is_in_grace(job: SimulatedJob) -> bool:
    """Whether a deadline job finished by its deadline or within its grace."""
    deadline = job.spec.deadline
    if deadline is None or job.finished is None:
        return False
    return is_in_time(job.finished, deadline, job.spec.grace)


def at_risk_warnings(jobs: Sequence[SimulatedJob]) -> int:
    """Promises that were ever named at risk."""
    return sum(job.at_risk_since is not None for job in jobs)


def unwarned(jobs: Sequence[SimulatedJob]) -> int:
    """Broken promises that were not named at risk before their deadline."""
    return sum(is_broken(job) and _lead(job) <= 0 for job in jobs)


def warning_lead(jobs: Sequence[SimulatedJob]) -> float | None:
    """Mean seconds from the first warning to the deadline, over the broken promises; None if none.

    A promise that broke without a warning counts with 0.
    """
    leads = [max(0.0, _lead(job)) for job in jobs if is_broken(job)]
    return math.fsum(leads) / len(leads) if leads else None


def _lead(job: SimulatedJob) -> float:
    if job.at_risk_since is None or job.spec.deadline is None:
        return 0.0
    return job.spec.deadline - job.at_risk_since


def single_gpu_rate(job: SimulatedJob) -> float:
    """Iterations/s per GPU at the smallest size that the job can run on."""
    gpus, rate = job.curve.points[0]
    return rate / gpus


def gpu_seconds(job: SimulatedJob) -> float:
    """GPU-seconds that the job held, overheads included."""
    return math.fsum((share.end - share.start) * share.gpus for share in job.held_shares)


def overhead_gpu_seconds(job: SimulatedJob, kind: ChangeKind) -> float:
    """GPU-seconds that the job held without training, for changes of a kind."""
    shares = (share for share in job.held_shares if share.change is kind)
    return math.fsum(share.overhead_gpu_seconds for share in shares)


def lost_gpu_seconds(job: SimulatedJob) -> float:
    """GPU-seconds of training that failures of nodes undid."""
    return math.fsum(share.lost * share.gpus for share in job.held_shares)


def makespan(jobs: Sequence[SimulatedJob]) -> float:
    """Seconds from the first submission to the moment when the last GPUs come free."""
    ends = [share.end for job in jobs for share in job.held_shares[-1:]]
    if not jobs or not ends:
        return 0.0
    return max(ends) - min(job.spec.submitted for job in jobs)


def efficiency(jobs: Sequence[SimulatedJob], gpus: int) -> float:
    """Cluster efficiency averaged over the makespan (paper, Figure 10).

    Args:
        jobs: of one simulation.
        gpus: of the cluster.
    """
    span = makespan(jobs)
    if span <= 0:
        return 0.0
    work = math.fsum(
        job.rate_at(share.gpus, share.gpu_type)
        / single_gpu_rate(job)
        * max(0.0, share.end - max(share.start, share.trains_from))
        for job in jobs
        for share in job.held_shares
    )
    return work / (span * gpus)


def best_effort_completion(jobs: Sequence[SimulatedJob]) -> float | None:
    """Mean seconds from submission to completion of the best-effort jobs that finished."""
    times = [
        job.finished - job.spec.submitted
        for job in jobs
        if job.spec.kind is JobKind.BEST_EFFORT and job.finished is not None
    ]
    return math.fsum(times) / len(times) if times else None
