"""Rows, reports and what was learned → the planner's input. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

from ef_slurm.contract import Phase
from ef_slurm.daemon.observe.capacity import ResourceScope, cluster_of
from ef_slurm.daemon.observe.closures import Closed
from ef_slurm.daemon.observe.estimates import Curves, Estimates, calibrated_types
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.pauses import lately
from ef_slurm.daemon.plan.reservations import reservation_of
from ef_slurm.model import (
    ACTIVE,
    DEFAULT_ACCOUNT_HOURS,
    DEFAULT_USER_HOURS,
    MOST_ITERATIONS,
    Block,
    ChangeKind,
    Cluster,
    Job,
    JobRequest,
    JobState,
    Limit,
    Overhead,
    PerGpu,
    Policy,
    PromiseLimit,
    QueueJob,
    QueueLimits,
    Running,
    newcomer,
)
from ef_slurm.slurm.per_gpu import per_gpu_of
from ef_slurm.slurm.types import Observation

IN_PLAN = ACTIVE - {JobState.HELD}
"""States of the jobs that take part in plans."""

SLIP_SECONDS = 60.0
"""Seconds for which a job stays away that waits for what nobody can say, or for what is late."""

SILENCE_SECONDS = 60.0
"""Seconds for which a running job is taken to go on as it last reported."""

MIN_REMAINING_SECONDS = 1.0
"""A job that has trained to its end and has not left yet is taken to need this long."""

OBEY_SECONDS = 60.0
"""Seconds for which a launch is taken to be about to obey an order to relaunch."""

_STANDS_STILL = frozenset({Phase.STARTING, Phase.STOPPING, Phase.STOPPED})
"""What a job tells that trains later."""

SAME_MOMENT_SECONDS = 1e-3
"""Seconds of training that are none."""

DONE_SECONDS = 60.0
"""Seconds for which it is believed that it has: others are promised what it is to give back."""


def schedulable_cluster(
    observation: Observation,
    scope: ResourceScope,
    jobs: Iterable[QueueJob],
    also: str = "",
    companions: Collection[int] = (),
) -> Cluster:
    """What may be scheduled on, by what Slurm says.

    Args:
        companions: Slurm's ids of the jobs' companions: theirs, too.
        also: a reservation that is asked for beside those of the jobs; "" for none.
    """
    jobs = tuple(jobs)
    reservations = {also, *(reservation_of(job.slurm_settings) for job in jobs)}
    asked = [per_gpu_of(job.slurm_settings) for job in jobs]
    most = PerGpu(
        max((one.cpus for one in asked), default=0.0),
        max((one.memory for one in asked), default=0.0),
    )
    ours = {job.request.slurm_job_id for job in jobs} | set(companions)
    given = Counter[str]()
    for block in (job.running.block for job in jobs if job.running is not None):
        given.update(dict.fromkeys(block.nodes, block.gpus_per_node))
    return cluster_of(observation, scope, ours, most, reservations - {""}, given)


def planner_jobs(
    jobs: Iterable[QueueJob],
    status: Mapping[int, JobStatus],
    estimates: Estimates,
    now: float,
    *,
    without: Collection[int] = (),
) -> tuple[Job, ...]:
    """The jobs that take part in a plan made `now`.

    Args:
        status: by queue id, as far as Slurm knows the jobs.
        without: queue ids to leave out.
    """
    return tuple(
        _on_all(planner_job(job, status.get(job.id), estimates, now), now)
        for job in jobs
        if takes_part(job) and job.id not in without
    )


def _on_all(job: Job, now: float) -> Job:
    """The job as it trains on all the GPUs that it holds: no plan counts on less.

    Where it was measured on a part of them it is relaunched for that first.
    """
    running = job.running
    if running is None or running.active_gpus == running.gpus:
        return job
    trains_from = now + job.overhead.of(ChangeKind.RELAUNCH, running.gpus)
    later = max(running.trains_from, trains_from)
    return replace(job, running=replace(running, active=None, trains_from=later))


def takes_part(job: QueueJob) -> bool:
    """Whether it is in plans."""
    return job.state in IN_PLAN and not job.stalled and not job.set_apart


def runs_on(job: QueueJob, cluster: Cluster) -> bool:
    """Whether the cluster has a GPU type that the job has a curve for, or may be measured on."""
    here = {group.gpu_type for group in cluster.groups}
    kinds = {kind for kind, _ in job.request.curves} or set(job.request.gpu_types) or here
    return bool(kinds & here)


def fit(job: Job, cluster: Cluster) -> Job:
    """The job with only the curves of GPU types that the cluster has."""
    types = {group.gpu_type for group in cluster.groups}
    curves = tuple((kind, curve) for kind, curve in job.curves if kind in types)
    growth = tuple((kind, curve) for kind, curve in job.growth_curves if kind in types)
    if (curves, growth) == (job.curves, job.growth_curves):
        return job
    return replace(job, curves=curves, growth_curves=growth)


def capped(job: Job, limits: QueueLimits) -> Job:
    """The job with no larger share than the site gives one job.

    A plan in hand that is larger was made when the site gave more: it is none any more.
    """
    most = limits.gpus_per_job
    if not most or (job.max_gpus is not None and job.max_gpus <= most):
        return job
    larger = any(reservation.gpus > most for reservation in job.plan)
    return replace(job, max_gpus=most, plan=() if larger else job.plan)


def weighted(job: Job, policy: Policy, qos: str = "") -> Job:
    """The job with what a promise to it counts at this site."""
    return replace(job, weight=policy.weight(job.account, qos))


def site_policy(
    policy: Policy, limits: QueueLimits, jobs: Iterable[Job], cluster: Cluster
) -> Policy:
    """The site's policy with a limit for each owner and each account that has a job.

    A limit that the policy has for somebody by name takes the place of everybody's.
    """
    owners: dict[str, None] = {}
    accounts: dict[str, None] = {}
    for job in jobs:
        owners[job.owner] = None
        if job.account:
            accounts[job.account] = None
    of_owner = _gpu_hours(limits.gpu_hours_per_user, DEFAULT_USER_HOURS, cluster)
    of_account = _gpu_hours(limits.gpu_hours_per_account, DEFAULT_ACCOUNT_HOURS, cluster)
    named = {(one.owner, one.account) for one in policy.limits}
    held = [Limit(limits.gpus_per_user, owner=owner) for owner in owners if limits.gpus_per_user]
    held += [
        Limit(limits.gpus_per_account, account=account)
        for account in accounts
        if limits.gpus_per_account
    ]
    promise_named = {(one.owner, one.account) for one in policy.promise_limits}
    promised = [PromiseLimit(of_owner, owner=owner) for owner in owners if of_owner]
    promised += [PromiseLimit(of_account, account=account) for account in accounts if of_account]
    return replace(
        policy,
        limits=policy.limits + tuple(one for one in held if (one.owner, one.account) not in named),
        promise_limits=policy.promise_limits
        + tuple(one for one in promised if (one.owner, one.account) not in promise_named),
    )


def _gpu_hours(given: float | None, default: float, cluster: Cluster) -> float:
    return default * cluster.gpus if given is None else given


def planner_newcomer(request: JobRequest, estimates: Estimates) -> Job:
    """A job that nobody has submitted, as the planner is to see it."""
    overhead = estimates.overheads.estimate(None, request, slower=_falls(request.curves))
    return newcomer(replace(request, overhead=overhead))


def planner_job(job: QueueJob, status: JobStatus | None, estimates: Estimates, now: float) -> Job:
    """One job as the planner is to see it."""
    learned = estimates.rates.by_type(job.id)
    curves = calibrated_types(job.request.curves, learned)
    overhead = overhead_of(job, status, estimates, now)
    request = replace(
        job.request,
        curves=curves,
        growth_curves=calibrated_types(job.request.growth_curves, learned),
        overhead=overhead,
    )
    seen = replace(job, request=request, running=running_now(job, status, now))
    planned = seen.for_planner(iterations=remaining(job, status, now))
    if status is not None and status.is_live:
        planned = replace(planned, doubles=estimates.closures.live_open(job.id, now))
    if job.depends:
        # However late it is what this one waits for: it has not come yet.
        soonest = planned.begin if planned.begin > now else now + SLIP_SECONDS
        planned = replace(planned, begin=soonest)
    closed = estimates.closures.of(job.id, now)
    return planned if closed is None else without_closed(planned, closed)


def overhead_of(
    job: QueueJob, status: JobStatus | None, estimates: Estimates, now: float
) -> Overhead:
    """What the next change of a job is to be taken to cost."""
    curves = calibrated_types(job.request.curves, estimates.rates.by_type(job.id))
    # On a part of its GPUs it trains slower than it will.
    part = job.running is not None and job.running.active_gpus < job.running.gpus
    overhead = estimates.overheads.estimate(job.id, job.request, slower=part or _falls(curves))
    if status is not None and status.is_live:
        grows = estimates.closures.live_open(job.id, now)
        overhead = estimates.overheads.live(
            job.id, job.request, overhead, grows=grows, shrinks=not status.hands_over
        )
        if status.hands_over and len(status.members) > 1:  # it can leave all of them, or requeue
            overhead = replace(overhead, shrink=overhead.restart)
    else:  # its growth is a requeue, whatever its owner or the site hopes for
        overhead = replace(overhead, grow=max(overhead.grow, overhead.restart))
    if status is not None and not _first_node_leads(job, status):
        overhead = replace(overhead, shrink=overhead.restart)
    return overhead


def _falls(curves: Curves) -> bool:
    """Whether fewer GPUs may be faster: until it gives some up the job trains slower than then."""
    return any(
        more < fewer for _, curve in curves for (_, fewer), (_, more) in pairwise(curve.points)
    )


def without_closed(job: Job, closed: Closed) -> Job:
    """The job without what Slurm has refused it."""
    if closed.max_gpus is None:
        return replace(job, bars=(*job.bars, *closed.bars))
    most = closed.max_gpus if job.max_gpus is None else min(closed.max_gpus, job.max_gpus)
    # Kept as it is, a plan in hand would ask for what was refused.
    kept = all(reservation.gpus <= most for reservation in job.plan)
    return replace(
        job,
        bars=(*job.bars, *closed.bars),
        max_gpus=most,
        plan=job.plan if kept else (),
    )


def _first_node_leads(job: QueueJob, status: JobStatus) -> bool:
    """Whether the batch script runs on the first node of the job's block.

    It does not where the site orders its nodes otherwise than Slurm: the nodes that a shrink would
    keep are then not those that Slurm can leave to the job, and every shrink is a requeue.
    """
    host, running = status.slurm.batch_host, job.running
    if running is None or not status.slurm.is_running or host not in running.block.nodes:
        return True  # nothing is known to the contrary
    return host == running.block.nodes[0]


def remaining(job: QueueJob, status: JobStatus | None, now: float) -> float:
    """Iterations to go at `now`: the last report, carried forward at the reported rate."""
    done_since = None if status is None else status.done_since
    if done_since is not None and now - done_since >= DONE_SECONDS and job.request.iterations:
        return float(job.request.iterations)
    done = job.iteration
    if status is not None and status.slurm.is_running and job.rate and job.progress_at is not None:
        progress = status.progress
        if progress is not None and progress.phase is Phase.RUNNING:
            done += job.rate * min(max(0.0, now - job.progress_at), SILENCE_SECONDS)
    whole = job.request.iterations
    left = math.inf if whole is None else whole - done
    rate = job.rate or _told_rate(job)
    floor = MIN_REMAINING_SECONDS * rate if rate else 1e-3
    # What is left for no time at all is nothing: its GPUs are not free at this very moment.
    if left > SAME_MOMENT_SECONDS * rate:
        return left
    return min(floor, MOST_ITERATIONS if whole is None else float(whole))


def _told_rate(job: QueueJob) -> float:
    """Iterations/s by its curve where it is now; 0 where that is not known."""
    if job.running is None:
        return 0.0
    curve = dict(job.request.curves).get(job.running.block.gpu_type)
    return 0.0 if curve is None else dict(curve.points).get(job.running.active_gpus, 0.0)


def _trains_there(status: JobStatus, block: Block, now: float) -> bool:
    """Whether it trains on a block and goes on with that: no next launch is about to begin."""
    progress, order = status.progress, status.ordered_to_relaunch
    if progress is None or progress.phase in _STANDS_STILL or not status.holds(block):
        return False
    return order is None or not lately(order.issued_at, OBEY_SECONDS, now)


def running_now(job: QueueJob, status: JobStatus | None, now: float) -> Running | None:
    """What the job holds, with a start that takes longer than was counted on pushed back."""
    running = job.running
    if running is None or running.trains_from > now:
        return running
    if status is not None and _trains_there(status, running.block, now):
        return running
    late = now - running.trains_from
    waited = running.trains_from - running.since
    # As late as it is already, it will be again as late before it trains; but not without end.
    return replace(running, trains_from=now + min(max(1.0, late), max(1.0, waited)))
