"""Arrays: never half of one, so many at once, and promised each by itself or all together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.daemon.plan.dependencies import ARRAY_SECONDS
from ef_slurm.formats.dependencies import parse_dependency
from ef_slurm.model import (
    ArrayMember,
    GateState,
    JobChange,
    JobState,
    Outcome,
    PromiseOutcome,
    QueueJob,
)
from ef_slurm.queue import queries
from tests.unit.daemon.world import World

ITERATIONS = 40_000
"""444 s on 16 GPUs, 1250 s on 4."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def members(
    world: World,
    count: int,
    deadline: float | None,
    *,
    of: int = 0,
    most: int = 0,
    together: bool = False,
    iterations: int = ITERATIONS,
) -> list[QueueJob]:
    """`count` jobs of an array of `of`, registered one after the other."""
    jobs: list[QueueJob] = []
    size = of or count
    name = 0
    for task in range(count):
        name = name or len(world.cluster.jobs) + 1
        array = ArrayMember(name, task, size, 0, size - 1, 1, most, together)
        jobs.append(world.submit(iterations, deadline, array=array))
    assert jobs[0].request.slurm_job_id == name
    return jobs


def outcomes(world: World, jobs: list[QueueJob]) -> list[Outcome | None]:
    verdicts = [world.queue.promises.verdict(job.id) for job in jobs]
    return [None if verdict is None else verdict.outcome for verdict in verdicts]


def test_each_is_judged_by_itself(world: World) -> None:
    jobs = members(world, 5, 1500.0)
    world.run(3.0)
    found = outcomes(world, jobs)
    assert set(found) == {Outcome.PROMISED, Outcome.REJECTED}
    assert found == sorted(found, key=lambda one: one is Outcome.REJECTED)  # in turn
    world.run_until(world.finished)
    kept = [world.queue.promises.of(job.id) for job in jobs]
    assert {one.outcome for one in kept if one is not None} == {PromiseOutcome.KEPT}


def test_all_or_none(world: World) -> None:
    jobs = members(world, 5, 1500.0, together=True)
    world.run(3.0)
    assert outcomes(world, jobs) == [Outcome.REJECTED] * 5
    assert {world.state(job) for job in jobs} == {JobState.REJECTED}
    verdict = world.queue.promises.verdict(jobs[0].id)
    assert verdict is not None
    assert "not promised together: " in verdict.explanation
    assert world.queue.promises.of(jobs[0].id) is None
    again = members(world, 5, 4000.0, together=True)
    world.run(3.0)
    assert outcomes(world, again) == [Outcome.PROMISED] * 5


def test_none_of_some_leaves_the_others_their_room(world: World) -> None:
    members(world, 5, 1500.0, together=True)
    single = world.submit(ITERATIONS, 1500.0)
    world.run(3.0)
    assert outcomes(world, [single]) == [Outcome.PROMISED]


@pytest.mark.parametrize("restart", [False, True])
def test_half_an_array_never_starts(world: World, restart: bool) -> None:
    jobs = members(world, 2, 9000.0, of=3)
    world.run(ARRAY_SECONDS / 2)
    if restart:
        world.restart()
    world.run(10.0)
    assert [world.state(job) for job in jobs] == [JobState.NEW] * 2
    assert outcomes(world, jobs) == [None, None]
    world.run(ARRAY_SECONDS)
    assert [world.state(job) for job in jobs] == [JobState.CANCELLED] * 2
    told = [event.message for event in world.queue.events.all(job_id=jobs[0].id)]
    assert any("2 of 3 jobs" in message for message in told)
    world.run(30.0)
    assert all(world.slurm.job(job.request.slurm_job_id).is_final for job in jobs)


def test_the_rest_of_an_array_may_come_later(world: World) -> None:
    first = members(world, 2, 9000.0, of=3)
    world.run(ARRAY_SECONDS / 2)
    array = first[0].request.array
    assert array is not None
    last = world.submit(ITERATIONS, 9000.0, array=ArrayMember(array.job_id, 2, 3, 0, 2))
    world.run(3.0)
    assert outcomes(world, [*first, last]) == [Outcome.PROMISED] * 3
    assert world.row(last).gate is not None
    assert {world.row(job).gate.state for job in first} == {GateState.OPEN}  # type: ignore[union-attr]


@pytest.mark.parametrize("deadline", [None, 20_000.0])
def test_no_more_run_at_once_than_may(world: World, deadline: float | None) -> None:
    jobs = members(world, 4, deadline, most=2, iterations=10_000)
    most = 0
    for _ in range(10_000):
        world.step()
        most = max(most, sum(world.row(job).running is not None for job in jobs))
        if world.finished():
            break
    assert most == 2
    assert {world.state(job) for job in jobs} == {JobState.COMPLETED}


def test_the_throttle_enters_the_promise(world: World) -> None:
    """One after the other they need twice the time that they would need side by side."""
    side_by_side = members(world, 4, 1400.0)
    world.run(3.0)
    promised = outcomes(world, side_by_side).count(Outcome.PROMISED)
    for job in side_by_side:
        world.slurm.cancel(job.request.slurm_job_id)
    world.run(30.0)
    in_turn = members(world, 4, 1400.0, most=1)
    world.run(3.0)
    assert outcomes(world, in_turn).count(Outcome.PROMISED) <= promised
    refused = outcomes(world, in_turn).index(Outcome.REJECTED)
    verdict = world.queue.promises.verdict(in_turn[refused].id)
    assert verdict is not None
    world.run_until(world.finished)


def test_by_its_name_an_array_is_all_of_its_jobs(world: World) -> None:
    single = world.submit(100, None)
    jobs = members(world, 3, 9000.0)
    name = jobs[0].request.slurm_job_id
    listed = queries.list_jobs(world.queue, 0.0, job_ids=(name, single.request.slurm_job_id))
    assert [one.job_id for one in listed.jobs] == [
        single.request.slurm_job_id,
        *(job.request.slurm_job_id for job in jobs),
    ]
    (one,) = queries.list_jobs(world.queue, 0.0, job_ids=(name + 1,)).jobs
    assert one.array is not None
    assert one.array.name == f"{name}_1"


def test_a_recycled_name_is_the_latest_array(world: World) -> None:
    old = members(world, 2, None)
    world.run_until(world.finished)
    world.clock.now += 2 * 86400.0
    array = old[0].request.array
    assert array is not None
    new = world.submit(100, None, array=ArrayMember(array.job_id, 1, 2, 0, 1))
    assert world.queue.jobs.of_array(array.job_id) == (world.row(new),)


def test_an_array_that_was_there_is_not_waited_for_again(world: World) -> None:
    """What its other jobs have become, and when they are forgotten, is nothing to one of them."""
    first, other = (world.submit(400_000, None) for _ in range(2))
    name = len(world.cluster.jobs) + 1
    waits = f"afterany:{first.request.slurm_job_id}"
    jobs = [
        world.submit(ITERATIONS, 90_000.0, after=waits, array=ArrayMember(name, task, 2, 0, 1))
        for task in range(2)
    ]
    world.run(3.0)
    world.queue._database.execute("UPDATE jobs SET array_job = NULL WHERE id = ?", (jobs[0].id,))
    world.clock.now += ARRAY_SECONDS
    wanted = parse_dependency(f"afterany:{other.request.slurm_job_id}")
    world.scheduler.change(jobs[1].id, JobChange(dependency=wanted), "user1")
    world.run(10.0)
    row = world.row(jobs[1])
    assert row.state is JobState.NEW
    assert row.gate is not None
    assert row.gate.words == f"waits for job {other.request.slurm_job_id} to end"
