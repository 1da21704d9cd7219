"""A job that reports something else each time that it is asked: nobody works for it without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ef_slurm.contract import LaunchState, Order
from ef_slurm.daemon.act.step_budget import SECONDS_PER_STEP, STEPS_AT_ONCE
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.model import EventKind, JobState, QueueJob
from tests.unit.daemon.live import submit_live
from tests.unit.daemon.world import World

MEMORY = Path("/dev/shm")
SECONDS = 60.0
MOST = STEPS_AT_ONCE + SECONDS / SECONDS_PER_STEP + 1

Lie = Callable[[JobReports, int], JobReports]


@pytest.fixture
def world() -> Iterator[World]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        world = World(Path(directory) / "queue.sqlite")
        yield world
        world.queue.close()


def lies(world: World, liar: QueueJob, lie: Lie) -> list[Order]:
    """From now on it answers each order so that it is given another one; returns the orders."""
    read, write = world.bench.read, world.bench.order
    given: list[Order] = []

    def lying(job: QueueJob) -> JobReports:
        reports = read(job)
        return lie(reports, len(given)) if job.id == liar.id else reports

    def counting(job: QueueJob, order: Order) -> None:
        if job.id == liar.id:
            given.append(order)
        write(job, order)

    world.bench.read = lying  # type: ignore[method-assign]
    world.bench.order = counting  # type: ignore[method-assign]
    return given


def waits_anew(reports: JobReports, orders: int) -> JobReports:
    """Its script stands alone again, after a launch that nobody has seen."""
    launch = reports.launch
    if launch is None:
        return reports
    generation = launch.generation + 1 + orders
    anew = replace(launch, generation=generation, state=LaunchState.WAITING)
    return replace(reports, launch=anew, progress=None)


def has_changed_anew(reports: JobReports, orders: int) -> JobReports:
    """It has changed its size, and what was ordered meets another number."""
    progress = reports.progress
    if progress is None:
        return reports
    anew = replace(progress, change=2 * orders, nodes="n1", world_size=4)
    return replace(reports, progress=anew, companion=None)


def too_much(world: World, job: QueueJob) -> list[str]:
    events = world.queue.events.all(job_id=job.id, kinds=[EventKind.ERROR])
    return [event.message for event in events if "too much is done" in event.message]


def test_a_script_that_waits_anew_each_time(world: World) -> None:
    job = world.submit(10**6, 200_000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.run(10.0)
    orders = lies(world, job, waits_anew)
    world.run(SECONDS)
    assert STEPS_AT_ONCE < len(orders) <= MOST
    assert len(too_much(world, job)) == 1


def test_a_launch_that_has_changed_anew_each_time(world: World) -> None:
    world.cluster.occupy("user9", ("n2", "n3", "n4"), 4, 40.0, world.clock.now)
    job, _ = submit_live(world, 400_000, deadline=40_000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    orders = lies(world, job, has_changed_anew)
    world.run(40.0 + SECONDS)
    assert len(world.queue.companions.of(job.id)) == 1  # it does not grow so a second time
    assert len(orders) <= STEPS_AT_ONCE


def test_its_gpus_come_back_all_the_same(world: World) -> None:
    liar = world.submit(10**6, None)
    world.run_until(lambda: world.state(liar) is JobState.RUNNING)
    lies(world, liar, waits_anew)
    world.run(SECONDS)
    promised = world.submit(20_000, deadline=400.0)
    world.run_until(lambda: world.state(promised) is JobState.RUNNING, 60.0)
