"""A clock that is set back makes nobody wait for as much longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.daemon.pauses import Pauses
from ef_slurm.daemon.plan import plannable
from ef_slurm.model import JobState
from tests.unit.daemon.world import World

HOUR = 3600.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def test_a_pause_ends() -> None:
    pauses = Pauses()
    assert pauses.until(1, 100.0) is None
    pauses.begin(1, 30.0, 100.0)
    assert (pauses.until(1, 129.0), pauses.until(1, 130.0)) == (130.0, None)
    assert pauses.until(2, 129.0) is None
    pauses.end(1)
    assert pauses.until(1, 129.0) is None


def test_a_clock_that_is_set_back_ends_a_pause() -> None:
    pauses = Pauses()
    pauses.begin(1, 30.0, HOUR)
    assert pauses.until(1, HOUR - 1.0) == HOUR + 30.0  # a little is nothing
    assert pauses.until(1, HOUR - 30.0) is None


def test_only_those_that_are_there_are_kept() -> None:
    pauses = Pauses()
    for job_id in (1, 2):
        pauses.begin(job_id, 30.0, 100.0)
    pauses.keep({2, 3})
    assert [pauses.until(job_id, 101.0) for job_id in (1, 2, 3)] == [None, 130.0, None]


def test_who_was_set_aside_is_planned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(plannable, "planner_jobs", fails)
        job = world.submit(20_000, deadline=None)
        world.run(10)
        assert world.state(job) is JobState.NEW
    world.clock.now -= HOUR
    world.run(60)
    assert world.state(job) is JobState.RUNNING


def test_a_plan_of_before_is_made_anew(world: World) -> None:
    world.submit(200_000, deadline=None)
    world.run(60)
    world.clock.now -= HOUR
    set_back = world.clock.now
    world.run(10)
    plan = world.queue.plans.last()
    assert plan is not None
    assert set_back <= plan.made_at <= world.clock.now
