"""Which jobs a plan can be made for, what the planner sees of them, and the plan.

A job with which that fails is left out for a while. What it holds is then as good as somebody
else's, so that it is planned around.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TypeVar

from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.observe.capacity import ResourceScope
from ef_slurm.daemon.observe.estimates import Estimates
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.site_limits import SiteLimits
from ef_slurm.daemon.pauses import Pauses
from ef_slurm.daemon.plan.allowed_nodes import AllowedNodes
from ef_slurm.daemon.plan.culprits import Planned, plan_without_culprits
from ef_slurm.daemon.plan.footprints import footprints_by_job, widened
from ef_slurm.daemon.plan.job_places import places_of_companions
from ef_slurm.daemon.plan.measured_rows import is_measured, stand_in
from ef_slurm.daemon.plan.measuring import MeasuringJobs
from ef_slurm.daemon.plan.planner_input import (
    capped,
    fit,
    planner_job,
    planner_jobs,
    runs_on,
    schedulable_cluster,
    site_policy,
    takes_part,
    weighted,
)
from ef_slurm.daemon.plan.reservations import inside, reservation_of
from ef_slurm.daemon.plan.slurm_limits import (
    asker_of,
    bounded,
    budgets_of,
    licenses_of,
    timed,
)
from ef_slurm.model import (
    ArrayMember,
    Budget,
    Charge,
    Cluster,
    Job,
    JobRequest,
    Policy,
    QueueJob,
    QueueLimits,
    SlurmSettings,
    planner_id,
)
from ef_slurm.planner.measuring import MeasuringSlots

Answer = TypeVar("Answer")

_Asked = tuple[JobRequest, SlurmSettings]
"""What somebody asks for, of ef-slurm and of Slurm."""

SET_ASIDE_SECONDS = 60.0
"""Seconds for which a job that no plan can be made with is left out of plans."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What goes into a plan: the rows, the cluster as it is for them, and the planner's jobs."""

    rows: tuple[QueueJob, ...]
    cluster: Cluster
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class _Basis:
    """All that the cluster as it is for some jobs is made of, while nobody else runs there."""

    seen: tuple[object, ...]
    site: SiteLimits
    asked: tuple[_Asked, ...]

    def is_that_of(self, other: _Basis | None) -> bool:
        """Whether the same cluster is made of both, as far as can be told at a glance."""
        if other is None or self.site is not other.site or len(self.asked) != len(other.asked):
            return False
        pairs = zip(self.asked, other.asked, strict=True)
        if not all(one[0] is two[0] and one[1] is two[1] for one, two in pairs):
            return False
        return self.seen == other.seen


def _throttle(array: ArrayMember) -> str:
    """What bounds how many of an array run at once."""
    return f"--array=...%{array.most} of job {array.job_id}"


def _throttled(job: Job, request: JobRequest) -> Job:
    """The job with what it uses of what its array may run at once."""
    array = request.array
    if array is None or not array.most:
        return job
    return replace(job, charges=(*job.charges, Charge(_throttle(array), per_job=1.0)))


class Plannable:
    """The jobs that plans can be made for.

    Args:
        scope: where they may be scheduled.
        limits: what one user and one account may have.
        fence: around what is done for each job.
        allowed: which nodes jobs are not to run on.
    """

    def __init__(
        self,
        observer: Observer,
        estimates: Estimates,
        measuring: MeasuringJobs,
        scope: ResourceScope,
        policy: Policy,
        limits: QueueLimits,
        fence: Fence,
        allowed: AllowedNodes,
    ) -> None:
        self._observer = observer
        self._estimates = estimates
        self._measuring = measuring
        self._scope = scope
        self._policy = policy
        self._limits = limits
        self._fence = fence
        self._set_aside = Pauses()
        self._allowed = allowed
        self._basis: _Basis | None = None
        self._cluster = Cluster(())

    def of(self, jobs: tuple[QueueJob, ...], now: float) -> tuple[QueueJob, ...]:
        """Those of the jobs that are not set aside, and that a plan can be made for at all."""
        return tuple(
            job for job in jobs if not job.set_apart and self._set_aside.until(job.id, now) is None
        )

    def forget_all_but(self, jobs: tuple[QueueJob, ...]) -> None:
        """All other jobs have ended."""
        self._set_aside.keep({job.id for job in jobs})

    def cluster(self, jobs: tuple[QueueJob, ...], without: Collection[int] = ()) -> Cluster:
        """The cluster as it is for these jobs, with what Slurm lets them use together.

        Args:
            without: queue ids of jobs that are left out: what they hold is as good as somebody
                else's, as it is of those that were set aside.
        """
        companions = self._companions_of_all_but({*self._set_aside.known, *without}, jobs)
        basis = self._basis_of(jobs, companions)
        if basis is None or not basis.is_that_of(self._basis):
            self._cluster = self._with_budgets(
                schedulable_cluster(
                    self._observer.observation,
                    self._scope,
                    jobs,
                    companions=companions,
                ),
                [(job.request, job.slurm_settings) for job in jobs],
                jobs,
                companions,
            )
            self._basis = basis
        return self._cluster

    def _companions_of_all_but(
        self, aside: Collection[int], jobs: tuple[QueueJob, ...]
    ) -> frozenset[int]:
        """Slurm's ids of the companions, but of jobs that are left out; those of ended ones go."""
        left_out = set(aside).difference(job.id for job in jobs)
        theirs = (one.slurm_job_id for id_ in left_out for one in self._observer.companions_of(id_))
        return self._observer.companion_ids.difference(theirs)

    def _basis_of(self, jobs: tuple[QueueJob, ...], companions: frozenset[int]) -> _Basis | None:
        """What the cluster is made of; None where others run there: their ends come nearer."""
        seen = self._observer.observation
        ours = {job.request.slurm_job_id for job in jobs} | companions
        if any(job.holds_nodes and job.job_id not in ours for job in seen.jobs.values()):
            return None
        site = self._observer.limits(job.request.owner for job in jobs)
        places = places_of_companions(jobs, self._observer, site)
        return _Basis(
            (seen.nodes, seen.reservations, seen.power, seen.memory_counts, places),
            site,
            tuple((job.request, job.slurm_settings) for job in jobs),
        )

    def _with_budgets(
        self,
        cluster: Cluster,
        asked: list[_Asked],
        jobs: tuple[QueueJob, ...],
        companions: frozenset[int],
    ) -> Cluster:
        site = self._observer.limits(request.owner for request, _ in asked)
        ours = {job.request.slurm_job_id for job in jobs} | companions
        limits = [site.of(asker_of(request, settings)) for request, settings in asked]
        licences = {name for _, settings in asked for name in licenses_of(settings)}
        seen = self._observer.observation
        places = places_of_companions(jobs, self._observer, site)
        budgets = budgets_of(limits, site, seen, ours, cluster, licences, places)
        own = {request.array for request, _ in asked if request.array and request.array.most}
        arrays = {_throttle(one): Budget(_throttle(one), float(one.most)) for one in own}
        return replace(cluster, budgets=(*budgets, *(arrays[name] for name in sorted(arrays))))

    def fitting(
        self,
        job: Job,
        cluster: Cluster,
        request: JobRequest,
        settings: SlurmSettings,
        row: QueueJob | None = None,
    ) -> Job:
        """The job with what the cluster has for it, as far as the site and Slurm give it.

        Args:
            request, settings: what it asks for, of ef-slurm and of Slurm.
            row: of the queue; None for a job that nobody has submitted.
        """
        site = self._observer.limits([request.owner])
        asker = asker_of(request, settings)
        limits = site.of(asker)
        job = self._allowed.restricted(capped(fit(job, cluster), self._limits), settings)
        job = bounded(job, limits, settings, cluster, site.licenses)
        status = None if row is None else self._observer.status(row)
        job = timed(job, request, limits, asker.time_limit, row, status)
        job = _throttled(self._reserved(job, settings, cluster), request)
        return weighted(job, self._policy, dict(settings).get("qos") or "")

    def _reserved(self, job: Job, settings: SlurmSettings, cluster: Cluster) -> Job:
        name = reservation_of(settings)
        return job if name in ("", self._scope.reservation) else inside(job, name, cluster)

    def _charged(self, asked: Job, job: QueueJob, cluster: Cluster) -> Job:
        """A job that is to be measured, with what it uses of what it shares with others."""
        site = self._observer.limits([job.request.owner])
        limits = site.of(asker_of(job.request, job.slurm_settings))
        asked = bounded(asked, limits, job.slurm_settings, cluster, site.licenses)
        asked = self._allowed.restricted(asked, job.slurm_settings)
        asked = _throttled(asked, job.request)
        return self._reserved(asked, job.slurm_settings, cluster)

    def newcomer(self, job: Job, request: JobRequest, inputs: Inputs) -> tuple[Job, Cluster]:
        """A job that nobody has submitted, and the cluster with what it may use of it."""
        companions = self._companions_of_all_but(self._set_aside.known, inputs.rows)
        cluster = self._with_budgets(
            schedulable_cluster(
                self._observer.observation,
                self._scope,
                inputs.rows,
                reservation_of(request.asked),
                companions,
            ),
            [*((row.request, row.slurm_settings) for row in inputs.rows), (request, request.asked)],
            inputs.rows,
            companions,
        )
        return self.fitting(job, cluster, request, request.asked), cluster

    def policy(self, jobs: tuple[Job, ...], cluster: Cluster) -> Policy:
        """The site's policy, with the limits of those who have jobs."""
        return site_policy(self._policy, self._limits, jobs, cluster)

    def inputs(
        self, jobs: tuple[QueueJob, ...], now: float, slots: MeasuringSlots | None = None
    ) -> Inputs:
        """What goes into a plan for as many of the jobs as can be planned.

        Args:
            slots: for a plan that is not carried out.
        """
        while True:
            jobs = self.of(jobs, now)
            cluster = self.cluster(jobs)
            known = [job for job in jobs if job.request.complete]
            seen = [
                *(one for job in known for one in self._seen(job, cluster, now)),
                *(one for job in jobs for one in self._measured(job, cluster, now, slots)),
            ]
            if len(self.of(jobs, now)) == len(jobs):
                takes = footprints_by_job(jobs, cluster)
                return Inputs(jobs, cluster, tuple(widened(one, takes[one.id]) for one in seen))

    def plan(
        self,
        jobs: tuple[QueueJob, ...],
        now: float,
        planner: Callable[[tuple[Job, ...], Cluster, Policy], Answer],
    ) -> Planned[Answer] | None:
        """A plan for as many of the jobs as there is one for; None if there is none at all."""
        inputs = self.inputs(jobs, now)
        rows = {planner_id(job.id): job for job in inputs.rows}

        def cluster_without(left_out: Collection[str]) -> Cluster:
            if not left_out:
                return inputs.cluster
            kept = tuple(row for name, row in rows.items() if name not in left_out)
            return self.cluster(kept, [rows[name].id for name in left_out])

        def make(some: tuple[Job, ...], cluster: Cluster) -> Answer:
            return planner(some, cluster, self.policy(some, cluster))

        made = plan_without_culprits(inputs.jobs, cluster_without, make)
        for name, error in () if made is None else made.culprits:
            self._set_aside.begin(rows[name].id, SET_ASIDE_SECONDS, now)
            self._fence.tell(rows[name], "planned", error)
        return made

    def _seen(self, job: QueueJob, cluster: Cluster, now: float) -> tuple[Job, ...]:
        """One job as the planner is to see it; none where it takes no part or cannot be seen."""
        self._set_aside.begin(job.id, SET_ASIDE_SECONDS, now)
        seen: tuple[Job, ...] = ()
        with self._fence.around(job, "planned"):
            if runs_on(job, cluster):
                known = self._observer.status(job)
                status = {} if known is None else {job.id: known}
                found = planner_jobs([job], status, self._estimates, now)
                seen = tuple(
                    self.fitting(one, cluster, job.request, job.slurm_settings, job)
                    for one in found
                )
            self._set_aside.end(job.id)
        return seen

    def _measured(
        self, job: QueueJob, cluster: Cluster, now: float, slots: MeasuringSlots | None
    ) -> tuple[Job, ...]:
        """The same of a job that takes part only to be measured."""
        measuring = job.measuring
        if not takes_part(job) or measuring is None or not is_measured(job):
            return ()
        if job.waits_to_begin(now):
            return ()
        per_node = {group.gpu_type: group.gpus_per_node for group in cluster.groups}
        if measuring.gpu_type not in per_node:
            return ()
        self._set_aside.begin(job.id, SET_ASIDE_SECONDS, now)
        seen: tuple[Job, ...] = ()
        with self._fence.around(job, "planned"):
            known = self._observer.status(job)
            one = planner_job(stand_in(job), known, self._estimates, now)
            asked = self._measuring.ask(job, one, per_node[measuring.gpu_type], now, slots)
            seen = (self._charged(capped(asked, self._limits), job, cluster),)
            self._set_aside.end(job.id)
        return seen
