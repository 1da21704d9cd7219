"""Verdicts, promises, plans, intents, events, and the daemon's row."""

import math
from collections.abc import Callable

import pytest

from ef_slurm.model import (
    FOREVER,
    Block,
    Decision,
    Event,
    EventKind,
    Fault,
    IntentAction,
    IntentState,
    JobState,
    Json,
    Outcome,
    Plan,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    Reason,
    ReasonCode,
    Reservation,
    Settlement,
    Verdict,
    planner_id,
)
from ef_slurm.queue.errors import (
    ConflictError,
    ForbiddenTransitionError,
    NoSuchRowError,
    QueueError,
)
from ef_slurm.queue.store import Queue

Add = Callable[..., QueueJob]


def verdict(job: QueueJob, outcome: Outcome = Outcome.PROMISED) -> Verdict:
    return Verdict(
        planner_id(job.id), outcome, Reason(ReasonCode.STARTED, gpus=4), share=4, finish=8000.0
    )


def decision(job: QueueJob, gpus: int = 4) -> Decision:
    return Decision(
        job_id=planner_id(job.id),
        block=Block("a100", ("n1",), gpus),
        schedule=(Reservation(10.0, 20.0, gpus, "a100"), Reservation(30.0, math.inf, 8, "a100", 8)),
        finish=50.0,
        promise=PromiseState.SAFE,
        reason=Reason(ReasonCode.GREW, gpus=gpus, until=20.0),
    )


def test_a_promise_is_what_it_was_based_on(queue: Queue, add: Add) -> None:
    job = add()
    assert queue.promises.verdict(job.id) is None
    assert queue.promises.of(job.id) is None
    stored = queue.promises.record(verdict(job), at=1010.0, explanation="promised with 4 GPUs")
    assert queue.promises.verdict(job.id) == stored
    promise = queue.promises.of(job.id)
    assert promise is not None
    assert (promise.deadline, promise.finish, promise.share) == (9000.0, 8000.0, 4)
    assert promise.curves == job.request.curves
    assert promise.overhead == job.request.overhead
    assert promise.outcome is PromiseOutcome.OPEN
    kinds = [event.kind for event in queue.events.all(job_id=job.id)]
    assert kinds == [EventKind.SUBMITTED, EventKind.VERDICT, EventKind.PROMISED]


def test_other_answers_promise_nothing(queue: Queue, add: Add) -> None:
    job = add()
    queue.promises.record(verdict(job, Outcome.WAITLISTED), at=1.0, explanation="waits")
    assert queue.promises.of(job.id) is None
    queue.promises.record(verdict(job), at=2.0, explanation="promised")
    latest = queue.promises.verdict(job.id)
    assert latest is not None
    assert latest.outcome is Outcome.PROMISED
    assert len(queue.promises.all()) == 1
    assert queue.promises.all(given_since=3.0) == ()


def test_a_promise_is_given_once_and_settled_once(queue: Queue, add: Add) -> None:
    job = add()
    queue.promises.record(verdict(job), at=1.0, explanation="")
    with pytest.raises(QueueError):
        queue.promises.record(verdict(job), at=2.0, explanation="")
    broken = Settlement(PromiseOutcome.BROKEN, Fault.CLUSTER, "late")
    assert queue.promises.settle(job.id, broken, at=3.0)
    assert not queue.promises.settle(
        job.id, Settlement(PromiseOutcome.KEPT, None, "in time"), at=4.0
    )
    promise = queue.promises.of(job.id)
    assert promise is not None
    assert (promise.outcome, promise.fault) == (PromiseOutcome.BROKEN, Fault.CLUSTER)
    assert promise.settled_at == 3.0
    with pytest.raises(QueueError, match="not rewritten"):
        queue._database.execute("UPDATE promises SET deadline = 1e9")


def test_the_plan_in_force(queue: Queue, add: Add) -> None:
    assert queue.plans.last() is None
    first, second = add(1), add(2)
    queue.plans.record(Plan(5.0, (decision(first),), (), 77.0))
    plan_id = queue.plans.record(Plan(9.0, (decision(first, 2), decision(second)), (), FOREVER))
    last = queue.plans.last()
    assert last is not None
    assert (last.id, last.made_at, last.next_change) == (plan_id, 9.0, FOREVER)
    assert [made.job_id for made in last.decisions] == [first.id, second.id]
    assert last.decisions[0].block == Block("a100", ("n1",), 2)
    assert last.decisions[1].schedule == decision(second).schedule
    stored = queue.jobs.get(first.id)
    assert stored.plan == decision(first, 2).schedule
    assert (stored.finish, stored.promise) == (50.0, PromiseState.SAFE)
    assert stored.reason == Reason(ReasonCode.GREW, gpus=2, until=20.0)
    assert stored.revision == first.revision + 2


def test_old_plans_are_forgotten(queue: Queue, add: Add) -> None:
    job = add()
    for number in range(5):
        queue.plans.record(Plan(float(number), (decision(job),), (), FOREVER))
    assert queue.plans.prune(2) == 3
    assert queue.plans.prune(2) == 0
    count = queue._database.one("SELECT count(*) FROM decisions")
    assert count is not None
    assert count[0] == 2
    last = queue.plans.last()
    assert last is not None
    assert last.made_at == 4.0
    with pytest.raises(ValueError, match="must stay"):
        queue.plans.prune(0)


def test_an_intent_from_end_to_end(queue: Queue, add: Add) -> None:
    job = add()
    arguments: dict[str, Json] = {"nodes": ["n1", "n2"], "gpus_per_node": 4}
    intent = queue.intents.open(
        job.id, 2, IntentAction.SHAPE, arguments, at=1.0, why="to start with 8 GPUs"
    )
    assert queue.intents.unfinished() == (intent,)
    assert (intent.arguments, intent.generation) == (arguments, 2)
    with pytest.raises(ConflictError, match="unfinished"):
        queue.intents.open(job.id, 2, IntentAction.CANCEL, {}, at=1.0, why="")
    tried = queue.intents.tried(intent.id, at=2.0, error="timed out")
    assert (tried.attempts, tried.error) == (1, "timed out")
    for number, state in enumerate((IntentState.EXECUTED, IntentState.VERIFIED)):
        intent = queue.intents.advance(intent.id, state, at=3.0 + number)
        assert queue.intents.unfinished_of(job.id) == intent
    closed = queue.intents.advance(intent.id, IntentState.CLOSED, at=6.0, why="shaped")
    assert (closed.state, closed.changed_at) == (IntentState.CLOSED, 6.0)
    assert queue.intents.unfinished() == ()
    logged = queue.events.all(job_id=job.id, kinds=[EventKind.INTENT])
    assert [event.message for event in logged] == ["to start with 8 GPUs", "shaped"]
    queue.intents.open(job.id, 2, IntentAction.RELEASE, {}, at=7.0, why="")


@pytest.mark.parametrize("end", [JobState.CANCELLED, JobState.FAILED, JobState.LOST])
def test_only_a_submission_outlives_the_end_of_its_job(
    queue: Queue, add: Add, end: JobState
) -> None:
    """It may have been done, and then somebody has to use or to undo it."""
    job, other = add(1), add(2)
    submitted = queue.intents.open(job.id, 0, IntentAction.SUBMIT, {}, at=1.0, why="")
    queue.intents.open(other.id, 0, IntentAction.REQUEUE, {}, at=1.0, why="")
    for one in (job, other):
        queue.jobs.move(one.id, end, at=2.0, actor="x", why="")
    assert queue.intents.unfinished() == (submitted,)


def test_intents_take_no_short_cuts(queue: Queue, add: Add) -> None:
    intent = queue.intents.open(add().id, 0, IntentAction.HOLD, {}, at=1.0, why="")
    with pytest.raises(ForbiddenTransitionError, match="open"):
        queue.intents.advance(intent.id, IntentState.CLOSED, at=2.0)
    with pytest.raises(ForbiddenTransitionError):
        queue._database.execute("UPDATE intents SET state = 'closed'")
    queue.intents.advance(intent.id, IntentState.ABANDONED, at=2.0)
    queue.intents.advance(intent.id, IntentState.ABANDONED, at=3.0)
    with pytest.raises(ForbiddenTransitionError):
        queue.intents.advance(intent.id, IntentState.EXECUTED, at=4.0)
    with pytest.raises(NoSuchRowError):
        queue.intents.get(99)


def test_events_are_append_only(queue: Queue, add: Add) -> None:
    job = add()
    note = Event(5.0, EventKind.USER, "user1", "hello", job.id, {"x": 1.5, "y": None})
    written = queue.events.log(note)
    assert written.id > 0
    assert queue.events.all(after=written.id - 1) == (written,)
    assert queue.events.all(kinds=[EventKind.NODE]) == ()
    assert len(queue.events.all(limit=1)) == 1
    for sql in ("UPDATE events SET message = ''", "DELETE FROM events"):
        with pytest.raises(QueueError, match="append-only"):
            queue._database.execute(sql)


def test_the_daemons_row(queue: Queue) -> None:
    assert queue.owner.record() is None
    started = queue.owner.started(at=1.0, version="0.1.0")
    assert queue.owner.record() == started
    queue.owner.seen(at=2.0)
    record = queue.owner.record()
    assert record is not None
    assert (record.seen_at, record.stopped_at) == (2.0, None)
    queue.owner.stopped(at=3.0)
    record = queue.owner.record()
    assert record is not None
    assert record.stopped_at == 3.0
