"""Who may say on how many of its GPUs a job trains, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ef_slurm.api.identity import Caller, Transport
from ef_slurm.api.messages import Failure, FailureCode, Response, TrainOn, TrainsOn
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.failures import failure_of
from ef_slurm.daemon.serve.requests import Dispatch
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from ef_slurm.daemon.serve.visibility import Viewer, Visibility
from ef_slurm.model import EventKind, QueueJob, QueueLimits
from ef_slurm.queue.store import Queue
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite", nodes=2)
    yield world
    world.queue.close()


@pytest.fixture
def ask(world: World, tmp_path: Path) -> Iterator[Callable[..., Response]]:
    context = ServerContext(
        scheduler=world.scheduler,
        calls=SchedulerCalls(),
        slurm=world.slurm,
        open_queue=lambda: Queue.open(tmp_path / "queue.sqlite", create=False),
        cluster="",
        partition="ef",
        limits=QueueLimits(),
        user="ef-slurm",
        version="1",
        started=0.0,
        advisory=False,
        visibility=Visibility(world.slurm.configuration, lambda _: None),
    )
    dispatch = Dispatch(context)

    def do(job: QueueJob, gpus: int | None, uid: int = 0) -> Response:
        request = TrainOn(job.request.slurm_job_id, gpus)
        try:
            caller = Caller(uid, 0, Transport.UNIX)
            return dispatch.answer(caller, Viewer(uid, sees_all=True), request)
        except Exception as error:
            failure = failure_of(error)
            assert failure is not None
            return failure

    yield do
    dispatch.close()


def training(world: World, deadline: float | None = None) -> QueueJob:
    job = world.submit(1_000_000, deadline=deadline)
    world.run_until(lambda: world.training(job).trains_from < world.clock.now)
    return job


def code(answer: Response) -> FailureCode:
    assert isinstance(answer, Failure)
    return answer.code


def test_a_part_of_its_gpus(world: World, ask: Callable[..., Response]) -> None:
    job = training(world)
    name = job.request.slurm_job_id
    assert ask(job, 2) == TrainsOn(name, 2, 8)
    assert ask(job, 2) == TrainsOn(name, 2, 8)  # twice is once
    shares = world.queue.events.all(job_id=job.id, kinds=[EventKind.SHARE])
    told = [event.message for event in shares]
    assert told.count("trains on 2 of its 8 GPUs: root wants it so") == 1
    world.run(60.0)
    assert world.training(job).launches == [8, 2]
    assert ask(job, None) == TrainsOn(name, 8, 8)
    world.run(60.0)
    assert world.training(job).launches == [8, 2, 8]


@pytest.mark.parametrize("gpus", [0, 3, 16, -1])
def test_a_part_that_it_does_not_hold(
    world: World, ask: Callable[..., Response], gpus: int
) -> None:
    assert code(ask(training(world), gpus)) is FailureCode.BAD_REQUEST


def test_only_its_owner(world: World, ask: Callable[..., Response]) -> None:
    assert code(ask(training(world), 1, uid=4711)) is FailureCode.DENIED


def test_a_job_with_a_promise_trains_on_its_plan(
    world: World, ask: Callable[..., Response]
) -> None:
    assert code(ask(training(world, deadline=500_000.0), 1)) is FailureCode.BAD_REQUEST


def test_a_job_without_gpus(world: World, ask: Callable[..., Response]) -> None:
    job = world.submit(1000, deadline=None)
    refused = ask(job, 1)
    assert code(refused) is FailureCode.BAD_REQUEST
    assert isinstance(refused, Failure)
    assert "holds no GPUs now" in refused.message
