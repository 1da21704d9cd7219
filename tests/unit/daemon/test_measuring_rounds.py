"""Jobs of unknown speed whose launch measures itself, in a whole small world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ef_slurm.model import IfInfeasible, JobState, Outcome, PromiseOutcome, QueueJob
from tests.unit.daemon.live import LiveTraining, submit_live
from tests.unit.daemon.world import CURVE, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "queue.sqlite")


def unknown(
    world: World, iterations: int = 30_000, deadline: float = 2000.0, **more: Any
) -> tuple[QueueJob, LiveTraining]:
    return submit_live(world, iterations, deadline, known=False, **more)


def judged(world: World, job: QueueJob, limit: float = 600.0) -> float:
    """Seconds of training until it has its verdict."""
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    began = world.clock.now
    world.run_until(lambda: world.queue.promises.verdict(job.id) is not None, limit)
    return world.clock.now - began


def measured(world: World, job: QueueJob) -> dict[int, float]:
    events = world.queue.events.all(job_id=job.id)
    return {
        event.data["gpus"]: event.data["value"]  # type: ignore[misc]
        for event in events
        if event.data.get("what") == "rate" and event.data.get("brief")
    }


def story(world: World, job: QueueJob) -> str:
    return "\n".join(event.message for event in world.queue.events.all(job_id=job.id))


def test_one_launch_measures_all_sizes_and_is_judged_within_seconds(world: World) -> None:
    job, training = unknown(world, model_name="bert")
    assert judged(world, job) < 25.0
    assert (training.rounds, training.launches) == ([(4, 2, 1)], [4])
    ((_, curve),) = world.row(job).request.curves
    seen = dict(curve.points)
    for size in (1, 2, 4):
        assert seen[size] == pytest.approx(dict(CURVE.points)[size], rel=0.05)
    assert set(measured(world, job)) == {1, 2, 4}
    assert "trains on 1 of its 4 GPUs" not in story(world, job)
    known = {rate.gpus: rate.seconds for rate in world.queue.profiles.list("user1")}
    assert known == {1: 1.5, 2: 1.5, 4: 1.5}
    world.run(90.0)
    # What it trains at from then on is watched for longer, and counts.
    known = {rate.gpus: rate.seconds for rate in world.queue.profiles.list("user1")}
    assert max(known.values()) > 25.0
    assert "of its rate since" not in story(world, job)
    world.run_until(world.finished)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


def test_one_that_begins_on_one_gpu_measures_the_rest_in_its_second_launch(world: World) -> None:
    """Its script alone knows the batch, so that nobody knows whether it runs on many."""
    job, training = unknown(world, told=False)
    assert judged(world, job) < 60.0
    assert training.launches[-1] == 4
    assert training.rounds == [(1,), (4, 2)]
    assert set(measured(world, job)) == {1, 2, 4}


def test_sizes_across_nodes_are_measured_in_one_launch_too(world: World) -> None:
    # 4 GPUs would take 2500 s: more have to be looked at.
    job, training = unknown(world, 80_000, 1700.0)
    judged(world, job)
    assert training.rounds[0] == (4, 2, 1)
    assert training.rounds[1][0] >= 8
    assert set(measured(world, job)) >= {1, 2, 4, training.rounds[1][0]}
    verdict = world.queue.promises.verdict(job.id)
    assert verdict is not None
    assert verdict.outcome is Outcome.PROMISED


def test_a_library_that_knows_of_no_sizes_is_measured_as_ever(world: World) -> None:
    job, training = unknown(world)
    training.measures = False
    assert 50.0 < judged(world, job) < 200.0
    assert training.rounds == []
    assert training.change >= 2
    ((_, curve),) = world.row(job).request.curves
    assert dict(curve.points)[1] == pytest.approx(10.0, rel=0.05)


def test_a_launch_that_refuses_is_measured_as_ever(world: World) -> None:
    job, training = unknown(world)
    training.refuses = frozenset({4})
    assert judged(world, job) < 300.0
    assert training.rounds in ([], [(1,)])
    ((_, curve),) = world.row(job).request.curves
    assert {1, 4} <= set(dict(curve.points))


def test_a_launch_that_fails_in_it_is_not_asked_again(world: World) -> None:
    """One GPU may have too little memory for it."""
    job, training = unknown(world, if_infeasible=IfInfeasible.BEST_EFFORT)
    training.too_small = frozenset({1})
    assert judged(world, job) < 210.0
    assert training.rounds == [(4, 2, 1)]
    # It is launched on one GPU then, which fails too, and is told nothing of it again.
    assert story(world, job).count("launched again on n1") == 1
    ((_, curve),) = world.row(job).request.curves
    assert [size for size, _ in curve.points] == [4]
    world.run_until(world.finished)
    assert world.state(job) is JobState.COMPLETED


def test_killed_at_any_time_it_is_measured_all_the_same(world: World) -> None:
    job, training = unknown(world)
    while world.queue.promises.verdict(job.id) is None:
        world.run(3.0)
        world.restart()
        assert world.clock.now < job.request.submitted + 300.0
    assert training.rounds == [(4, 2, 1)]
    assert set(measured(world, job)) == {1, 2, 4}
    world.run_until(world.finished)
    assert world.state(job) is JobState.COMPLETED


def test_it_gives_way_in_the_midst_of_it(world: World) -> None:
    job, training = unknown(world, deadline=4000.0)
    world.run_until(lambda: bool(training.rounds))
    other = world.submit(88 * 500, deadline=520.0)  # needs all that there is
    world.run_until(lambda: world.queue.promises.verdict(other.id) is not None, 30.0)
    assert world.queue.promises.verdict(other.id).outcome is Outcome.PROMISED  # type: ignore[union-attr]
    world.run_until(world.finished, 6000.0)
    assert world.queue.promises.of(other.id).outcome is PromiseOutcome.KEPT  # type: ignore[union-attr]
    assert world.state(job) is JobState.COMPLETED
