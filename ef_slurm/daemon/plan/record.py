"""A plan becomes the queue's: verdicts, promises, shares, events, all in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType

from ef_slurm.daemon.fence import Fence
from ef_slurm.formats.finishes import shown_finish
from ef_slurm.formats.hostlist import compress
from ef_slurm.formats.sentences import NameOf, instant, reason_sentence, verdict_sentence
from ef_slurm.model import (
    ACTIVE,
    ACTOR,
    Block,
    ChangeKind,
    Decision,
    Event,
    EventKind,
    JobKind,
    JobState,
    Json,
    Outcome,
    Overhead,
    Plan,
    PromiseState,
    QueueJob,
    ReasonCode,
    Running,
    Verdict,
    active_part,
    change_kind,
    planner_id,
    queue_id,
)
from ef_slurm.queue.store import Queue

_STATE_OF = {
    Outcome.PROMISED: JobState.ADMITTED,
    Outcome.BEST_EFFORT: JobState.ADMITTED,
    Outcome.WAITLISTED: JobState.WAITLISTED,
    Outcome.REJECTED: JobState.REJECTED,
}

_CAUSES_OF_RISK = frozenset(
    {
        ReasonCode.LOST_CAPACITY,
        ReasonCode.BEHIND,
        ReasonCode.REFUSED,
        ReasonCode.NOT_STARTED,
    }
)

UNJUDGED = frozenset({JobState.NEW, JobState.WAITLISTED})


@dataclass(frozen=True, slots=True)
class Reallocation:
    """A job gets another block, or trains on another part of its own (`other_part`)."""

    job_id: int
    old: Block | None
    new: Block | None
    other_part: bool = False

    @property
    def change(self) -> ChangeKind | None:
        """Of which kind; None for a pause, which costs nothing by itself."""
        return change_kind(self.old, self.new, other_part=self.other_part)


@dataclass(frozen=True, slots=True)
class _Costs:
    """What another block costs a job."""

    overhead: Overhead
    wake_seconds: Mapping[str, float]
    doubles: bool

    def seconds(self, old: Block | None, new: Block) -> float:
        """Until it trains there."""
        wake = max(self.wake_seconds.get(node, 0.0) for node in new.nodes)
        return wake + self.overhead.seconds(old, new, doubles=self.doubles)


def record(
    queue: Queue,
    plan: Plan,
    jobs: Sequence[QueueJob],
    overheads: Mapping[int, Overhead],
    wake_seconds: Mapping[str, float] = MappingProxyType({}),
    *,
    doubles: Collection[int] = (),
    fence: Fence | None = None,
    anew: Collection[int] = (),
) -> tuple[Reallocation, ...]:
    """Write a plan and what follows from it for each job.

    Args:
        jobs: the rows that the plan was made from.
        overheads: by queue id, as the plan was told.
        wake_seconds: of the nodes that have to be woken.
        doubles: queue ids of jobs that grow by doublings.
        fence: around what is written for each job; None: an error undoes the whole plan.
        anew: queue ids of jobs that were judged although they had a verdict.

    Returns:
        The jobs whose block changes.
    """
    names = {planner_id(job.id): str(job.request.slurm_job_id) for job in jobs}
    plan = _with_first_causes(plan, jobs)

    def name_of(planner_name: str) -> str:
        return names.get(planner_name, planner_name)

    verdicts = {queue_id(verdict.job_id): verdict for verdict in plan.verdicts}
    decisions = {queue_id(decision.job_id): decision for decision in plan.decisions}
    reallocations = []
    with queue.transaction():
        plan_id = queue.plans.begin(plan)
        for before in jobs:
            around = nullcontext() if fence is None else fence.around(before, "planned")
            with around, queue.transaction():
                verdict, decision = verdicts.get(before.id), decisions.get(before.id)
                if verdict is not None:
                    _judge(queue, verdict, plan.now, name_of, anew=before.id in anew)
                if decision is not None:
                    queue.plans.decide(plan_id, decision)
                overhead = overheads.get(before.id, before.request.overhead)
                costs = _Costs(overhead, wake_seconds, before.id in doubles)
                reallocation = _assign(queue, before, decision, costs, plan.now, name_of)
                if reallocation is not None:
                    reallocations.append(reallocation)
    return tuple(reallocations)


def _with_first_causes(plan: Plan, jobs: Sequence[QueueJob]) -> Plan:
    """The plan, in which a promise stays at risk for the reason that put it at risk.

    The planner compares a job with its plan in hand: once that is late, because GPUs went away, the
    next plan takes the job itself for slow.
    """
    causes = {
        planner_id(job.id): job.reason.code
        for job in jobs
        if job.promise is PromiseState.AT_RISK and job.reason is not None
    }

    def kept(decision: Decision) -> Decision:
        cause = causes.get(decision.job_id)
        if decision.promise is not PromiseState.AT_RISK or cause not in _CAUSES_OF_RISK:
            return decision
        return replace(decision, reason=replace(decision.reason, code=cause))

    return replace(plan, decisions=tuple(kept(decision) for decision in plan.decisions))


def _judge(queue: Queue, verdict: Verdict, now: float, name_of: NameOf, *, anew: bool) -> None:
    job = queue.jobs.get(queue_id(verdict.job_id))
    to = _STATE_OF[verdict.outcome]
    runs_on = job.state in ACTIVE - {JobState.HELD} and (anew or job.measuring is not None)
    if not runs_on and (job.state is to or job.state not in UNJUDGED):
        return  # still on the waiting list, or withdrawn while the plan was made
    sentence = verdict_sentence(verdict, name_of)
    queue.promises.record(verdict, at=now, explanation=sentence)
    best_effort = job.best_effort or (
        verdict.outcome is Outcome.BEST_EFFORT and job.request.kind is not JobKind.BEST_EFFORT
    )
    queue.jobs.save(replace(job, best_effort=best_effort, measuring=None))
    if runs_on and to is JobState.ADMITTED and job.state not in UNJUDGED:
        return  # it runs already, and goes on
    queue.jobs.move(job.id, to, at=now, actor=ACTOR, why=sentence)


def _assign(
    queue: Queue,
    before: QueueJob,
    decision: Decision | None,
    costs: _Costs,
    now: float,
    name_of: NameOf,
) -> Reallocation | None:
    block = None if decision is None else decision.block
    old = None if before.running is None else before.running.block
    row = queue.jobs.get(before.id)
    if row.state not in ACTIVE:
        return None
    if decision is not None:
        _log_promise(queue, before, decision, now, name_of)
    if old is None and block is None:
        return None
    if old is not None and block is not None and change_kind(old, block) is None:
        if old != block and row.running is not None:
            queue.jobs.save(replace(row, running=replace(row.running, block=block)))
        return None
    queue.jobs.save(_moved(row, old, block, costs, now))
    _log_share(queue, before, old, block, decision, now, name_of)
    return Reallocation(row.id, old, block)


def _moved(
    row: QueueJob, old: Block | None, block: Block | None, costs: _Costs, now: float
) -> QueueJob:
    """The row with its new block. The first start is no reshape."""
    if block is None:
        return replace(row, running=None)
    running = Running(block, now, now + costs.seconds(old, block))
    ran = old is not None or row.state not in (
        JobState.NEW,
        JobState.WAITLISTED,
        JobState.ADMITTED,
    )
    if not ran:
        return replace(row, running=running)
    return replace(row, running=running, reshapes=row.reshapes + 1, last_reshape=now)


def train_on(
    queue: Queue, job_id: int, active: int | None, overhead: Overhead, now: float, why: str
) -> Reallocation | None:
    """Have a job train on so many of the GPUs that it holds (None: on all), in place.

    The plan is not touched: all of them stay booked to it. The next tick orders the relaunch.

    Args:
        active: a power of two of at most what it holds.
        overhead: what its changes cost.
        why: for the job's story.

    Returns:
        The change, for `Calibration.expect`; None where the job holds nothing or does so already.

    Raises:
        ModelError: no part of its block has that size.
    """
    with queue.transaction():
        row = queue.jobs.get(job_id)
        running = row.running
        if running is None or running.active_gpus == (running.gpus if active is None else active):
            return None
        gpus = active_part(running.block, running.gpus if active is None else active).gpus
        then = now + overhead.of(ChangeKind.RELAUNCH, gpus)
        queue.jobs.save(
            replace(row, running=replace(running, active=active, since=now, trains_from=then))
        )
        data: dict[str, Json] = {"from": running.active_gpus, "to": gpus, "of": running.gpus}
        message = f"trains on {gpus} of its {running.gpus} GPUs: {why}"
        queue.events.log(Event(now, EventKind.SHARE, ACTOR, message, row.id, data))
    return Reallocation(row.id, running.block, running.block, other_part=True)


def _log_share(
    queue: Queue,
    job: QueueJob,
    old: Block | None,
    new: Block | None,
    decision: Decision | None,
    now: float,
    name_of: NameOf,
) -> None:
    why = "" if decision is None else reason_sentence(decision.reason, name_of)
    nodes = "" if new is None else compress(new.nodes)
    data: dict[str, Json] = {
        "from": 0 if old is None else old.gpus,
        "to": 0 if new is None else new.gpus,
        "nodes": nodes,
        "gpus_per_node": 0 if new is None else new.gpus_per_node,
    }
    message = f"{data['from']} → {data['to']} GPUs" + (f" on {nodes}" if nodes else "")
    queue.events.log(
        Event(now, EventKind.SHARE, ACTOR, f"{message}: {why}" if why else message, job.id, data)
    )


def _log_promise(
    queue: Queue, job: QueueJob, decision: Decision, now: float, name_of: NameOf
) -> None:
    """Log that the plan in force sees a promise in another light than the one before."""
    was, is_now = job.promise, decision.promise
    if was is is_now or PromiseState.NONE in (was, is_now):
        return
    finish = "not foreseen"
    if decision.finish is not None:
        finish = instant(shown_finish(decision.finish, job.request.deadline))
    match is_now:
        case PromiseState.AT_RISK:
            why = reason_sentence(decision.reason, name_of)
            if decision.reason.code is ReasonCode.REFUSED and job.note:
                why = f"{why} ({job.note})"  # in Slurm's words
            message = f"promise at risk: {why}; predicted finish {finish}"
        case PromiseState.IN_GRACE:
            message = f"predicted to finish within its grace, at {finish}"
        case _:
            message = f"promise safe again: predicted finish {finish}"
    data: dict[str, Json] = {"from": was.value, "to": is_now.value, "finish": decision.finish}
    queue.events.log(Event(now, EventKind.PROMISE, ACTOR, message, job.id, data))
