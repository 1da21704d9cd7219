"""A job of the queue as people and programs see it: flat, without script and environment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ef_slurm.model.array import ArrayMember
from ef_slurm.model.companion import Companion, CompanionState
from ef_slurm.model.dependency import Dependency, Gate, GateState
from ef_slurm.model.event import Event
from ef_slurm.model.job import IfInfeasible, JobKind
from ef_slurm.model.job_state import FINAL, JobState
from ef_slurm.model.measuring import Measuring
from ef_slurm.model.plan import PromiseState, Reason
from ef_slurm.model.promise import Fault, Promise, PromiseOutcome, StoredVerdict
from ef_slurm.model.queued_job import QueueJob, queue_id
from ef_slurm.model.reservation import Schedule


@dataclass(frozen=True, slots=True)
class CompanionView:
    """A further Slurm job of a job, which brings nodes to one launch of it.

    Args:
        job_id: Slurm's.
        nodes: that it brings, and holds once it runs.
        state: how far it has come.
    """

    job_id: int
    nodes: tuple[str, ...]
    state: CompanionState

    @property
    def holds_nodes(self) -> bool:
        """Whether its nodes may be held by it now."""
        before = {CompanionState.WANTED, CompanionState.SUBMITTED, CompanionState.RELEASED}
        return self.state not in before | {CompanionState.ENDED}


@dataclass(frozen=True, slots=True)
class JobView:
    """One job. Times are UTC epoch seconds, None for not known.

    Args:
        job_id: Slurm's.
        queue_id: the queue's own, which `Reason.job` holds.
        kind: what it runs as; `requested_kind` what was asked for.
        share: GPUs now, on `nodes`, of `gpu_type`; one that has ended holds none.
        iterations: of the whole training, None until it is known; `iteration` done by the last
            report, at `progress_at`, going on at `rate` per second.
        promise: what the latest plan says about it while it is open; `promise_outcome` how it
            ended, None where none was given; `promise_fault` whose doing that was, None while it is
            open or where it was kept.
        finish: predicted by the latest plan; None while it is held, and once it has ended.
        started: when it first ran.
        schedule: its plan in hand; none where nothing is predicted.
        reason: why it has its share; None once it has ended.
        note: the last thing that its owner should know.
        measuring: how far its speed is measured, before it is judged; None when it is not.
        begin: before when it may not start; None for at once.
        dependency: what has to be so before it may start, and `gate` what has come of that.
        array: which job of an array it is; None for one that is in none.
        companions: its further Slurm jobs that have not ended, and one that has where it was asked
            for by that one's id.
    """

    job_id: int
    queue_id: int
    name: str
    owner: str
    account: str
    partition: str
    state: JobState
    kind: JobKind
    requested_kind: JobKind
    if_infeasible: IfInfeasible
    submitted: float
    deadline: float | None
    grace: float
    share: int
    nodes: tuple[str, ...]
    gpu_type: str
    iterations: int | None
    iteration: float
    rate: float | None
    progress_at: float | None
    verdict: StoredVerdict | None
    promise: PromiseState
    promise_outcome: PromiseOutcome | None
    finish: float | None
    started: float | None
    ended: float | None
    exit_code: int | None
    generation: int
    reshapes: int
    schedule: Schedule
    reason: Reason | None
    note: str
    state_dir: str
    # Fields added since the protocol's version last rose: older daemons do not send them.
    promise_fault: Fault | None = None
    measuring: Measuring | None = None
    begin: float | None = None
    dependency: Dependency = field(default_factory=Dependency)
    gate: Gate | None = None
    array: ArrayMember | None = None
    companions: tuple[CompanionView, ...] = ()

    @property
    def set_apart(self) -> bool:
        """Whether it is not judged before what it waits for has come."""
        waits = self.gate is not None and self.gate.state in (GateState.UNKNOWN, GateState.NEVER)
        return waits and self.verdict is None


def view(
    job: QueueJob,
    verdict: StoredVerdict | None,
    promise: Promise | None,
    companions: Iterable[Companion] = (),
) -> JobView:
    """The view of a row, of the latest verdict on it and of its latest promise.

    Args:
        companions: those of the row's that are to be shown, as far as Slurm's id of them is known.
    """
    request = job.request
    # The row keeps what it last had: nothing of that holds once it has ended, and of what was
    # predicted nothing while it is held.
    over = job.state in FINAL
    planned = not over and job.state is not JobState.HELD
    block = None if job.running is None or over else job.running.block
    settled = promise is not None and promise.outcome is not PromiseOutcome.OPEN
    return JobView(
        job_id=request.slurm_job_id,
        queue_id=job.id,
        name=request.name,
        owner=request.owner,
        account=request.account,
        partition=request.partition,
        state=job.state,
        kind=job.kind,
        requested_kind=request.kind,
        if_infeasible=request.if_infeasible,
        submitted=request.submitted,
        deadline=request.deadline,
        grace=request.grace,
        share=0 if over else job.share,
        nodes=() if block is None else block.nodes,
        gpu_type="" if block is None else block.gpu_type,
        iterations=request.iterations,
        iteration=job.iteration,
        rate=job.rate,
        progress_at=job.progress_at,
        verdict=verdict,
        promise=PromiseState.NONE if settled else job.promise,
        promise_outcome=None if promise is None else promise.outcome,
        promise_fault=None if promise is None else promise.fault,
        measuring=None if over else job.measuring,
        begin=request.begin,
        dependency=request.dependency,
        gate=job.gate,
        array=request.array,
        companions=tuple(
            CompanionView(one.slurm_job_id, one.block.nodes, one.state)
            for one in companions
            if one.slurm_job_id is not None
        ),
        finish=job.finish if planned else None,
        started=job.first_started_at,
        ended=job.ended_at,
        exit_code=job.exit_code,
        generation=job.generation,
        reshapes=job.reshapes,
        schedule=job.plan if planned else (),
        reason=None if over else job.reason,
        note=job.note,
        state_dir=request.state_dir,
    )


def named_queue_ids(view: JobView) -> set[int]:
    """The other jobs that the view's reasons speak of, by queue id."""
    reasons = (view.reason, view.verdict.reason if view.verdict else None)
    return {queue_id(reason.job) for reason in reasons if reason is not None and reason.job}


@dataclass(frozen=True, slots=True)
class OtherJob:
    """How a queue id that occurs in a reason is called by people."""

    queue_id: int
    job_id: int
    owner: str


@dataclass(frozen=True, slots=True)
class JobDetail:
    """One job."""

    job: JobView
    others: tuple[OtherJob, ...] = ()


@dataclass(frozen=True, slots=True)
class JobList:
    """Jobs as they are at `now`, by the daemon's clock."""

    now: float
    jobs: tuple[JobView, ...]
    others: tuple[OtherJob, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """A job, everything that happened to it, and the promise that it has."""

    job: JobView
    events: tuple[Event, ...]
    promise: Promise | None = None
    others: tuple[OtherJob, ...] = ()
