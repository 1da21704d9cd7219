"""A plan becomes rows, promises and events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon.plan.record import Reallocation, record, train_on
from ef_slurm.model import (
    FOREVER,
    Block,
    ChangeKind,
    Decision,
    EventKind,
    JobState,
    Json,
    ModelError,
    Outcome,
    Overhead,
    Plan,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    Reason,
    ReasonCode,
    Running,
    Verdict,
    planner_id,
)
from ef_slurm.queue.store import Queue
from tests.fakes.new_queue import open_queue
from tests.unit.daemon.make import ELSEWHERE, FOUR_NODES, NOW, SCRIPT, TWO_NODES, row

WHY = Reason(ReasonCode.STARTED, gpus=8)
COST = {1: Overhead(start=30.0, grow=40.0, move=40.0, restart=40.0, shrink=20.0)}


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with open_queue(tmp_path / "queue.sqlite") as queue:
        queue.jobs.add(row().request, SCRIPT, actor="user1")
        yield queue


def verdict(outcome: Outcome = Outcome.PROMISED) -> Verdict:
    return Verdict(planner_id(1), outcome, WHY, share=8, finish=NOW + 600.0)


def decision(block: Block | None, promise: PromiseState = PromiseState.SAFE) -> Decision:
    return Decision(planner_id(1), block, (), NOW + 600.0, promise, WHY)


def apply(
    queue: Queue, block: Block | None, *verdicts: Verdict, at: float = NOW, **other: PromiseState
) -> tuple[QueueJob, tuple[Reallocation, ...]]:
    plan = Plan(at, (decision(block, **other),), verdicts, FOREVER)
    reallocations = record(queue, plan, [queue.jobs.get(1)], COST)
    return queue.jobs.get(1), reallocations


def moves(queue: Queue) -> list[tuple[Json, Json]]:
    events = queue.events.all(kinds=[EventKind.STATE])
    return [(event.data["from"], event.data["to"]) for event in events]


def messages(queue: Queue, kind: EventKind) -> list[str]:
    return [event.message for event in queue.events.all(kinds=[kind])]


def test_a_promise_and_its_first_block(queue: Queue) -> None:
    job, reallocations = apply(queue, TWO_NODES, verdict())
    assert job.state is JobState.ADMITTED
    assert job.running is not None
    assert (job.running.since, job.running.trains_from) == (NOW, NOW + 30.0)
    assert job.reshapes == 0
    assert reallocations == (Reallocation(1, None, TWO_NODES),)
    promise = queue.promises.of(1)
    assert promise is not None
    assert promise.share == 8
    assert "0 → 8 GPUs on n[1-2]" in messages(queue, EventKind.SHARE)[0]


def test_the_same_place_is_no_change(queue: Queue) -> None:
    apply(queue, TWO_NODES, verdict())
    job, reallocations = apply(queue, TWO_NODES, at=NOW + 50.0)
    assert not reallocations
    assert job.running is not None
    assert job.running.since == NOW


def test_another_part_of_its_gpus_is_charged_and_told(queue: Queue) -> None:
    apply(queue, TWO_NODES, verdict())
    at = NOW + 50.0
    change = train_on(queue, 1, 2, COST[1], at, "to learn how fast it is")
    assert change is not None
    assert change.change is ChangeKind.RELAUNCH
    job = queue.jobs.get(1)
    assert job.running == Running(TWO_NODES, at, at + 20.0, active=2)
    assert (job.share, job.reshapes) == (8, 0)
    told = "trains on 2 of its 8 GPUs: to learn how fast it is"
    assert messages(queue, EventKind.SHARE)[-1] == told
    assert train_on(queue, 1, 2, COST[1], at, "again") is None
    # A plan that leaves it where it is leaves it its part; another block is used whole.
    job, reallocations = apply(queue, TWO_NODES, at=at)
    assert not reallocations
    assert job.running is not None
    assert job.running.active == 2
    job, _ = apply(queue, ELSEWHERE, at=at)
    assert job.running is not None
    assert job.running.active is None
    assert train_on(queue, 1, None, COST[1], at, "it does") is None
    with pytest.raises(ModelError, match="active GPUs"):
        train_on(queue, 1, 16, COST[1], at, "too many")


def test_a_job_without_gpus_trains_on_no_part(queue: Queue) -> None:
    assert train_on(queue, 1, 1, COST[1], NOW, "") is None


def test_a_reshape_is_counted_and_charged(queue: Queue) -> None:
    apply(queue, FOUR_NODES, verdict())
    job, (reallocation,) = apply(queue, TWO_NODES, at=NOW + 50.0)
    assert reallocation.change is ChangeKind.SHRINK
    assert job.running is not None
    assert job.running.trains_from == NOW + 70.0
    job, (reallocation,) = apply(queue, ELSEWHERE, at=NOW + 90.0)
    assert reallocation.change is ChangeKind.MOVE
    assert (job.reshapes, job.last_reshape) == (2, NOW + 90.0)


def test_a_pause_holds_nothing(queue: Queue) -> None:
    apply(queue, TWO_NODES, verdict())
    job, (reallocation,) = apply(queue, None, at=NOW + 50.0)
    assert job.running is None
    assert reallocation.change is None
    assert job.reshapes == 0


def test_a_rejection_ends_the_job(queue: Queue) -> None:
    plan = Plan(NOW, (), (replace(verdict(Outcome.REJECTED), finish=None),), FOREVER)
    assert not record(queue, plan, [queue.jobs.get(1)], COST)
    assert queue.jobs.get(1).state is JobState.REJECTED
    assert queue.promises.of(1) is None


def test_waiting_on_is_not_told_again(queue: Queue) -> None:
    waits = Plan(NOW, (), (verdict(Outcome.WAITLISTED),), FOREVER)
    for _ in range(3):
        record(queue, waits, [queue.jobs.get(1)], COST)
        assert queue.jobs.get(1).state is JobState.WAITLISTED
        assert queue.promises.of(1) is None
    assert len(messages(queue, EventKind.VERDICT)) == 1
    assert moves(queue) == [("new", "waitlisted")]
    apply(queue, TWO_NODES, verdict(), at=NOW + 60.0)
    assert moves(queue) == [("new", "waitlisted"), ("waitlisted", "admitted")]
    promise = queue.promises.of(1)
    assert promise is not None
    assert promise.given_at == NOW + 60.0


def test_a_deadline_job_may_fall_to_best_effort(queue: Queue) -> None:
    plan = Plan(NOW, (), (verdict(Outcome.BEST_EFFORT),), FOREVER)
    record(queue, plan, [queue.jobs.get(1)], COST)
    job = queue.jobs.get(1)
    assert (job.state, job.best_effort) == (JobState.ADMITTED, True)
    assert queue.promises.of(1) is None


def test_a_promise_at_risk_is_told_once(queue: Queue) -> None:
    job, _ = apply(queue, TWO_NODES, verdict())
    assert job.promise is PromiseState.SAFE
    for number in range(3):
        job, _ = apply(queue, TWO_NODES, at=NOW + number, promise=PromiseState.AT_RISK)
        assert job.promise is PromiseState.AT_RISK
    job, _ = apply(queue, TWO_NODES, at=NOW + 9.0)
    assert job.promise is PromiseState.SAFE
    told = queue.events.all(kinds=[EventKind.PROMISE])
    assert [(event.at, event.data["from"], event.data["to"]) for event in told] == [
        (NOW, "safe", "at-risk"),
        (NOW + 9.0, "at-risk", "safe"),
    ]
    assert "at risk" in told[0].message
    assert "safe again" in told[1].message
    promise = queue.promises.of(1)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.OPEN


def test_a_promise_stays_at_risk_for_what_put_it_at_risk(queue: Queue) -> None:
    """The plan in hand is late since GPUs went away: that does not make the job slow."""
    apply(queue, TWO_NODES, verdict())
    for code in (ReasonCode.LOST_CAPACITY, ReasonCode.BEHIND):
        risky = replace(decision(TWO_NODES, PromiseState.AT_RISK), reason=Reason(code, gpus=8))
        record(queue, Plan(NOW, (risky,), (), FOREVER), [queue.jobs.get(1)], COST)
        assert queue.jobs.get(1).reason == Reason(ReasonCode.LOST_CAPACITY, gpus=8)
    apply(queue, TWO_NODES, at=NOW + 9.0)
    behind = replace(
        decision(TWO_NODES, PromiseState.AT_RISK), reason=Reason(ReasonCode.BEHIND, gpus=8)
    )
    record(queue, Plan(NOW, (behind,), (), FOREVER), [queue.jobs.get(1)], COST)
    assert queue.jobs.get(1).reason == Reason(ReasonCode.BEHIND, gpus=8)


def test_what_ended_meanwhile_stays_ended(queue: Queue) -> None:
    before = queue.jobs.get(1)
    queue.jobs.move(1, JobState.CANCELLED, at=NOW, actor="user1", why="cancelled")
    plan = Plan(NOW, (decision(TWO_NODES),), (verdict(),), FOREVER)
    assert not record(queue, plan, [before], COST)
    job = queue.jobs.get(1)
    assert job.state is JobState.CANCELLED
    assert job.running is None
