"""What is known of the jobs that others wait for, at a cost that nobody's dependencies drive up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon.plan.waited_for import WaitedFor
from ef_slurm.model import LOST_WINDOW_SECONDS, GateState, JobState, QueueJob
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


@pytest.fixture
def known(world: World) -> WaitedFor:
    observer = world.scheduler._observer
    observer.refresh()
    return WaitedFor(world.queue, observer)


def looked(world: World, known: WaitedFor, job: QueueJob) -> list[str]:
    """How far the jobs have come that a job waits for, in a tick of its own."""
    world.scheduler._observer.refresh()
    known.look(world.queue.jobs.all())
    conditions = job.request.dependency.conditions
    return [one.came.value for each in conditions for one in known.others(each, job.request, job)]


def test_each_is_read_once_however_many_wait_for_it(
    world: World, known: WaitedFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [world.submit(40_000, 5000.0) for _ in range(4)]
    words = ",".join(f"afterok:{job.request.slurm_job_id}" for job in first)
    waiting = [world.submit(40_000, 90_000.0, after=words) for _ in range(10)]
    ended = world.queue.jobs.move(first[0].id, JobState.CANCELLED, at=1.0, actor="x", why="")
    reads: Counter[int] = Counter()
    get = world.queue.jobs.get
    monkeypatch.setattr(world.queue.jobs, "get", lambda row: (reads.update([row]), get(row))[1])
    for _tick in range(3):
        for job in waiting:
            known.others(job.request.dependency.conditions[0], job.request, job)
        known.look(world.queue.jobs.all())
        for job in waiting:
            for condition in job.request.dependency.conditions:
                known.others(condition, job.request, job)
    assert reads == {ended.id: 1}


def test_slurm_is_asked_nothing_and_two_looks_tell_that_a_job_is_gone(
    world: World, known: WaitedFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = world.submit(40_000, None, after="afterany:7777")

    def asked(_: int) -> None:
        raise AssertionError("a question to Slurm in a tick")

    monkeypatch.setattr(world.scheduler._observer, "fetch", asked)
    conditions = waits.request.dependency.conditions
    known.look(world.queue.jobs.all())
    for _ in range(2):  # the same look twice: it may have come since
        (other,) = known.others(conditions[0], waits.request, waits)
        assert other.came.value == "waits"
    world.clock.now += 10.0
    assert looked(world, known, waits) == ["gone"]
    world.clock.now += 10.0
    assert looked(world, known, waits) == ["gone"]


def test_a_lost_job_is_waited_for_as_long_as_it_may_be_submitted_again(
    world: World, known: WaitedFor
) -> None:
    lost = world.submit(40_000, None)
    waits = world.submit(40_000, None, after=f"afterany:{lost.request.slurm_job_id}")
    now = world.clock.now
    world.queue.jobs.move(lost.id, JobState.LOST, at=now, actor="x", why="", ended_at=now)
    assert looked(world, known, waits) == ["waits"]
    world.clock.now += LOST_WINDOW_SECONDS
    assert looked(world, known, waits) == ["waits"]
    world.clock.now += 1.0
    assert looked(world, known, waits) == ["gone"]


def test_a_job_that_came_since_the_last_look_is_waited_for(world: World, known: WaitedFor) -> None:
    waits = world.submit(40_000, None, after="afterany:7777")
    known.look(world.queue.jobs.all())
    (other,) = known.others(waits.request.dependency.conditions[0], waits.request, waits)
    foreign = world.cluster.add_job("user1", "other", now=world.clock.now)
    foreign.job_id, world.cluster.jobs[7777] = 7777, foreign
    world.clock.now += 10.0
    assert other.came.value == "waits"
    assert looked(world, known, waits) == ["waits"]


def test_namesakes_are_the_owners_earlier_ones_that_go_on(world: World, known: WaitedFor) -> None:
    jobs = [world.submit(40_000, None, name="same", after="singleton") for _ in range(3)]
    world.submit(40_000, None, name="other", after="singleton")
    assert [len(looked(world, known, job)) for job in jobs] == [0, 1, 2]
    world.queue.jobs.move(jobs[0].id, JobState.CANCELLED, at=1.0, actor="x", why="")
    known.changed(world.queue.jobs.get(jobs[0].id))
    (condition,) = jobs[2].request.dependency.conditions
    names = [one.name for one in known.others(condition, jobs[2].request, jobs[2])]
    assert names == [f"job {jobs[1].request.slurm_job_id}"]
    stranger = replace(jobs[2].request, uid=4711)
    assert known.others(condition, stranger, None) == []


def test_of_any_that_are_gone_the_one_that_is_left_is_waited_for(world: World) -> None:
    first = world.submit(400_000, None)
    words = f"afterok:7777?afterok:7778?afterok:{first.request.slurm_job_id}"
    waits = world.submit(40_000, None, after=words)
    world.run(100.0)
    gate = world.row(waits).gate
    assert gate is not None
    assert (gate.state, gate.words) == (
        GateState.UNKNOWN,
        f"waits for job {first.request.slurm_job_id} to complete",
    )
