"""Jobs whose speed nobody knows: which sizes they train on before they are judged, and the result.

A row that lacks a throughput curve, or the number of iterations, is *measured*: it runs like any
other, without a verdict. Before each plan `MeasuringJobs.review` looks at what was seen of it, says
which size comes next, and fills in the curve once enough is known: the same plan then judges it as
a newcomer. For the planner a job that is measured asks for a short slot on one size
(`planner.measuring`). The rows hold all that has to survive a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.observe.estimates import Estimates
from ef_slurm.daemon.observe.site_limits import SiteLimits
from ef_slurm.daemon.plan.allowed_nodes import AllowedNodes
from ef_slurm.daemon.plan.measured_rows import (
    believed,
    group_of,
    is_late,
    is_measured,
    meanwhile,
    one_gpu,
    source_words,
    to_hold,
    trains_on,
)
from ef_slurm.daemon.plan.planner_input import site_policy
from ef_slurm.daemon.plan.slurm_limits import allowed_sizes, asker_of
from ef_slurm.formats.sentences import gpus, reason_sentence
from ef_slurm.model import (
    ACTIVE,
    ACTOR,
    OBSERVE_SECONDS,
    Cluster,
    Event,
    EventKind,
    IfInfeasible,
    Job,
    JobKind,
    JobState,
    Measuring,
    NodeGroup,
    Outcome,
    Plan,
    Policy,
    ProfileKey,
    PromiseState,
    QueueJob,
    QueueLimits,
    Reason,
    ReasonCode,
    ThroughputCurve,
    Verdict,
    planner_id,
)
from ef_slurm.planner.measuring import Measurement, MeasuringSlots
from ef_slurm.planner.timeline.barred import BarredBlocks
from ef_slurm.planner.timeline.gpu_index import GpuIndexSpace
from ef_slurm.planner.timeline.limits import LimitBook
from ef_slurm.profiling.library import known_rates
from ef_slurm.profiling.measuring import Bound, Need, wanted
from ef_slurm.queue.store import Queue

IN_REVIEW = ACTIVE - {JobState.HELD, JobState.WAITLISTED}


@dataclass(frozen=True, slots=True)
class WouldMeasure:
    """What a submission without a throughput curve would meet.

    Args:
        gpu_type: of the GPUs that it would be measured on.
        sizes: GPUs, in order.
        seconds: of training that this takes.
    """

    gpu_type: str
    sizes: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Part:
    """A job is to train on so many of the GPUs that it holds (None: on all), and why."""

    job_id: int
    gpus: int | None
    why: str


class MeasuringJobs:
    """The part of planning that is about jobs that cannot be judged yet.

    Args:
        estimates: holds the rates that jobs were seen to reach.
        policy: the bounds of measuring.
        limits: what one user and one account may have.
        fence: around what is done for each job.
        site_limits: Slurm's limits, as far as these users' jobs are concerned.
        allowed: which nodes jobs are not to run on.
    """

    def __init__(
        self,
        queue: Queue,
        estimates: Estimates,
        policy: Policy,
        limits: QueueLimits,
        fence: Fence,
        site_limits: Callable[[Iterable[str]], SiteLimits],
        allowed: AllowedNodes,
    ) -> None:
        self._fence = fence
        self._site_limits = site_limits
        self._allowed = allowed
        self._queue = queue
        self._estimates = estimates
        self._policy = policy
        self._limits = limits
        self._bound = Bound(policy.measuring_seconds, policy.measuring_gpu_seconds)
        self._slots = MeasuringSlots(OBSERVE_SECONDS)

    # Before a plan

    def is_due(self, jobs: Iterable[QueueJob], now: float) -> bool:
        """Whether the time of a job that is measured is up."""
        return any(
            job.measuring is not None
            and not job.request.complete
            and ((job.measuring.rates and self._is_up(job.measuring)) or is_late(job, now))
            for job in jobs
            if job.state in IN_REVIEW
        )

    def review(
        self, jobs: Iterable[QueueJob], cluster: Cluster, now: float
    ) -> tuple[QueueJob, ...]:
        """The rows as the plan is to see them; who cannot be measured in time is told.

        Raises:
            QueueError: they cannot be written.
        """
        seen = []
        with self._queue.transaction():
            for job in jobs:
                if job.state in IN_REVIEW and not job.request.complete:
                    with self._fence.around(job, "measured"), self._queue.transaction():
                        job = self._reviewed(job, cluster, now)
                if job.state in ACTIVE:
                    seen.append(job)
        return tuple(seen)

    def _reviewed(self, job: QueueJob, cluster: Cluster, now: float) -> QueueJob:
        group = group_of(job, cluster)
        if group is None:
            return job  # none of its GPUs are here now; planning has turned newcomers away
        sizes = self._sizes(job, group, now)
        if not sizes:
            return self._refused(job, Reason(ReasonCode.LIMITED, gpus=0), now)
        rates = self._rates(job, group, sizes, now)
        missing = self._missing(job, rates, sizes, group, now)
        if job.request.iterations is not None and (job.request.curves or not missing):
            return self._known(job, rates, sizes, group, now)
        if is_late(job, now):
            late = self._late(job, now)
            if late.state not in ACTIVE:
                return late
            job = late
        before = job.measuring or Measuring(now)
        measuring = replace(
            before,
            gpu_type=group.gpu_type,
            wanted=missing or meanwhile(job, rates, sizes),
            rates=tuple(sorted(rates.items())),
        )
        if measuring != job.measuring:
            job = self._queue.jobs.save(replace(job, measuring=measuring))
        if job.state is JobState.NEW:
            on = " and ".join(gpus(size) for size in sorted(measuring.wanted))
            why = f"nobody knows yet how fast it trains: it is measured first, on {on}"
            if job.request.curves:
                why = f"nobody knows yet how many iterations it has: it starts on {on}, and tells"
            job = self._queue.jobs.move(job.id, JobState.ADMITTED, at=now, actor=ACTOR, why=why)
        return job

    def _missing(
        self,
        job: QueueJob,
        rates: Mapping[int, float],
        sizes: Collection[int],
        group: NodeGroup,
        now: float,
    ) -> tuple[int, ...]:
        """The sizes that are still to be measured, the next one first."""
        request, measuring = job.request, job.measuring or Measuring(now)
        if request.curves or (measuring.unusable and rates):
            # It only has to tell how many iterations there are; or it cannot change its size.
            return ()
        deadline = None if job.kind is JobKind.BEST_EFFORT else request.deadline
        left = float("inf") if deadline is None else deadline - now - request.overhead.start
        need = Need(left, job.remaining, measuring.seconds, measuring.gpu_seconds)
        missing = wanted(need, rates, sizes, group.gpus_per_node, self._bound)
        if request.global_batch_size is None:
            # Nothing is known that tells whether the script runs on many.
            missing = tuple(sorted(missing))
        now_on = trains_on(job)
        if now_on in missing:
            missing = (now_on, *(size for size in missing if size != now_on))
        return missing

    def _known(
        self,
        job: QueueJob,
        rates: Mapping[int, float],
        sizes: Collection[int],
        group: NodeGroup,
        now: float,
    ) -> QueueJob:
        """The row with its curve: this plan judges it."""
        request = job.request
        if not request.curves:
            if job.measuring is not None and job.measuring.unusable:
                sizes = rates.keys()  # it does not run on every size: no other is counted on
            belief = believed(rates, sizes, group.gpus_per_node)
            source = source_words(rates)
            kind = group.gpu_type
            request = replace(
                request,
                curves=((kind, belief.promised),),
                growth_curves=() if belief.exact else ((kind, belief.expected),),
                curve_source=source,
            )
            self._queue.events.log(Event(now, EventKind.MEASURED, ACTOR, source, job.id))
        return self._queue.jobs.complete(job.id, request)

    def _late(self, job: QueueJob, now: float) -> QueueJob:
        """Its deadline has passed before it could be judged: as it chose, it goes or goes on."""
        reason = Reason(ReasonCode.UNMEASURED)
        if job.request.if_infeasible is not IfInfeasible.BEST_EFFORT:
            return self._refused(job, reason, now)
        why = f"{_words(reason)}: it goes on as best effort"
        self._queue.events.log(Event(now, EventKind.STATE, ACTOR, why, job.id))
        return self._queue.jobs.save(replace(job, best_effort=True, note=why))

    def _refused(self, job: QueueJob, reason: Reason, now: float) -> QueueJob:
        verdict = Verdict(planner_id(job.id), Outcome.REJECTED, reason)
        why = f"not promised: {_words(reason)}"
        self._queue.promises.record(verdict, at=now, explanation=why)
        self._queue.jobs.save(replace(job, measuring=None, running=None, note=why))
        return self._queue.jobs.move(job.id, JobState.REJECTED, at=now, actor=ACTOR, why=why)

    # What is known

    def would_measure(self, job: QueueJob, cluster: Cluster, now: float) -> WouldMeasure | None:
        """What a submission would meet; None where no node has GPUs for it."""
        group = group_of(job, cluster)
        if group is None:
            return None
        sizes = self._sizes(job, group, now)
        missing = self._missing(job, {}, sizes, group, now) or sizes[:1]
        seconds = min(OBSERVE_SECONDS * len(missing), self._policy.measuring_seconds)
        return WouldMeasure(group.gpu_type, missing, seconds)

    def _is_up(self, measuring: Measuring) -> bool:
        return measuring.seconds >= self._bound.seconds

    def _sizes(self, job: QueueJob, group: NodeGroup, now: float) -> tuple[int, ...]:
        """GPUs that it can be given, powers of two."""
        request = job.request
        closed = self._estimates.closures.of(job.id, now)
        seen = one_gpu(job, group.gpu_type, 1)
        policy = site_policy(self._policy, self._limits, (seen,), Cluster((group,)))
        whole = group.gpus_per_node * len(group.nodes)
        most = (
            whole,
            request.max_gpus,
            request.global_batch_size,  # a rank has a sample at least
            None if closed is None else closed.max_gpus,
            self._largest_block(job, group),
            LimitBook(policy.limits).most(seen),
        )
        largest = min(one for one in most if one is not None)
        curves = dict(request.curves)
        given = curves[group.gpu_type].points if group.gpu_type in curves else ()
        unusable = () if job.measuring is None else job.measuring.unusable
        sizes = [size for size, _ in given] or [1 << power for power in range(whole.bit_length())]
        fine = tuple(size for size in sizes if size <= largest and size not in unusable)
        limits = self._site_limits([request.owner]).of(asker_of(request, job.slurm_settings))
        # Where Slurm forbids all of them, it says so of the smallest.
        return allowed_sizes(fine, limits, job.slurm_settings, group) or fine[:1]

    def _largest_block(self, job: QueueJob, group: NodeGroup) -> int | None:
        """GPUs of the largest block on nodes that it may have; None where it may have all."""
        bars = self._allowed.bars(job.slurm_settings)
        barred = BarredBlocks.of(GpuIndexSpace(group), bars) if bars else None
        return None if barred is None else max(1, barred.largest)

    def _rates(
        self, job: QueueJob, group: NodeGroup, sizes: Collection[int], now: float
    ) -> Mapping[int, float]:
        """Iterations/s by GPUs: the job's own, and what the profile library has of its key."""
        own = self._estimates.rates.of(job.id, group.gpu_type)
        rates = {**self._remembered(job, group, now), **own}
        return {size: rate for size, rate in sorted(rates.items()) if size in sizes}

    def _remembered(self, job: QueueJob, group: NodeGroup, now: float) -> Mapping[int, float]:
        request = job.request
        if not request.model_name or request.global_batch_size is None:
            return {}
        key = ProfileKey(
            request.model_name, request.global_batch_size, request.precision, group.gpu_type
        )
        accounts = (request.account,) if request.account else ()
        rates = self._queue.profiles.rates_for(key, request.owner, accounts)
        known = known_rates(rates, request.owner, accounts, now)
        return {} if known is None else known.rates

    # The plan

    def ask(
        self,
        job: QueueJob,
        seen: Job,
        gpus_per_node: int,
        now: float,
        slots: MeasuringSlots | None = None,
    ) -> Job:
        """A job that is measured as the next plan is to see it.

        Args:
            seen: the job as it is otherwise.
            gpus_per_node: of the GPUs that it is measured on.
            slots: for a plan that is not carried out; else those of the daemon.
        """
        measuring = job.measuring
        assert measuring is not None
        rates = dict(measuring.rates)
        size = to_hold(job, gpus_per_node)
        for other in (job.share, *measuring.wanted):
            if 0 < other < size or other == job.share:
                # What it can begin with, or has to leave, and is worth no more than that.
                rates.setdefault(other, min(rates.values(), default=1.0))
        rates.pop(0, None)
        known = ThroughputCurve.of(rates) if rates else None
        measurement = Measurement(measuring.gpu_type, size, known)
        return (self._slots if slots is None else slots).ask(seen, measurement, now)

    def parts(self, jobs: Iterable[QueueJob]) -> tuple[Part, ...]:
        """On how many of its GPUs each job trains that was not judged before this plan.

        Sizes inside one node are measured one after the other on the same GPUs, without a requeue.

        Args:
            jobs: the rows that the plan was made from.
        """
        parts = []
        for job in jobs:
            if job.measuring is None:
                continue
            row = self._queue.jobs.get(job.id)
            if not is_measured(row) or row.measuring is None:
                parts.append(Part(job.id, None, "its speed is known"))
                continue
            size = row.measuring.wanted[0]
            parts.append(Part(job.id, size if size < row.share else None, "to be measured"))
        return tuple(parts)

    def rehearsal(self) -> MeasuringSlots:
        """The slots as they are, for a plan that is not carried out."""
        return self._slots.copy()

    def revoke(self) -> bool:
        """Take back the slots that were granted; whether there were any."""
        return self._slots.revoke()

    def record(self, plan: Plan) -> Plan:
        """Take note of what a plan granted; the plan without verdicts on those who are measured."""
        self._slots.record(plan)
        measured = self._slots.measured
        return replace(
            plan,
            verdicts=tuple(one for one in plan.verdicts if one.job_id not in measured),
            decisions=tuple(
                replace(
                    one,
                    finish=None,
                    promise=PromiseState.NONE,
                    reason=Reason(ReasonCode.MEASURED, gpus=one.gpus),
                )
                if one.job_id in measured
                else replace(one, reason=replace(one.reason, measured=True))
                if one.reason.job in measured
                else one
                for one in plan.decisions
            ),
        )


def _words(reason: Reason) -> str:
    return reason_sentence(reason, str)
