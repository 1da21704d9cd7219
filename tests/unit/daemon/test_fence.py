"""Whatever goes wrong with one job ends that job's part in a tick, and never the tick."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ef_slurm.contract import Launch, Progress
from ef_slurm.daemon import fence as fence_module
from ef_slurm.daemon import looks, scheduler
from ef_slurm.daemon.act import orphans, reconciler
from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.observe import follower
from ef_slurm.daemon.observe.calibration import Calibration
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.daemon.observe.plausible import plausible
from ef_slurm.daemon.observe.transition import Transition
from ef_slurm.daemon.plan import plannable, planning, record, turned_away
from ef_slurm.model import (
    FINAL,
    EventKind,
    JobState,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    ThroughputCurve,
    planner_id,
)
from ef_slurm.planner.plan import plan_round
from ef_slurm.queue.errors import ConflictError, QueueError, QueueFullError, RefusedRowError
from ef_slurm.slurm.errors import RefusedError, SlurmUnavailableError, UnexpectedOutputError
from ef_slurm.slurm.types import JobBaseState
from tests.unit.daemon.live import submit_live
from tests.unit.daemon.make import row
from tests.unit.daemon.world import World

MEMORY = Path("/dev/shm")


@pytest.fixture
def world() -> Iterator[World]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        world = World(Path(directory) / "queue.sqlite")
        yield world
        world.queue.close()


def errors(world: World, job: QueueJob) -> list[str]:
    events = world.queue.events.all(job_id=job.id, kinds=[EventKind.ERROR])
    return [event.message for event in events if "it cannot be" in event.message]


def assert_kept(world: World, job: QueueJob) -> None:
    world.run_until(lambda: world.state(job) is JobState.COMPLETED, limit=3000.0)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


# What a job could say before its reports had bounds, and may say again through the next hole.
POISON: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "iteration -5": ({}, {"iteration": -5}),
    "a first iteration at -10^9": ({}, {"first_iteration_at": -1e9}),
    "no number": ({}, {"iterations_per_second": float("nan")}),
    "an infinite rate": ({}, {"iterations_per_second": float("inf")}),
    "10^30 as a generation": ({"generation": 10**30}, {"generation": 10**30}),
    "10^400": ({}, {"iteration": 10**400}),
    "half a pair": ({}, {"message": "\ud800"}),
    "a text": ({}, {"iteration": "many"}),
    "nothing": ({}, {"phase": None, "iteration": None}),
}


@pytest.mark.parametrize("name", POISON)
def test_a_report_that_nobody_checked_hurts_its_own_job_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    launched, progressed = POISON[name]
    bad, good = world.submit(30_000, 4000.0), world.submit(6_000, 3000.0)
    plain = world.bench.read

    def read(job: QueueJob) -> JobReports:
        found = plain(job)
        if job.id != bad.id or found.launch is None or found.progress is None:
            return found
        launch: Launch = replace(found.launch, **launched)
        progress: Progress = replace(found.progress, **progressed)
        return replace(found, launch=launch, progress=progress)

    def unchecked(reports: JobReports, iterations: int, now: float) -> JobReports:
        try:
            return plausible(reports, iterations, now)
        except TypeError:
            return reports

    monkeypatch.setattr("ef_slurm.daemon.observe.observer.plausible", unchecked)
    world.bench.read = read  # type: ignore[method-assign]
    assert_kept(world, good)
    world.restart()
    later = world.submit(3_000, 2000.0)
    assert_kept(world, later)


def failing_for(bad: QueueJob, plain: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """The function, which fails when the job is among what it is given."""

    def concerns(value: object) -> bool:
        if isinstance(value, QueueJob):
            return value.id == bad.id
        if isinstance(value, list | tuple):
            return any(concerns(one) for one in value)
        return getattr(value, "id", None) == planner_id(bad.id)

    def call(*arguments: Any, **named: Any) -> Any:
        if any(concerns(argument) for argument in arguments):
            raise type(error)(*error.args)
        return plain(*arguments, **named)

    return call


SMALL = ThroughputCurve.of({1: 10.0, 2: 18.0, 4: 32.0})
"""Of a job that leaves others a place beside what it may go on holding."""

PLACES: dict[str, tuple[object, str]] = {
    "looked at": (looks.Looks, "has_news"),
    "followed": (follower, "derive_transition"),
    "measured": (Calibration, "observe"),
    "written": (scheduler, "write_transition"),
    "slips": (planning, "running_now"),
    "planned": (plannable, "planner_jobs"),
    "judged": (turned_away, "runs_on"),
    "the planner itself": (planning, "plan_round"),
    "assigned": (record, "_assign"),
    "reconciled": (reconciler.Reconciler, "_reconcile"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("early", [True, False], ids=["from the start", "while it runs"])
def test_an_exception_anywhere_is_one_jobs_problem(
    world: World, monkeypatch: pytest.MonkeyPatch, place: str, early: bool
) -> None:
    bad = world.submit(60_000, 4000.0, curve=SMALL)
    if not early:
        world.run_until(lambda: world.state(bad) is JobState.RUNNING)
    holder, name = PLACES[place]
    error = ZeroDivisionError("a fault\x1b[2J\nof ours")
    monkeypatch.setattr(holder, name, failing_for(bad, getattr(holder, name), error))
    good = world.submit(8_000, 2000.0)
    assert_kept(world, good)
    seldom = {True: ("slips", "measured"), False: ("judged",)}  # does not come to pass here
    if place not in seldom[early]:
        told = errors(world, bad)
        assert len(told) == len(set(told)) >= 1
        assert all(message.isprintable() for message in told)
    flaps = place == "written"  # there is not always something to write
    if (
        not early
        and not flaps
        and place not in seldom[early]
        and world.row(bad).promise is not PromiseState.NONE
    ):
        assert world.row(bad).promise is PromiseState.AT_RISK
    monkeypatch.undo()
    world.run(120)
    assert world.state(bad) is not JobState.LOST


def test_two_with_whom_the_planner_fails_do_not_stop_a_third(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.submit(20_000, 4000.0)
    world.run(20)
    bad, worse = world.submit(20_000, 4000.0), world.submit(20_000, 4000.0)
    plain = plan_round
    twice = failing_for(worse, failing_for(bad, plain, ValueError("a")), KeyError("b"))
    monkeypatch.setattr(planning, "plan_round", twice)
    good = world.submit(8_000, 2000.0)
    assert_kept(world, good)
    assert_kept(world, first)
    assert errors(world, bad)
    assert errors(world, worse)


@pytest.mark.parametrize("place", ["planned", "the planner itself"])
def test_what_a_companion_holds_of_a_job_that_is_left_out_is_not_free(
    world: World, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A job has two nodes, one of them by its companion. Of those that come only one fits in."""
    world.cluster.occupy("user9", ("n2", "n4"), 4, 40.0, world.clock.now)
    world.cluster.occupy("user9", ("n3",), 4, 4000.0, world.clock.now)
    two = ThroughputCurve.of({1: 10.0, 2: 18.0, 4: 32.0, 8: 56.0})
    bad, training = submit_live(world, 60_000, 4000.0, curve=two)
    world.run_until(lambda: len(training.train) == 2, limit=200.0)
    assert training.train == ("n1", "n2")
    world.run(10)
    holder, name = PLACES[place]
    error = ZeroDivisionError("a fault of ours")
    monkeypatch.setattr(holder, name, failing_for(bad, getattr(holder, name), error))
    good, late = (world.submit(2_000, 90.0, curve=SMALL) for _ in range(2))
    assert_kept(world, good)
    assert world.state(late) is JobState.REJECTED


def test_when_the_planner_always_fails_the_plan_before_stays_in_force(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.submit(20_000, 4000.0)
    world.run(20)

    def fails(*_: object) -> None:
        raise AssertionError("never")

    monkeypatch.setattr(planning, "plan_round", fails)
    assert_kept(world, job)


def meet(guard: Fence, job: QueueJob, error: BaseException) -> None:
    """Something goes wrong inside the fence."""
    with guard.around(job, "planned"):
        raise error


def test_a_queue_or_a_slurm_that_is_gone_is_everybodys_problem(world: World) -> None:
    guard = Fence(world.queue, world.clock)
    job = world.submit(20_000, 4000.0)
    everybodys: tuple[BaseException, ...] = (
        QueueFullError("full"),
        QueueError("?"),
        SlurmUnavailableError("gone"),
        KeyboardInterrupt(),
        SystemExit(),
        MemoryError(),
    )
    for error in everybodys:
        with pytest.raises(type(error)):
            meet(guard, job, error)
    assert guard.failures == 0
    for own in (RefusedRowError("?"), RefusedError("?"), ValueError("?"), RecursionError("?")):
        meet(guard, job, own)
    assert guard.failures == 4
    assert guard.fails(job.id)
    with guard.around(job, "planned"):
        pass
    assert not guard.fails(job.id)


def test_what_cannot_be_told_is_no_problem_either(world: World) -> None:
    guard = Fence(world.queue, world.clock)
    meet(guard, replace(row(), id=999), ValueError("?"))  # there is no such row
    assert guard.failures == 1


def test_it_is_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    guard = Fence(world.queue, world.clock)
    job = world.submit(20_000, 4000.0)
    for number in range(50):
        meet(guard, job, ValueError(f"{number}\n" + "x" * 10_000))
    (told,) = errors(world, job)
    assert len(told) < 400
    assert world.row(job).note == told
    assert caplog.text.count("it cannot be planned") == 1
    assert "\n0\n" not in caplog.text


@pytest.mark.parametrize(
    "state", [JobBaseState.CANCELLED, JobBaseState.TIMEOUT, JobBaseState.COMPLETED]
)
def test_who_has_ended_is_not_put_back_since_nobody_could_write_it_down(
    world: World, monkeypatch: pytest.MonkeyPatch, state: JobBaseState
) -> None:
    job = world.submit(20_000, deadline=3000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    slurm, failures = world.training(job).slurm, list[int]()

    def follow(self: follower.Follower, job: QueueJob, *rest: Any) -> Transition:
        if slurm.state is state and len(failures) < 3:
            failures.append(job.id)
            raise UnexpectedOutputError("an answer that nobody knows")
        return real(self, job, *rest)

    real = follower.Follower.follow
    monkeypatch.setattr(follower.Follower, "follow", follow)
    if state is not JobBaseState.COMPLETED:
        slurm.state, slurm.ended = state, world.clock.now
    world.run_until(lambda: world.state(job) in FINAL, 3000.0)
    assert (len(failures), slurm.restarts, slurm.state) == (3, 0, state)


def test_the_modules_that_handle_jobs_one_by_one_have_fences() -> None:
    assert fence_module.Fence is Fence
    for module in (scheduler, reconciler, orphans, plannable, planning, record):
        assert vars(module)["Fence"] is Fence


def test_a_row_that_was_changed_meanwhile_is_no_error_unless_it_always_is(world: World) -> None:
    job = world.submit(1000, 1000.0)
    fence = Fence(world.queue, world.clock)
    for _ in range(3):
        with fence.around(job, "planned"):
            raise ConflictError("job 1 was changed meanwhile")
        with fence.around(job, "planned"):
            pass
    assert not errors(world, job)
    for _ in range(2):
        with fence.around(job, "planned"):
            raise ConflictError("job 1 was changed meanwhile")
    assert len(errors(world, job)) == 1
