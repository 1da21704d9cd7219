"""Slurm's limits as the planner counts: sizes of a job, seconds of it, what jobs use together.

What a limit of one job forbids is no size of it. What many share is a budget of the cluster, and
what a job uses of it a charge: GPUs, nodes and jobs exactly; CPUs and memory as far as the job asks
for them by GPU, and else at least a CPU for each node.

>>> curve = ThroughputCurve.of({1: 1.0, 2: 1.8, 4: 3.0})
>>> job = Job("1", 0.0, 90.0, (("gpu", curve),), deadline=60.0)
>>> limits = JobLimits((Bound("gres/gpu", 2, "MaxTRESPerJob=gres/gpu=2 of QOS small"),))
>>> one = bounded(job, limits, (), Cluster.uniform(nodes=2, gpus_per_node=4))
>>> one.max_gpus, one.max_gpus_by
(2, 'MaxTRESPerJob=gres/gpu=2 of QOS small')
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from ef_slurm.daemon.observe.capacity import end_of
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.reserved import plain_type
from ef_slurm.daemon.observe.site_limits import SiteLimits
from ef_slurm.formats.durations import format_duration, parse_minutes
from ef_slurm.formats.numbers import parse_count
from ef_slurm.model import (
    Budget,
    Charge,
    Cluster,
    Job,
    JobRequest,
    NodeGroup,
    PerGpu,
    QueueJob,
    SlurmSettings,
    ThroughputCurve,
)
from ef_slurm.slurm.limits import JOBS, Asker, Bound, JobLimits, Shared
from ef_slurm.slurm.per_gpu import per_gpu_of
from ef_slurm.slurm.site_types import SlurmLicense
from ef_slurm.slurm.types import JobBaseState, Observation, SlurmJob

_GPU = "gres/gpu"


def asker_of(request: JobRequest, settings: SlurmSettings) -> Asker:
    """Who asks Slurm for what, by the request and by what Slurm says that it asks for."""
    words = dict(settings)
    return Asker(
        user=request.owner,
        account=words.get("account", "") or request.account,
        qos=words.get("QOS", ""),
        partition=request.partition,
        time_limit=_time_limit(words.get("time limit", "")),
    )


def _time_limit(words: str) -> float | None:
    """Seconds of a time limit in Slurm's settings, which are minutes; None for not known."""
    if words == "unlimited":
        return math.inf
    return parse_minutes(words)


def bounded(
    job: Job,
    limits: JobLimits,
    settings: SlurmSettings,
    cluster: Cluster,
    licenses: Iterable[SlurmLicense] = (),
) -> Job:
    """The job with the sizes that Slurm lets it have, and what it uses of the cluster's budgets.

    What it holds it may keep: Slurm takes nothing from a job that runs.
    """
    per_gpu = per_gpu_of(settings)
    charges = _charges(limits.shared, settings, per_gpu, licenses)
    held = 0 if job.running is None else job.running.gpus
    if limits.closed:
        return _at_most(replace(job, charges=charges), held, limits.closed)
    spaces = {group.gpu_type: group for group in cluster.groups}
    kept: dict[str, frozenset[int]] = {}
    forbidding: dict[str, str] = {}
    for kind, curve in (*job.curves, *job.growth_curves):
        sizes = [gpus for gpus, _ in curve.points]
        group = spaces.get(kind)
        fine = sizes if group is None else _fine(sizes, limits.bounds, group, per_gpu)
        kept[kind] = frozenset(fine) | ({held} & set(sizes))
        too_large = [gpus for gpus in sizes if gpus > max(kept[kind], default=0)]
        if group is not None and too_large:
            forbidding[kind] = _forbids(too_large[0], limits.bounds, group, per_gpu)
    job = replace(job, charges=charges)
    largest = max((max(sizes, default=0) for sizes in kept.values()), default=0)
    if not largest:
        return _at_most(job, 0, next(iter(forbidding.values()), ""))
    if forbidding:
        job = _at_most(job, largest, next(iter(forbidding.values())))
    for kind, curve in (*job.curves, *job.growth_curves):
        if max(kept[kind], default=0) == largest:
            # `max_gpus` says what is too large, so that a refusal can tell what it would do.
            kept[kind] |= {gpus for gpus, _ in curve.points if gpus > largest}
    curves = _with_sizes(job.curves, kept)
    if curves == job.curves or not curves:
        return job
    growth = _with_sizes(job.growth_curves, kept)
    planned = all(one.gpus in kept.get(plain_type(one.gpu_type), ()) for one in job.plan)
    return replace(job, curves=curves, growth_curves=growth, plan=job.plan if planned else ())


def _fine(
    sizes: Iterable[int], bounds: Collection[Bound], group: NodeGroup, per_gpu: PerGpu
) -> list[int]:
    return [gpus for gpus in sizes if not _forbids(gpus, bounds, group, per_gpu)]


def allowed_sizes(
    sizes: Iterable[int], limits: JobLimits, settings: SlurmSettings, group: NodeGroup
) -> tuple[int, ...]:
    """Those of the sizes that a job may have on GPUs of a type."""
    return tuple(_fine(sizes, limits.bounds, group, per_gpu_of(settings)))


def _forbids(gpus: int, bounds: Iterable[Bound], group: NodeGroup, per_gpu: PerGpu) -> str:
    """The words of a limit that forbids a size; "" for none."""
    nodes = -(-gpus // group.gpus_per_node)
    for bound in bounds:
        charge = _charge(bound.tres, bound.words, per_gpu)
        if charge is None or charge.gpu_type not in (None, group.gpu_type):
            continue
        used = charge.of(-(-gpus // nodes), 1) if bound.on_node else charge.of(gpus, nodes)
        if used < bound.amount if bound.least else used > bound.amount:
            return bound.words
    return ""


def _at_most(job: Job, most: int, words: str) -> Job:
    if job.max_gpus is not None and job.max_gpus <= most:
        return job
    larger = any(reservation.gpus > most for reservation in job.plan)
    return replace(job, max_gpus=most, max_gpus_by=words, plan=() if larger else job.plan)


def _with_sizes(
    curves: tuple[tuple[str, ThroughputCurve], ...], kept: Mapping[str, frozenset[int]]
) -> tuple[tuple[str, ThroughputCurve], ...]:
    found = []
    for kind, curve in curves:
        points = {gpus: rate for gpus, rate in curve.points if gpus in kept[kind]}
        if points:
            found.append((kind, ThroughputCurve.of(points)))
    return tuple(found)


def _charge(tres: str, name: str, per_gpu: PerGpu) -> Charge | None:
    """What a job uses of a TRES; None where its shape does not say."""
    match tres:
        case "gres/gpu":
            return Charge(name, per_gpu=1.0)
        case "node":
            return Charge(name, per_node=1.0)
        case "jobs":
            return Charge(name, per_job=1.0)
        case "cpu" if per_gpu.cpus:
            return Charge(name, per_gpu=per_gpu.cpus)
        case "cpu":
            return Charge(name, per_node=1.0)
        case "mem" if per_gpu.memory:
            return Charge(name, per_gpu=per_gpu.memory)
        case _ if tres.startswith(f"{_GPU}:"):
            return Charge(name, per_gpu=1.0, gpu_type=tres.removeprefix(f"{_GPU}:"))
        case _:
            return None


def _charges(
    shared: Iterable[Shared],
    settings: SlurmSettings,
    per_gpu: PerGpu,
    licenses: Iterable[SlurmLicense],
) -> tuple[Charge, ...]:
    found = [_charge(one.tres, one.words, per_gpu) for one in shared]
    wanted = licenses_of(settings)
    licences = [
        Charge(_licence(one), per_job=float(wanted[one.name]))
        for one in licenses
        if one.name in wanted
    ]
    return (*(charge for charge in found if charge is not None), *licences)


def _licence(licence: SlurmLicense) -> str:
    return f"Licenses={licence.name}:{licence.total - licence.held_back}"


def licenses_of(settings: SlurmSettings) -> Mapping[str, int]:
    """How many licences of which name a job wants; of alternatives ("a|b") it is given each.

    >>> licenses_of((("licenses", "matlab:2,foo"),))
    {'matlab': 2, 'foo': 1}
    """
    words = dict(settings).get("licenses", "").replace("|", ",").split(",")
    found: dict[str, int] = {}
    for word in filter(None, (word.strip() for word in words)):
        name, _, count = word.replace("=", ":").partition(":")
        found[name] = found.get(name, 0) + (parse_count(count) or 1)
    return found


def budgets_of(
    everybody: Collection[JobLimits],
    site: SiteLimits,
    observation: Observation,
    ours: Collection[int],
    cluster: Cluster,
    licences: Collection[str] = (),
    companions: Mapping[str, Iterable[float]] = MappingProxyType({}),
) -> tuple[Budget, ...]:
    """What the jobs with these limits may use together, and what jobs outside of plans use of it.

    What all of the cluster and all of the jobs cannot exceed is left out.

    Args:
        everybody: of each job, in no order.
        ours: Slurm job ids of the jobs that are in plans.
        licences: that some of them want.
        companions: by the words of a limit of how many jobs run: until when theirs take places.
    """
    shared = {one.words: one for limits in everybody for one in limits.shared}
    asked = Counter(one.words for limits in everybody for one in limits.shared)
    others: dict[str, list[SlurmJob]] = {}
    for _, job in sorted(observation.jobs.items()):
        if job.holds_nodes and job.job_id not in ours:
            others.setdefault(job.user, []).append(job)
    all_others = [job for jobs in others.values() for job in jobs]
    words_of = {job.job_id: dict(job.settings) for job in all_others}
    at = observation.at
    found = []
    for words, one in sorted(shared.items()):
        user = one.members.user
        some = all_others if user is None else others.get(user, [])
        used = [
            (end_of(job, at), amount)
            for job in some
            if is_member(one, job, words_of[job.job_id].get("QOS", ""))
            and (amount := _used(one.tres, job))
        ]
        used += [(end, 1.0) for end in companions.get(words, ())]
        left = one.amount - sum(amount for _, amount in used)
        if left < _most_ever(one.tres, asked[words], cluster):
            found.append(Budget(words, one.amount, tuple(used)))
    for licence in (one for one in site.licenses if one.name in licences):
        used = [
            (end_of(job, at), float(count))
            for job in all_others
            if (count := licenses_of(job.settings).get(licence.name, 0))
        ]
        most = max(0.0, float(licence.total - licence.held_back))
        found.append(Budget(_licence(licence), most, tuple(used)))
    return tuple(found)


def _most_ever(tres: str, jobs: int, cluster: Cluster) -> float:
    """The most that so many jobs can use of a TRES; infinite where that is not known."""
    match tres:
        case "jobs":
            return float(jobs)
        case "gres/gpu":
            return float(cluster.gpus)
        case "node":
            # Jobs on one node count it once each.
            return float(jobs + sum(len(group.nodes) for group in cluster.groups))
        case _:
            return math.inf


def is_member(shared: Shared, job: SlurmJob, qos: str) -> bool:
    """Whether a limit counts a job of Slurm's, which runs in this QOS."""
    return shared.members.count(
        user=job.user, account=job.account, qos=qos, partition=job.requested.partition
    )


def _used(tres: str, job: SlurmJob) -> float:
    """What a running job uses of a TRES."""
    nodes = len(job.nodes)
    if tres == JOBS:
        return 1.0
    if tres == "node":
        return float(nodes)
    if tres == "cpu":
        return job.cpus_per_node * nodes
    if tres == "mem":
        return job.memory_per_node * nodes
    kind = tres.removeprefix(f"{_GPU}:") if tres.startswith(f"{_GPU}:") else ""
    if tres != _GPU and not kind:
        return 0.0
    return float(sum(one.count for one in job.held if kind in ("", one.gpu_type)))


def timed(
    job: Job,
    request: JobRequest,
    limits: JobLimits,
    asked: float | None,
    row: QueueJob | None = None,
    status: JobStatus | None = None,
) -> Job:
    """The job with what its time limit leaves it.

    Its owner's limit counts from the first start until the end, pauses included; Slurm's counts
    from each start anew. Neither is got round by a requeue.

    Args:
        asked: the time limit that it asks Slurm for; None for not known.
        row: of the queue; None for a job that nobody has submitted.
    """
    began = None if row is None else row.first_started_at
    if began is None and job.running is not None:
        began = job.running.since
    own = math.inf if request.max_time is None else request.max_time
    ends = math.inf if began is None else began + own
    if status is not None and status.slurm.end_time is not None and _limit_counts(status.slurm):
        ends = min(ends, status.slurm.end_time)
    job = _due_by(job, ends, "its time limit" if math.isinf(own) else _own_words(own))
    if job.running is not None or (began is not None and math.isfinite(own)):
        return job
    return _no_longer_than(job, own, limits, asked)


def _limit_counts(slurm: SlurmJob) -> bool:
    """Whether its run has an end; while Slurm takes its time to end it for that, it is over."""
    return slurm.is_running or slurm.state is JobBaseState.TIMEOUT


def _own_words(own: float) -> str:
    return f"--time={format_duration(own)}"


def _due_by(job: Job, ends: float, words: str) -> Job:
    """The job with a deadline that is not behind its end."""
    if job.deadline is None or ends >= job.deadline + job.grace:
        return job
    ends = max(ends, math.nextafter(job.submitted, math.inf))
    deadline = min(job.deadline, ends)
    grace = min(job.grace, ends - deadline)
    return replace(job, deadline=deadline, grace=grace, longest_by=words)


def _no_longer_than(job: Job, own: float, limits: JobLimits, asked: float | None) -> Job:
    found = list(_time_limits(own, limits, asked))
    if not found:
        return job
    longest, words = min(found, key=lambda one: one[0])
    return replace(job, longest=longest, longest_by=words)


def _time_limits(own: float, limits: JobLimits, asked: float | None) -> Iterator[tuple[float, str]]:
    if math.isfinite(own):
        yield own, _own_words(own)
    if math.isfinite(limits.longest):
        yield limits.longest, limits.longest_by
    if asked is not None and 0 < asked < math.inf:
        yield asked, f"its time limit in Slurm is {format_duration(asked)}"
