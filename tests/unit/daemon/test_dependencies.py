"""Pipelines: jobs that wait for others, judged by what was promised to those, and told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from ef_slurm.daemon.plan.changes import NotPossibleError
from ef_slurm.daemon.plan.dependencies import WouldWait
from ef_slurm.formats.dependencies import parse_dependency
from ef_slurm.model import (
    ChangeOutcome,
    Fault,
    GateState,
    JobAction,
    JobChange,
    JobState,
    ModelError,
    Outcome,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    ReasonCode,
)
from tests.unit.daemon.world import World

ITERATIONS = 40_000
"""444 s on 16 GPUs, 1250 s on 4."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def submitted(world: World, deadline: float | None, **fields: object) -> QueueJob:
    job = world.submit(ITERATIONS, deadline, **fields)  # type: ignore[arg-type]
    world.run(3.0)
    return world.row(job)


def after(world: World, job: QueueJob, deadline: float | None, kind: str = "afterok") -> QueueJob:
    return submitted(world, deadline, after=f"{kind}:{job.request.slurm_job_id}")


def gate(world: World, job: QueueJob) -> GateState:
    found = world.row(job).gate
    assert found is not None
    return found.state


def outcome(world: World, job: QueueJob) -> Outcome | None:
    verdict = world.queue.promises.verdict(job.id)
    return None if verdict is None else verdict.outcome


def fate(world: World, job: QueueJob) -> PromiseOutcome:
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    return promise.outcome


def story(world: World, job: QueueJob) -> str:
    return "\n".join(event.message for event in world.queue.events.all(job_id=job.id))


def started(world: World, job: QueueJob) -> bool:
    return world.row(job).first_started_at is not None


def test_a_pipeline_of_deadlines_is_promised_at_once(world: World) -> None:
    """The second stage has the time from the first one's deadline on, more if that is sooner."""
    first = submitted(world, 2000.0)
    second = after(world, first, 4000.0)
    third = after(world, second, 6000.0)
    assert [outcome(world, one) for one in (first, second, third)] == [Outcome.PROMISED] * 3
    row = world.row(third)
    assert row.gate is not None
    assert row.gate.begin == second.request.deadline
    assert row.reason is not None
    assert row.reason.code is ReasonCode.BEGIN
    world.run_until(lambda: world.state(first) is JobState.COMPLETED)
    assert not started(world, second)
    world.run_until(lambda: started(world, second))
    began, ended = world.row(second).first_started_at, world.row(first).ended_at
    assert began is not None
    assert ended is not None
    assert 0.0 <= began - ended < 30.0  # long before its own moment
    assert not started(world, third)
    world.run_until(world.finished)
    assert [fate(world, one) for one in (first, second, third)] == [PromiseOutcome.KEPT] * 3


def test_a_deadline_before_the_others_gets_an_honest_counter_offer(world: World) -> None:
    first = submitted(world, 3000.0)
    second = after(world, first, 2500.0)
    verdict = world.queue.promises.verdict(second.id)
    assert verdict is not None
    assert (verdict.outcome, verdict.reason.code) == (Outcome.REJECTED, ReasonCode.BEGIN)
    assert "waits for job" in verdict.explanation
    assert verdict.earliest_deadline is not None
    assert first.request.deadline is not None
    assert verdict.earliest_deadline > first.request.deadline
    again = after(world, first, verdict.earliest_deadline + 1.0 - world.clock.now)
    assert outcome(world, again) is Outcome.PROMISED


@pytest.mark.parametrize("kind", ["afterok", "afterany", "after"])
def test_without_a_promise_it_is_judged_when_it_may_begin(world: World, kind: str) -> None:
    first = submitted(world, None)
    second = after(world, first, 9000.0, kind)
    if kind != "after":
        assert (gate(world, second), outcome(world, second)) == (GateState.UNKNOWN, None)
        assert world.state(second) is JobState.NEW
        world.run_until(lambda: world.state(first) is JobState.COMPLETED)
    world.run_until(lambda: outcome(world, second) is Outcome.PROMISED)
    world.run_until(world.finished)
    assert fate(world, second) is PromiseOutcome.KEPT


def test_waiting_costs_no_tick_and_no_question(world: World) -> None:
    first = world.cluster.occupy("user2", ("n1",), 1, 1e6, world.clock.now)
    waits = submitted(world, 50_000.0, after=f"afterany:{first.job_id}")
    assert gate(world, waits) is GateState.UNKNOWN
    world.run(30.0)
    plans = world.queue.plans.last()
    assert world.scheduler.tick() >= 1.0
    world.run(20.0)
    last = world.queue.plans.last()
    assert plans is not None
    assert last is not None
    assert last.id - plans.id <= 1


def test_a_foreign_job_is_waited_for(world: World) -> None:
    first = world.cluster.occupy("user2", ("n1",), 1, 1e6, world.clock.now)
    waits = submitted(world, 50_000.0, after=f"afterok:{first.job_id}")
    world.run(100.0)
    assert (gate(world, waits), outcome(world, waits)) == (GateState.UNKNOWN, None)
    world.cluster.finish(first.job_id, world.clock.now)
    world.run_until(lambda: outcome(world, waits) is Outcome.PROMISED)
    assert gate(world, waits) is GateState.OPEN


@pytest.mark.parametrize("kill", [None, True])
def test_what_can_never_be_is_told_and_never_starts(world: World, kill: bool | None) -> None:
    first = submitted(world, 2000.0)
    second = after(world, first, 4000.0)
    if kill:
        killing = replace(second.request.dependency, kill=True)
        world.queue.jobs.change(second.id, replace(second.request, dependency=killing))
    world.slurm.cancel(first.request.slurm_job_id)
    world.run_until(lambda: gate(world, second) is GateState.NEVER)
    assert fate(world, second) is PromiseOutcome.VOID
    promise = world.queue.promises.of(second.id)
    assert promise is not None
    assert promise.fault is Fault.OWNER
    assert "can never be" in story(world, second)
    world.run(200.0)
    if kill:
        assert world.state(second) is JobState.CANCELLED
        slurm = world.slurm.job(second.request.slurm_job_id)
        assert slurm.is_final
        return
    assert world.state(second) is JobState.ADMITTED
    assert not started(world, second)
    told = world.scheduler.change(second.id, JobChange(dependency=parse_dependency("")), "user1")
    assert told.outcome is ChangeOutcome.TO_BE_JUDGED
    world.run_until(lambda: world.state(second) is JobState.COMPLETED)
    assert fate(world, second) is PromiseOutcome.KEPT


def test_a_late_predecessor_moves_it_and_puts_it_at_risk(world: World) -> None:
    first = world.submit(ITERATIONS, 1500.0, speed=0.2)
    world.run(3.0)
    second = after(world, first, 2200.0)
    assert outcome(world, second) is Outcome.PROMISED
    world.run_until(lambda: world.row(second).promise is PromiseState.AT_RISK)
    assert not started(world, second)
    world.run_until(lambda: world.state(first) is JobState.COMPLETED)
    world.run_until(lambda: world.state(second) is JobState.COMPLETED)
    ended, began = world.row(first).ended_at, world.row(second).first_started_at
    assert ended is not None
    assert began is not None
    assert began >= ended
    assert fate(world, second) is PromiseOutcome.BROKEN


def test_held_by_its_owner_the_first_puts_the_second_at_risk(world: World) -> None:
    first = submitted(world, 5000.0)
    second = after(world, first, 9000.0)
    world.scheduler.act(first.id, JobAction.HOLD, "user1", by_owner=True)
    world.run(100.0)
    row = world.row(second)
    assert (gate(world, second), row.promise) == (GateState.UNKNOWN, PromiseState.AT_RISK)
    assert row.reason is not None
    assert row.reason.code is ReasonCode.DEPENDENCY
    world.scheduler.act(first.id, JobAction.RELEASE, "user1", by_owner=True)
    world.run_until(lambda: world.row(second).promise is PromiseState.SAFE)
    world.run_until(world.finished)
    assert fate(world, second) is PromiseOutcome.KEPT


@pytest.mark.parametrize("seconds", [0.0, 600.0])
def test_a_restart_at_any_time(world: World, seconds: float) -> None:
    first = submitted(world, 2000.0)
    second = after(world, first, 4000.0)
    third = submitted(world, None, after=f"afternotok:{first.request.slurm_job_id}")
    world.run(seconds)
    world.restart()
    world.run_until(lambda: world.state(second) is JobState.COMPLETED)
    assert (fate(world, first), fate(world, second)) == (PromiseOutcome.KEPT, PromiseOutcome.KEPT)
    began, ended = world.row(second).first_started_at, world.row(first).ended_at
    assert began is not None
    assert ended is not None
    assert began >= ended
    assert gate(world, third) is GateState.NEVER


def test_singletons_run_one_after_another(world: World) -> None:
    jobs = [submitted(world, d, name="same", after="singleton") for d in (2e3, 4e3, 6e3)]
    other = submitted(world, None, name="other")
    world.run_until(lambda: started(world, other) or started(world, jobs[1]))
    spans: list[tuple[float, float]] = []
    world.run_until(world.finished)
    for job in jobs:
        row = world.row(job)
        assert row.first_started_at is not None
        assert row.ended_at is not None
        spans.append((row.first_started_at, row.ended_at))
    assert all(one[1] <= two[0] for one, two in pairwise(spans))


def test_it_is_measured_once_it_may_begin(world: World) -> None:
    first = submitted(world, 2000.0)
    waits = submitted(world, 20_000.0, known=False, after=f"afterok:{first.request.slurm_job_id}")
    world.run_until(lambda: world.state(first) is JobState.COMPLETED)
    assert not started(world, waits)
    world.run_until(lambda: outcome(world, waits) is Outcome.PROMISED)


def test_held_and_released_it_still_waits(world: World) -> None:
    first = submitted(world, 2000.0)
    second = after(world, first, 6000.0)
    world.scheduler.act(second.id, JobAction.HOLD, "user1", by_owner=True)
    world.run(20.0)
    world.scheduler.act(second.id, JobAction.RELEASE, "user1", by_owner=True)
    world.run(100.0)
    assert not started(world, second)
    world.run_until(world.finished)
    assert fate(world, second) is PromiseOutcome.KEPT


def test_a_circle_is_refused(world: World) -> None:
    first = submitted(world, None, after=f"afterok:{99}")
    second = after(world, first, None)
    for target in (first, second):
        wanted = parse_dependency(f"afterok:{target.request.slurm_job_id}")
        with pytest.raises(ModelError, match="dependency"):
            world.scheduler.change(first.id, JobChange(dependency=wanted), "user1")


def test_a_promise_is_not_given_another_dependency(world: World) -> None:
    first, second = submitted(world, 5000.0), submitted(world, 50_000.0, begin=20_000.0)
    wanted = parse_dependency(f"afterok:{first.request.slurm_job_id}")
    with pytest.raises(NotPossibleError, match="it has its verdict"):
        world.scheduler.change(second.id, JobChange(dependency=wanted), "user1")


def test_taken_away_it_may_begin_at_once(world: World) -> None:
    first = submitted(world, 20_000.0)
    second = after(world, first, 30_000.0)
    world.run(20.0)
    told = world.scheduler.change(second.id, JobChange(dependency=parse_dependency("")), "user1")
    assert told.outcome is ChangeOutcome.DONE
    world.run_until(lambda: started(world, second))
    assert fate(world, second) is PromiseOutcome.OPEN


def test_what_if(world: World) -> None:
    first = submitted(world, 3000.0)
    template = submitted(world, 9000.0)

    def asked(text: str) -> object:
        wanted = replace(template.request, slurm_job_id=0, dependency=parse_dependency(text))
        return world.scheduler.judge(wanted)[0]

    promised = asked(f"afterok:{first.request.slurm_job_id}")
    assert promised.schedule[0].start >= first.request.deadline  # type: ignore[attr-defined]
    waits = asked(f"afternotok:{first.request.slurm_job_id}")
    assert isinstance(waits, WouldWait)
    assert waits.gate.state is GateState.UNKNOWN
