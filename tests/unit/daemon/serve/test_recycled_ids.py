"""slurmctld forgets a submission, and gives its id to the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.api.identity import Caller, Transport
from ef_slurm.api.messages import Failure, FailureCode, Register, Registered, Response
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.failures import failure_of
from ef_slurm.daemon.serve.registration import RecycledIdError
from ef_slurm.daemon.serve.requests import Dispatch
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from ef_slurm.daemon.serve.visibility import Viewer, Visibility
from ef_slurm.model import (
    ACTIVE,
    FINAL,
    IntentAction,
    IntentState,
    JobRequest,
    JobState,
    PromiseOutcome,
    QueueJob,
    QueueLimits,
)
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.fakes.memory_cluster import MemoryJob, Timing
from tests.unit.daemon.make import SCRIPT
from tests.unit.daemon.world import Training, World

NOBODYS = 4711


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    timing = Timing(start=3.0, stop=0.3, min_job_age=1e12)
    world = World(tmp_path / "queue.sqlite", timing=timing)
    yield world
    world.queue.close()


def register(world: World, request: JobRequest, uid: int = 0, *, lose: bool = True) -> Response:
    """As `daemon.serve.handler` does it; without `lose` the scheduler's thread has no time."""
    context = ServerContext(
        scheduler=world.scheduler,
        calls=SchedulerCalls(),
        slurm=world.slurm,
        open_queue=lambda: Queue.open(world.path, create=False),
        cluster="",
        partition="ef",
        limits=QueueLimits(),
        user="ef-slurm",
        version="1",
        started=0.0,
        advisory=False,
        visibility=Visibility(world.slurm.configuration, lambda _: None),
        clock=world.clock,
    )
    caller, viewer = Caller(uid, uid, Transport.UNIX), Viewer(uid, sees_all=False)
    asked = Register(request, SCRIPT)
    with closing(Dispatch(context)) as dispatch:
        try:
            try:
                return dispatch.answer(caller, viewer, asked)
            except RecycledIdError as error:
                if not lose:
                    raise
                world.scheduler.lose(error.job_id)
            return dispatch.answer(caller, viewer, asked)
        except Exception as error:
            failure = failure_of(error)
            assert failure is not None
            return failure


def resubmits(world: World, *, yes: bool) -> None:
    """Whether the daemon may submit the jobs again that Slurm has lost."""
    world.settings = replace(world.settings, uid=0 if yes else NOBODYS)
    world.restart()


def forgets(world: World, job: QueueJob, seconds: float = 5.0) -> None:
    """slurmctld comes back, so many seconds later, as it was before the submission."""
    number = job.request.slurm_job_id
    slurm = world.cluster.jobs.pop(number)
    slurm.state, slurm.completing_until = JobBaseState.CANCELLED, None
    slurm.ended = world.clock.now
    del world.bench.trainings[number]
    world.cluster.last_id = number - 1
    world.cluster.restart()
    world.clock.now += seconds


def next_one(
    world: World, job: QueueJob, uid: int = 0, iterations: int = 2000
) -> tuple[JobRequest, MemoryJob]:
    """The next submission, of the same name and size: it gets the id that was forgotten."""
    now = world.clock.now
    slurm = world.cluster.add_job("user1", "train", now=now, uid=uid)
    assert slurm.job_id == job.request.slurm_job_id
    slurm.time_limit, slurm.settings["time limit"] = float("inf"), "unlimited"
    rates = dict(job.request.curves[0][1].points)
    world.bench.trainings[slurm.job_id] = Training(slurm, iterations, rates, 5.0, 0.5)
    directory = f"/shared/next-{uid}"
    request = replace(
        job.request, submitted=now, state_dir=directory, deadline=now + 2000.0, uid=uid
    )
    return request, slurm


def trains(world: World, job: QueueJob) -> None:
    """What was submitted again in the job's place is a training, too: it comes to an end."""
    request = world.row(job).request
    slurm, rates = world.cluster.jobs[request.slurm_job_id], dict(request.curves[0][1].points)
    world.bench.trainings[slurm.job_id] = Training(slurm, 2000, rates, 5.0, 0.5)


def code(answer: Response) -> FailureCode:
    assert isinstance(answer, Failure), answer
    return answer.code


def rows(world: World) -> dict[str, QueueJob]:
    return {job.request.state_dir: job for job in world.queue.jobs.all(ACTIVE | FINAL)}


def is_kept(world: World, job: QueueJob) -> bool:
    world.run_until(lambda: world.state(job) in FINAL, 5000)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    return (world.state(job), promise.outcome) == (JobState.COMPLETED, PromiseOutcome.KEPT)


def test_a_registration_repeated_is_the_rows(world: World) -> None:
    job = world.submit(2000, deadline=1000.0)
    once = Registered(job.request.slurm_job_id, created=False)
    assert register(world, job.request) == once
    world.clock.now += 100.0
    assert register(world, job.request) == once
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    assert register(world, job.request) == once
    world.cluster.requeue(world.training(job).slurm, world.clock.now)
    assert register(world, job.request) == once
    assert len(rows(world)) == 1


@pytest.mark.parametrize("state", [JobState.NEW, JobState.STARTING, JobState.RUNNING])
@pytest.mark.parametrize("may", [True, False])
def test_the_next_one_is_a_job_of_its_own(world: World, state: JobState, may: bool) -> None:
    resubmits(world, yes=may)
    old = world.submit(2000, deadline=4000.0)
    world.run_until(lambda: world.state(old) is state)
    forgets(world, old)
    request, slurm = next_one(world, old)
    assert register(world, request) == Registered(slurm.job_id, created=True)
    new = rows(world)[request.state_dir]
    latest = world.queue.jobs.of_slurm(slurm.job_id)
    assert latest is not None
    assert latest.id == new.id
    assert world.state(old) is JobState.LOST
    assert not [one for one in world.queue.intents.unfinished() if one.job_id == old.id]
    assert register(world, request) == Registered(slurm.job_id, created=False)
    world.step()
    again = world.row(old)
    if may:
        assert again.state in ACTIVE
        assert again.request.slurm_job_id != slurm.job_id
        trains(world, old)
    else:
        assert again.state is JobState.LOST
    assert is_kept(world, new)


def test_the_older_one_goes_on_where_it_was(world: World) -> None:
    old = world.submit(2000, deadline=4000.0)
    world.run_until(lambda: world.state(old) is JobState.STARTING)
    forgets(world, old)
    request, _ = next_one(world, old)
    register(world, request)
    world.step()
    trains(world, old)
    assert is_kept(world, rows(world)[request.state_dir])
    assert is_kept(world, old)


def test_what_was_on_its_way_does_not_reach_the_next_one(world: World) -> None:
    old = world.submit(2000, deadline=4000.0)
    world.run_until(lambda: world.state(old) is JobState.STARTING)
    (intent,) = world.queue.intents.unfinished()
    assert (intent.job_id, intent.action) == (old.id, IntentAction.RELEASE)
    resubmits(world, yes=False)
    forgets(world, old)
    request, slurm = next_one(world, old)
    register(world, request)
    assert world.queue.intents.get(intent.id).state is IntentState.ABANDONED
    new = rows(world)[request.state_dir]
    assert (slurm.hold, slurm.min_nodes, world.state(new)) == (HoldKind.USER, 1, JobState.NEW)
    assert is_kept(world, new)


@pytest.mark.parametrize("may", [True, False])
@pytest.mark.parametrize("state", [JobState.STARTING, JobState.RUNNING])
@pytest.mark.parametrize("seconds", [5.0, -100.0])  # slurmctld's clock may have been set back
def test_before_it_is_registered_the_next_one_is_nobodys(
    world: World, state: JobState, seconds: float, may: bool
) -> None:
    resubmits(world, yes=may)
    old = world.submit(2000, deadline=4000.0)
    world.run_until(lambda: world.state(old) is state)
    forgets(world, old, seconds)
    request, slurm = next_one(world, old)
    world.scheduler.refresh_soon()
    world.scheduler.tick()
    again = world.row(old)
    if may:
        assert again.request.slurm_job_id != slurm.job_id
        assert again.state in ACTIVE
        trains(world, old)
    else:
        assert again.state is JobState.LOST
        assert str(slurm.job_id) in again.note
        told = [event.message for event in world.queue.events.all(job_id=old.id)]
        assert any("to another submission" in message for message in told)
    world.run(30.0)
    assert (slurm.state, slurm.hold) == (JobBaseState.PENDING, HoldKind.USER)
    request = replace(request, submitted=world.clock.now)
    assert register(world, request) == Registered(slurm.job_id, created=True)
    assert is_kept(world, rows(world)[request.state_dir])


def test_a_requeue_makes_no_other_job_of_it(world: World) -> None:
    job = world.submit(2000, deadline=4000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.submitted = world.clock.now
    world.restart()
    assert is_kept(world, job)
    assert world.row(job).request.slurm_job_id == job.request.slurm_job_id


def test_what_slurm_took_is_known_from_the_registration_on(world: World) -> None:
    old = world.submit(2000, deadline=4000.0)
    forgets(world, old)
    request, slurm = next_one(world, old)
    register(world, request)
    new = rows(world)[request.state_dir]
    assert new.slurm_submitted == world.slurm.job(slurm.job_id).submit_time is not None


def test_a_killed_daemon_leaves_no_half(world: World) -> None:
    """Between the two writes: the older job is lost, as it is, and the next one can be told."""
    old = world.submit(2000, deadline=4000.0)
    world.run(0.5)
    forgets(world, old)
    request, slurm = next_one(world, old)
    assert code(register(world, request, lose=False)) is FailureCode.BUSY
    assert world.state(old) in ACTIVE
    assert request.state_dir not in rows(world)
    world.scheduler.lose(old.id)
    world.restart()
    assert world.state(old) is JobState.LOST
    world.scheduler.lose(old.id)  # whoever has ended stays as it is
    assert register(world, request) == Registered(slurm.job_id, created=True)
    world.step()
    assert is_kept(world, rows(world)[request.state_dir])


def test_a_finished_training_is_not_lost_with_its_slurm_job(world: World) -> None:
    old = world.submit(2000, deadline=4000.0)
    world.run_until(lambda: world.training(old).finish_time() <= world.clock.now + 1.0)
    world.clock.now += 2.0
    world.bench.advance()
    training = world.training(old)
    forgets(world, old)
    request, slurm = next_one(world, old)
    newcomers = world.bench.trainings[slurm.job_id]
    world.bench.trainings[slurm.job_id] = training  # what lies in the older one's directory
    world.scheduler._observer.read_reports([world.row(old)])
    assert register(world, request) == Registered(slurm.job_id, created=True)
    world.bench.trainings[slurm.job_id] = newcomers
    assert world.state(old) is JobState.COMPLETED
    assert is_kept(world, rows(world)[request.state_dir])


def test_a_second_row_for_the_same_slurm_job(world: World) -> None:
    """Whoever registers a job twice, or what Slurm forgot before its id was used again."""
    job = world.submit(2000, deadline=1000.0)
    other = replace(job.request, state_dir="/shared/other")
    for _ in range(3):
        refused = register(world, other)
        assert code(refused) is FailureCode.UNKNOWN_JOB
        assert isinstance(refused, Failure)
        assert "/shared/other" not in refused.message
        assert job.request.state_dir in refused.message
        world.run(5.0)
    # Slurm counts a requeue as a submission.
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.cluster.requeue(world.training(job).slurm, world.clock.now)
    world.training(job).slurm.submitted = world.clock.now
    assert code(register(world, other)) is FailureCode.UNKNOWN_JOB
    assert is_kept(world, job)
    assert len(rows(world)) == 1


def test_a_clock_that_was_set_back_makes_no_row_the_wrong_ones(world: World) -> None:
    old = world.submit(2000, deadline=4000.0)
    forgets(world, old, seconds=-100.0)
    request, _ = next_one(world, old)
    assert code(register(world, request)) is FailureCode.UNKNOWN_JOB
    assert world.state(old) is JobState.NEW


def test_one_that_runs_is_not_taken(world: World) -> None:
    """The daemon took it for the older one before it heard of it: no two rows have it."""
    old = world.submit(2000, deadline=4000.0)
    forgets(world, old)
    request, slurm = next_one(world, old)
    world.cluster.jobs[slurm.job_id].hold = HoldKind.NONE
    assert code(register(world, request)) is FailureCode.BAD_REQUEST
    assert world.state(old) is JobState.LOST
    assert request.state_dir not in rows(world)


def test_an_id_that_is_somebody_elses_now(world: World) -> None:
    resubmits(world, yes=False)
    old = world.submit(2000, deadline=4000.0)
    forgets(world, old)
    request, slurm = next_one(world, old, uid=1)
    assert register(world, request, uid=1) == Registered(slurm.job_id, created=True)
    assert world.state(old) is JobState.LOST
    refused = register(world, old.request)
    assert code(refused) is FailureCode.DENIED
    assert isinstance(refused, Failure)
    assert "Slurm has forgotten" in refused.message
    assert is_kept(world, rows(world)[request.state_dir])


@pytest.mark.parametrize("dies", [False, True])
def test_an_id_that_a_job_submitted_again_gets(world: World, dies: bool) -> None:
    """slurmctld forgets two of them, and the daemon hears first of one."""
    first = world.submit(2000, deadline=4000.0)
    second = world.submit(2000, deadline=4000.0, name="second")
    world.run_until(lambda: world.state(second) is not JobState.NEW)
    forgets(world, second)
    forgets(world, first)
    number = second.request.slurm_job_id
    world.cluster.last_id = number - 1
    world.scheduler.lose(first.id)
    world.scheduler._observer.refresh()
    if dies:  # it has submitted, and did not live to write it down
        world.scheduler._acting._resubmitter._announce(world.row(first))
        got = world.cluster.add_job("root", "train", now=world.clock.now)
        world.restart()
        world.scheduler._observer.refresh()
    assert world.scheduler._acting._resubmitter.recover(())
    assert world.row(first).request.slurm_job_id == number
    assert world.state(second) is JobState.LOST
    assert [job.job_id for job in world.cluster.jobs.values()] == [number]
    latest = world.queue.jobs.of_slurm(number)
    assert latest is not None
    assert latest.id == first.id
    assert not dies or got.job_id == number
    world.scheduler.tick()
    assert world.row(second).request.slurm_job_id == number + 1


@pytest.mark.parametrize("registered", [True, False])
def test_what_a_withdrawn_job_left_is_not_the_next_one(world: World, registered: bool) -> None:
    old = world.submit(2000, deadline=4000.0)
    world.queue.jobs.move(old.id, JobState.CANCELLED, at=world.clock.now, actor="user1", why="no")
    forgets(world, old)
    request, slurm = next_one(world, old)
    if registered:
        assert register(world, request) == Registered(slurm.job_id, created=True)
        assert is_kept(world, rows(world)[request.state_dir])
    else:  # held, and nobody has said that it is another one
        world.run(30.0)
        assert slurm.state is JobBaseState.CANCELLED
