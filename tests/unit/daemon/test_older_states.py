"""slurmctld is killed right after an action, and comes back with the state from before it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.model import FINAL, JobState, PromiseOutcome, QueueJob
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.fakes.memory_cluster import MemoryJob, Timing
from tests.unit.daemon.make import launch
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    timing = Timing(start=3.0, stop=0.3, min_job_age=1e12)
    world = World(tmp_path / "queue.sqlite", timing=timing)
    yield world
    world.queue.close()


def as_it_is(job: MemoryJob) -> MemoryJob:
    return copy.copy(job)


def comes_back(world: World, job: MemoryJob, before: MemoryJob) -> None:
    """slurmctld knows a job as it was before."""
    for field in fields(MemoryJob):
        if field.name not in ("signals", "settings"):
            setattr(job, field.name, getattr(before, field.name))
    world.cluster.restart()


def released(world: World) -> tuple[QueueJob, MemoryJob, MemoryJob]:
    """A job that was released a second ago, and what Slurm knew of it before."""
    job = world.submit(2000, deadline=1000.0)
    slurm = world.training(job).slurm
    before = as_it_is(slurm)
    while slurm.hold is not HoldKind.NONE:
        before = as_it_is(slurm)
        world.step(world.clock.now + 1.0)
    assert world.state(job) is JobState.STARTING
    return job, slurm, before


def is_kept(world: World, job: QueueJob) -> bool:
    world.run_until(lambda: world.state(job) in FINAL, 2000)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    return (world.state(job), promise.outcome) == (JobState.COMPLETED, PromiseOutcome.KEPT)


@pytest.mark.parametrize("hold", [HoldKind.USER, HoldKind.ADMIN, HoldKind.UNKNOWN])
@pytest.mark.parametrize("daemon_dies", [False, True])
def test_a_lost_release_is_done_again(world: World, hold: HoldKind, daemon_dies: bool) -> None:
    job, slurm, before = released(world)
    before.hold = hold
    comes_back(world, slurm, before)
    if daemon_dies:
        world.restart()
    world.run(5.0)
    assert world.state(job) is not JobState.HELD
    assert is_kept(world, job)


@pytest.mark.parametrize("hold", [HoldKind.USER, HoldKind.ADMIN])
def test_a_hold_of_the_same_slurmctld_is_somebodys(world: World, hold: HoldKind) -> None:
    job, slurm, _ = released(world)
    slurm.hold = hold
    world.run(5.0)
    assert world.state(job) is JobState.HELD


def test_a_hold_after_the_second_release_is_somebodys_too(world: World) -> None:
    job, slurm, before = released(world)
    comes_back(world, slurm, before)
    world.run_until(lambda: slurm.hold is HoldKind.NONE, 200)
    slurm.hold = HoldKind.ADMIN
    world.run(5.0)
    assert world.state(job) is JobState.HELD


@pytest.mark.parametrize("runs", [False, True])
def test_no_report_ends_an_operators_hold(world: World, runs: bool) -> None:
    """Its owner says that the run that Slurm holds it from has begun, and is forgotten."""
    liar, slurm, _ = released(world)
    read = world.bench.read

    def lying(job: QueueJob) -> JobReports:
        said = launch(slurm_job_id=slurm.job_id, restart_count=slurm.restarts)
        return replace(read(job), launch=said, progress=None)

    if runs:
        world.run_until(lambda: world.state(liar) is JobState.RUNNING)
    world.bench.read = lying  # type: ignore[method-assign]
    if runs:
        world.cluster.requeue(slurm, world.clock.now)  # scontrol requeuehold
    slurm.hold = HoldKind.ADMIN
    world.run(120.0)
    assert (world.state(liar), slurm.hold) == (JobState.HELD, HoldKind.ADMIN)


def test_a_run_that_was_seen_and_is_forgotten_is_ended_first(world: World) -> None:
    """Its script had not reported yet: Slurm's word was all that the daemon knew of it."""
    job, slurm, before = released(world)
    world.run_until(lambda: slurm.state is JobBaseState.RUNNING)
    world.scheduler.refresh_soon()
    world.scheduler.tick()
    comes_back(world, slurm, before)
    found = world.clock.now
    world.run_until(lambda: slurm.hold is HoldKind.NONE, 200)
    assert world.clock.now - found >= world.settings.timeouts.forgotten
    assert is_kept(world, job)


def test_a_slurmctld_that_remembers_the_release_starts_the_job(world: World) -> None:
    job, _, _ = released(world)
    world.cluster.restart()
    world.run(10.0)
    events = [event.message for event in world.queue.events.all(job_id=job.id)]
    assert not [words for words in events if "forgotten" in words]
    assert is_kept(world, job)


def test_a_lost_update_is_told_again(world: World) -> None:
    """The shape that it comes back with may be another one, and its begin time an hour away."""
    job = world.submit(2000, deadline=1000.0)
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold = HoldKind.ADMIN
    before = as_it_is(slurm)
    before.begin = world.clock.now + 3600.0
    while slurm.hold is not HoldKind.NONE:
        world.step(world.clock.now + 1.0)
    comes_back(world, slurm, before)
    assert is_kept(world, job)


@pytest.mark.parametrize("exit_code", [0, 143])
def test_a_lost_requeue_is_no_end_and_no_failed_start(world: World, exit_code: int) -> None:
    job = world.submit(20_000, deadline=3000.0)
    slurm = world.training(job).slurm
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.run(30.0)
    before = as_it_is(slurm)
    world.cluster.timing = Timing(start=0.3, stop=2.0, min_job_age=1e12)
    world.scheduler._acting.reconciler.requeue(job.id)
    world.run_until(lambda: slurm.completing_until is not None, 60)
    comes_back(world, slurm, before)
    world.cluster.finish(slurm.job_id, world.clock.now, exit_code=exit_code)
    slurm.completing_until, slurm.becomes = world.clock.now + 5.0, slurm.state
    world.run(10.0)
    assert world.row(job).failed_starts == 0
    assert is_kept(world, job)
