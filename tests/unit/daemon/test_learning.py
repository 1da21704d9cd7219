"""What the daemon makes of jobs that train otherwise than they were said to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.daemon.observe.capacity import ResourceScope
from ef_slurm.daemon.observe.stalls import StallLimits
from ef_slurm.daemon.settings import Settings
from ef_slurm.model import (
    EventKind,
    JobState,
    Outcome,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    ThroughputCurve,
)
from ef_slurm.slurm.types import HoldKind
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def story(world: World, job: QueueJob, kind: EventKind) -> list[str]:
    return [event.message for event in world.queue.events.all(job_id=job.id) if event.kind is kind]


def outcome(world: World, job: QueueJob) -> PromiseOutcome:
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    return promise.outcome


def shares(world: World, job: QueueJob) -> list[object]:
    events = world.queue.events.all(job_id=job.id)
    return [event.data["to"] for event in events if event.kind is EventKind.SHARE]


def test_a_job_that_slows_down_is_saved_by_growth(world: World) -> None:
    """At half its rate it needs all 16 GPUs, of which a best-effort job holds half."""
    job = world.submit(32_000, deadline=950.0)
    other = world.submit(400_000, deadline=None)
    world.run(150.0)
    before = world.row(job).share
    assert world.row(other).share > 0
    world.training(job).pace(world.clock.now, 0.5)
    world.run_until(lambda: world.row(job).note.startswith("trains at 0.5 of its rate"), 120.0)
    world.run_until(lambda: world.row(job).share > before, 30.0)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcome(world, job) is PromiseOutcome.KEPT


def test_a_job_that_cannot_be_saved_is_at_risk_long_before_its_deadline(world: World) -> None:
    job = world.submit(28_000, deadline=600.0)
    world.run(150.0)
    world.training(job).pace(world.clock.now, 0.3)
    world.run_until(lambda: world.row(job).promise is PromiseState.AT_RISK, 100.0)
    assert outcome(world, job) is PromiseOutcome.OPEN
    (at_risk,) = story(world, job, EventKind.PROMISE)[-1:]
    assert "it trains more slowly than its throughput curve says" in at_risk


def test_a_job_that_is_faster_than_told_makes_room(world: World) -> None:
    """Told half of what it reaches, it could not do without any GPU for a moment."""
    told = ThroughputCurve.of({4: 16.0, 8: 28.0, 16: 45.0})
    job = world.submit(40_000, deadline=1000.0, curve=told)
    world.training(job).rates = {4: 32.0, 8: 56.0, 16: 90.0}
    world.run(15.0)
    assert world.row(job).share == 16
    late = world.submit(20_000, deadline=390.0)
    world.step()
    verdict = world.queue.promises.verdict(late.id)
    assert verdict is not None
    assert verdict.outcome is Outcome.REJECTED
    world.run(100.0)
    newcomer = world.submit(20_000, deadline=390.0)
    world.run_until(world.finished, 3000.0)
    assert outcome(world, newcomer) is PromiseOutcome.KEPT
    assert outcome(world, job) is PromiseOutcome.KEPT
    assert len(shares(world, job)) > 1  # it gave GPUs back for the newcomer


def test_a_known_curve_that_falls_is_never_grown_past_its_peak(world: World) -> None:
    falls = ThroughputCurve.of({1: 10.0, 2: 18.0, 4: 32.0, 8: 28.0, 16: 20.0})
    job = world.submit(20_000, deadline=2000.0, curve=falls)
    world.run_until(world.finished, 2000.0)
    assert set(shares(world, job)) == {4}


def test_a_job_past_its_peak_steps_back(world: World) -> None:
    """It trained on 4 GPUs, was told that 8 are faster, grew, and is slower there."""
    job = world.submit(40_000, deadline=None, curve=ThroughputCurve.of({4: 32.0, 8: 56.0}))
    world.training(job).rates = {4: 32.0, 8: 24.0}
    world.cluster.occupy("user2", ("n2", "n3", "n4"), 4, 100.0, world.clock.now)
    world.run(90.0)
    assert world.row(job).share == 4
    world.run_until(lambda: world.row(job).share == 8, 60.0)
    world.run_until(
        lambda: "it trains no faster on more" in story(world, job, EventKind.SHARE)[-1], 120.0
    )
    assert world.row(job).share == 4
    world.run_until(world.finished, 5000.0)
    assert shares(world, job)[-1] == 4


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[World]:
    """A site that waits for minutes only."""
    limits = StallLimits(first_iteration=300.0, stalled=200.0)
    scope = ResourceScope(frozenset({"ef"}))
    settings = Settings(scope, idle_interval=5.0, uid=0, stall_limits=limits)
    world = World(tmp_path / "impatient.sqlite", settings=settings)
    yield world
    world.queue.close()


def test_a_job_that_hangs_gives_its_gpus_back_until_it_is_released(impatient: World) -> None:
    world = impatient
    job = world.submit(50_000, deadline=20_000.0)
    waiting = world.submit(100_000, deadline=10_000.0)
    world.run(100.0)
    world.training(job).hang(world.clock.now)
    world.run_until(lambda: world.state(job) is JobState.HELD, 2000.0)
    assert outcome(world, job) is PromiseOutcome.VOID
    held = world.row(job)
    assert held.running is None
    assert "it has stopped training and gives its GPUs back" in held.note
    assert world.training(job).slurm.nodes == ()
    # The GPUs are somebody else's, and stay so.
    world.run_until(lambda: world.row(waiting).share == 16, 300.0)
    world.restart()
    world.run(300.0)
    assert world.state(job) is JobState.HELD
    world.training(job).slurm.hold = HoldKind.NONE
    world.run_until(lambda: world.state(job) is JobState.COMPLETED, 50_000.0)
    # Judged anew when it was released: promised, and in time.
    assert [one.outcome for one in world.queue.promises.all() if one.job_id == job.id] == [
        PromiseOutcome.VOID,
        PromiseOutcome.KEPT,
    ]
    assert outcome(world, waiting) is PromiseOutcome.KEPT


def test_a_job_that_reports_nothing_has_no_promise_after_a_time(impatient: World) -> None:
    world = impatient
    job = world.submit(50_000, deadline=20_000.0, elastic=False)
    world.run_until(lambda: world.row(job).best_effort, 400.0)
    assert outcome(world, job) is PromiseOutcome.VOID
    world.run_until(world.finished, 20_000.0)
    assert world.state(job) is JobState.COMPLETED
