"""Jobs of which nobody knows how fast they train: measured, judged, kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.model import (
    ACTIVE,
    EventKind,
    Fault,
    IfInfeasible,
    JobState,
    Outcome,
    PromiseOutcome,
    QueueJob,
    ReasonCode,
)
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.unit.daemon.world import CURVE, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def unknown(
    world: World, iterations: int = 30_000, deadline: float = 2000.0, **more: Any
) -> QueueJob:
    return world.submit(iterations, deadline, known=False, **more)


def judged(world: World, job: QueueJob, limit: float = 600.0) -> Outcome:
    world.run_until(lambda: world.queue.promises.verdict(job.id) is not None, limit)
    verdict = world.queue.promises.verdict(job.id)
    assert verdict is not None
    return verdict.outcome


def outcome(world: World, job: QueueJob) -> PromiseOutcome | None:
    promise = world.queue.promises.of(job.id)
    return None if promise is None else promise.outcome


def story(world: World, job: QueueJob) -> str:
    return "\n".join(event.message for event in world.queue.events.all(job_id=job.id))


def test_it_is_measured_while_it_trains_promised_and_in_time(world: World) -> None:
    job = unknown(world, told=False)
    world.run_until(lambda: world.row(job).measuring is not None)
    assert world.queue.promises.verdict(job.id) is None
    assert judged(world, job) is Outcome.PROMISED
    row = world.row(job)
    assert (row.request.iterations, row.request.global_batch_size) == (30_000, 64)
    assert row.measuring is None
    assert row.iteration > 0  # what it has trained is kept
    ((kind, curve),) = row.request.curves
    assert kind == "gpu"
    measured = dict(curve.points)
    assert measured[1] == pytest.approx(10.0, rel=0.05)
    assert measured[4] == pytest.approx(32.0, rel=0.05)
    assert "measured while it trained: " in row.request.curve_source
    assert "on 1 GPU, " in row.request.curve_source
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert promise.given_at - row.request.submitted < 150.0
    world.run_until(world.finished)
    assert outcome(world, job) is PromiseOutcome.KEPT
    told = story(world, job)
    assert "its script says iterations 30000" in told
    assert "nobody knows yet how fast it trains" in told


def test_a_launch_that_is_prepared_beside_the_one_before_costs_what_is_not_trained(
    world: World,
) -> None:
    """It trains on for 12 s, saves for half of one, and trains again 5 s later."""
    job = unknown(world)
    world.training(job).prepares = 12.0
    assert judged(world, job) is Outcome.PROMISED
    relaunched = [
        event
        for event in world.queue.events.all(job_id=job.id, kinds=[EventKind.MEASURED])
        if event.data.get("what") == "relaunch"
    ]
    assert relaunched
    for event in relaunched:
        assert event.data["still"] == pytest.approx(5.5, abs=1.1)
        assert event.data["value"] == pytest.approx(17.5, abs=2.1)
    world.run_until(world.finished)
    assert outcome(world, job) is PromiseOutcome.KEPT


def test_nobodys_promise_gives_way_to_it(world: World) -> None:
    busy = world.submit(88 * 500, deadline=520.0)  # needs all that there is
    world.run_until(lambda: world.state(busy) is JobState.RUNNING)
    job = unknown(world)
    world.run(100.0)
    row = world.row(job)
    assert row.measuring is not None
    assert row.share == 0  # it waits for its turn
    assert judged(world, job) is Outcome.PROMISED
    world.run_until(world.finished)
    assert outcome(world, busy) is PromiseOutcome.KEPT
    assert outcome(world, job) is PromiseOutcome.KEPT


@pytest.mark.parametrize("deadline", [None, 5000.0])
def test_who_makes_room_for_it_hears_of_no_promise_to_it(
    world: World, deadline: float | None
) -> None:
    wide = world.submit(40_000, deadline)
    world.run_until(lambda: world.row(wide).share == 16)
    job = unknown(world)
    world.run_until(lambda: world.row(job).share > 0)
    assert world.queue.promises.of(job.id) is None
    told = story(world, wide)
    assert f"job {job.request.slurm_job_id} is measured on " in told
    assert "the promise to" not in told


def test_a_newcomer_is_promised_beside_it(world: World) -> None:
    job = unknown(world)
    world.run_until(lambda: world.row(job).share > 0)
    other = world.submit(88 * 200, deadline=400.0)
    assert judged(world, other) is Outcome.PROMISED
    world.run_until(world.finished)
    assert outcome(world, other) is PromiseOutcome.KEPT
    assert outcome(world, job) is PromiseOutcome.KEPT


@pytest.mark.parametrize(
    ("choice", "verdict", "state"),
    [
        (IfInfeasible.REJECT, Outcome.REJECTED, JobState.REJECTED),
        (IfInfeasible.WAIT, Outcome.REJECTED, JobState.REJECTED),  # not even alone
        (IfInfeasible.BEST_EFFORT, Outcome.BEST_EFFORT, None),
    ],
)
def test_a_deadline_that_cannot_be_promised_then(
    world: World, choice: IfInfeasible, verdict: Outcome, state: JobState | None
) -> None:
    job = unknown(world, 200_000, 900.0, if_infeasible=choice)
    assert judged(world, job) is verdict
    answer = world.queue.promises.verdict(job.id)
    assert answer is not None
    assert answer.earliest_deadline is not None  # the counter-offer, as for anybody
    slurm = world.training(job).slurm
    world.run(60.0)
    if state is None:
        assert world.row(job).best_effort
        world.run_until(world.finished)
        assert world.state(job) is JobState.COMPLETED
    else:
        assert world.state(job) is state
        assert slurm.state is JobBaseState.CANCELLED  # nothing of it is left on the nodes
        assert "is cancelled, since it is rejected" in story(world, job)


def test_one_that_waits_after_it_was_measured_gives_its_gpus_back_and_is_promised_later(
    world: World,
) -> None:
    job = unknown(world, 88 * 600, 1400.0, if_infeasible=IfInfeasible.WAIT)
    world.run_until(lambda: len(world.queue.events.last(EventKind.MEASURED, 9)) >= 2)
    busy = world.submit(88 * 700, deadline=800.0, speed=2.0)
    assert judged(world, busy) is Outcome.PROMISED
    first = judged(world, job)
    world.run_until(world.finished)
    assert outcome(world, busy) is PromiseOutcome.KEPT
    if first is Outcome.WAITLISTED:
        assert outcome(world, job) in (None, PromiseOutcome.KEPT)
    assert not world.queue.jobs.all(ACTIVE)


def test_a_deadline_that_passes_while_it_waits_is_told(world: World) -> None:
    world.cluster.occupy("user2", ("n1", "n2", "n3", "n4"), 4, 900.0, world.clock.now)
    job = unknown(world, deadline=300.0)
    assert judged(world, job) is Outcome.REJECTED
    verdict = world.queue.promises.verdict(job.id)
    assert verdict is not None
    assert verdict.reason.code is ReasonCode.UNMEASURED
    assert "deadline passed before it could be measured" in verdict.explanation
    goes_on = unknown(world, deadline=300.0, if_infeasible=IfInfeasible.BEST_EFFORT)
    world.run_until(world.finished)
    assert world.state(goes_on) is JobState.COMPLETED
    assert "goes on as best effort" in story(world, goes_on)


def test_a_job_that_never_reports_is_refused_in_words(world: World) -> None:
    job = unknown(world, elastic=False)
    world.run_until(lambda: world.state(job) is JobState.REJECTED, 1000.0)
    assert "has not reported progress for 300 s" in world.row(job).note
    world.run(60.0)
    assert world.training(job).slurm.state is JobBaseState.CANCELLED


def test_a_script_that_does_not_run_on_another_size_has_one_point(world: World) -> None:
    job = unknown(world, told=False, fails_on=frozenset({2, 4, 8, 16}))
    assert judged(world, job, 900.0) is Outcome.REJECTED  # 30,000 at 10/s is too slow
    row = world.row(job)
    ((_, curve),) = row.request.curves
    assert [size for size, _ in curve.points] == [1]
    assert "no other size is counted on" in row.request.curve_source
    assert "it does not run on 4 GPUs" in story(world, job)


def test_killed_at_any_time_it_is_measured_all_the_same(world: World) -> None:
    job = unknown(world, told=False)
    while world.queue.promises.verdict(job.id) is None:
        world.run(44.0)
        world.restart()
        assert world.clock.now < job.request.submitted + 900.0
    world.run_until(world.finished)
    assert outcome(world, job) is PromiseOutcome.KEPT


def test_a_node_that_dies_and_a_requeue_are_no_rate(world: World) -> None:
    job = unknown(world, told=False)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.run(10.0)
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold = HoldKind.NONE
    world.run(5.0)
    assert world.row(job).measuring is not None
    assert world.row(job).measuring.rates == ()  # type: ignore[union-attr]
    assert judged(world, job) is Outcome.PROMISED
    ((_, curve),) = world.row(job).request.curves
    for size, rate in curve.points:
        assert rate <= dict(CURVE.points)[size] * 1.1
    world.run_until(world.finished)
    assert outcome(world, job) is PromiseOutcome.KEPT


def test_held_by_its_owner_it_goes_on_when_it_is_released(world: World) -> None:
    job = unknown(world)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold = HoldKind.USER
    world.run_until(lambda: world.state(job) is JobState.HELD)
    slurm.hold = HoldKind.NONE
    assert judged(world, job) is Outcome.PROMISED
    world.run_until(world.finished)
    assert outcome(world, job) is PromiseOutcome.KEPT


def test_cancelled_while_it_is_measured_it_ends_and_is_no_rate(world: World) -> None:
    job = unknown(world, model_name="bert")
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.run(5.0)
    world.cluster.cancel(world.training(job).slurm, world.clock.now)
    world.run_until(world.finished)
    assert world.state(job) is JobState.CANCELLED
    assert world.row(job).measuring is None
    assert world.queue.profiles.list("user1") == ()


def test_what_was_submitted_counts_and_a_contradiction_is_told_once(world: World) -> None:
    job = world.submit(20_000, deadline=2000.0)
    world.training(job).says = (40_000, 64)
    world.run(120.0)
    assert world.row(job).request.iterations == 20_000
    words = "submitted with iterations 20000, its script says 40000: what was submitted counts"
    assert story(world, job).count(words) == 1


def test_one_whose_iterations_alone_are_not_known_is_judged_when_it_has_told(world: World) -> None:
    job = world.submit(30_000, 2000.0, told=False)
    assert judged(world, job, 30.0) is Outcome.PROMISED
    assert world.row(job).request.iterations == 30_000
    assert "it starts on 1 GPU, and tells" in story(world, job)
    world.run_until(world.finished)
    assert outcome(world, job) is PromiseOutcome.KEPT


def test_a_promise_for_fewer_iterations_than_its_script_has_is_void_and_it_is_judged_anew(
    world: World,
) -> None:
    job = world.submit(20_000, 2000.0)
    row = world.row(job)
    world.queue.jobs.complete(job.id, replace(row.request, assumed=True))
    world.training(job).says = (40_000, 64)
    world.training(job).iterations = 40_000
    assert judged(world, job, 5.0) is Outcome.PROMISED
    world.run_until(lambda: len(world.queue.promises.all()) == 2, 60.0)
    first, second = world.queue.promises.all()
    assert (first.outcome, first.fault) == (PromiseOutcome.VOID, Fault.JOB)
    assert world.row(job).request.iterations == 40_000
    assert "as its run before had; its script says 40000" in story(world, job)
    world.run_until(world.finished)
    assert world.queue.promises.of(job.id).outcome is PromiseOutcome.KEPT  # type: ignore[union-attr]
    assert second.job_id == job.id


def test_a_second_submission_is_judged_at_once_from_the_library(world: World) -> None:
    first = unknown(world, model_name="bert")
    assert judged(world, first) is Outcome.PROMISED
    world.run_until(world.finished)
    second = unknown(world, model_name="bert")
    assert judged(world, second, 10.0) is Outcome.PROMISED
    assert world.row(second).measuring is None
