"""Slurm's word outranks a report: whatever a job says, it leaves GPUs that a promise needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ef_slurm.contract import Action, LaunchState, Phase
from ef_slurm.daemon.act.conditions import Timeouts
from ef_slurm.daemon.observe.capacity import ResourceScope
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.daemon.observe.stalls import StallLimits
from ef_slurm.daemon.settings import Settings
from ef_slurm.model import JobState, Overhead, PromiseOutcome, QueueJob
from ef_slurm.slurm.errors import UnexpectedOutputError
from tests.unit.daemon.make import progress
from tests.unit.daemon.world import World

MEMORY = Path("/dev/shm")
SETTINGS = Settings(
    ResourceScope(frozenset({"ef"})),
    idle_interval=5.0,
    uid=0,
    timeouts=Timeouts(acknowledge=5.0, save=20.0, check_in=15.0, launch=5.0),
)
Lie = Callable[[JobReports, float], JobReports]


@pytest.fixture
def world() -> Iterator[World]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        world = World(Path(directory) / "queue.sqlite", settings=SETTINGS)
        yield world
        world.queue.close()


def lies(world: World, liar: QueueJob, lie: Lie) -> None:
    """From now on it trains nothing, obeys nothing, and reports what it likes."""
    plain = world.bench.read
    world.training(liar).elastic = False
    began = world.clock.now

    def read(job: QueueJob) -> JobReports:
        reports = plain(job)
        return lie(reports, world.clock.now - began) if job.id == liar.id else reports

    world.bench.read = read  # type: ignore[method-assign]


def told(state: LaunchState, phase: Phase = Phase.RUNNING, **changes: object) -> Lie:
    """A launch in a state, with a training in a phase."""

    def lie(reports: JobReports, _: float) -> JobReports:
        launch = reports.launch
        if launch is None:
            return reports
        values = {"iteration": 100, "checkpoint_iteration": 0, **changes}
        seen = progress(phase, launch.generation, **values)
        return replace(reports, launch=replace(launch, state=state), progress=seen)

    return lie


def silent(reports: JobReports, _: float) -> JobReports:
    return replace(reports, launch=None, progress=None)


def another_run(reports: JobReports, _: float) -> JobReports:
    launch = reports.launch
    return reports if launch is None else replace(reports, launch=replace(launch, restart_count=99))


def always_anew(reports: JobReports, seconds: float) -> JobReports:
    """A new launch every ten seconds, none of which has reported yet."""
    launch = reports.launch
    if launch is None:
        return reports
    generation = launch.generation + 1 + int(seconds // 10)
    now = launch.updated_at
    return replace(
        reports, launch=replace(launch, generation=generation, started_at=now), progress=None
    )


def always_anew_and_agreeing(reports: JobReports, seconds: float) -> JobReports:
    told_anew = always_anew(reports, seconds)
    if told_anew.launch is None:
        return told_anew
    return replace(told_anew, progress=progress(Phase.STOPPING, told_anew.launch.generation))


def of_tomorrow(reports: JobReports, _: float) -> JobReports:
    launch = reports.launch
    if launch is None:
        return reports
    return replace(reports, launch=replace(launch, started_at=8e9, updated_at=8e9), progress=None)


LIES: dict[str, Lie] = {
    "finished": told(LaunchState.FINISHED, Phase.FINISHED),
    "finished, all done": told(LaunchState.FINISHED, Phase.FINISHED, iteration=10**9),
    "trains at its last iteration": told(LaunchState.RUNNING, iteration=10**9),
    "waiting": told(LaunchState.WAITING, Phase.STOPPED),
    "interrupted": told(LaunchState.INTERRUPTED, Phase.STOPPED),
    "failed": told(LaunchState.FAILED, Phase.FAILED),
    "retrying": told(LaunchState.RETRYING, Phase.FAILED),
    "always starting": told(LaunchState.RUNNING, Phase.STARTING, first_iteration_at=None),
    "trains on": told(LaunchState.RUNNING, Phase.RUNNING),
    "about to stop": told(LaunchState.RUNNING, Phase.STOPPING),
    "stopped": told(LaunchState.RUNNING, Phase.STOPPED),
    "silent": silent,
    "of another run": another_run,
    "always anew": always_anew,
    "always anew, and agreeing": always_anew_and_agreeing,
    "of tomorrow": of_tomorrow,
}


@pytest.mark.parametrize("name", LIES)
def test_gpus_that_a_promise_needs_come_back(world: World, name: str) -> None:
    liar = world.submit(10_000_000, deadline=None)
    world.run_until(lambda: world.state(liar) is JobState.RUNNING)
    lies(world, liar, LIES[name])
    world.run(30)
    victim = world.submit(40_000, deadline=1200.0)  # 16 GPUs for 444 s
    since = world.clock.now
    world.run_until(lambda: world.training(victim).generation > 0, limit=1200.0)
    timeouts = world.settings.timeouts
    assert world.clock.now - since < timeouts.launch + timeouts.save + 30
    world.run_until(lambda: world.state(victim) is JobState.COMPLETED, limit=1200.0)
    promise = world.queue.promises.of(victim.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


def on_two_nodes(reports: JobReports, _: float) -> JobReports:
    """Its next launch has taken over, as it says."""
    launch = reports.launch
    if launch is None or reports.order is None or reports.order.action is not Action.RELAUNCH:
        return reports
    seen = progress(Phase.RUNNING, launch.generation + 1, world_size=8)
    after = replace(launch, generation=launch.generation + 1, nodes=first_half(launch.nodes))
    return replace(reports, launch=after, progress=seen)


def first_half(names: str) -> str:
    nodes = names.split(",")
    return ",".join(nodes[: len(nodes) // 2])


EMPTY: dict[str, Lie] = {
    "waits": told(LaunchState.WAITING, Phase.STOPPED),
    "waits, each time in another launch": lambda reports, seconds: waiting_anew(reports, seconds),
    "has gone on on the others": on_two_nodes,
}


def waiting_anew(reports: JobReports, seconds: float) -> JobReports:
    launch = always_anew(reports, 10.0 * seconds).launch
    return replace(reports, launch=launch and replace(launch, state=LaunchState.WAITING))


@pytest.mark.parametrize("name", EMPTY)
def test_no_node_is_taken_from_under_a_step_whatever_its_script_says(
    world: World, name: str
) -> None:
    """Slurm would kill what is there, and may drain the node: it is the liar that is put back."""
    world.overhead = Overhead(start=8.0, grow=40.0, shrink=8.0, move=40.0, restart=40.0)
    world.settings = replace(SETTINGS, timeouts=replace(SETTINGS.timeouts, ready=25.0))
    world.restart()
    liar = world.submit(200_000, deadline=40_000.0)
    world.run_until(lambda: world.state(liar) is JobState.RUNNING)
    world.run(5)
    slurm = world.training(liar).slurm
    assert len(slurm.nodes) == 4
    lies(world, liar, EMPTY[name])
    victim = world.submit(10_000, deadline=260.0)  # half of the nodes for 179 s
    world.run_until(lambda: slurm.restarts == 1 or len(slurm.nodes) < 4, 60.0)
    assert slurm.restarts == 1
    assert any("a step of it does" in one.message for one in world.queue.events.all(job_id=liar.id))
    world.run_until(lambda: world.state(victim) is JobState.COMPLETED, limit=400.0)
    promise = world.queue.promises.of(victim.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


def test_a_step_that_ends_a_moment_later_costs_nothing_more(world: World) -> None:
    world.overhead = Overhead(start=8.0, grow=40.0, shrink=8.0, move=40.0, restart=40.0)
    liar = world.submit(200_000, deadline=40_000.0)
    world.run_until(lambda: world.state(liar) is JobState.RUNNING)
    world.run(5)
    slurm = world.training(liar).slurm
    plain, until = world.slurm.step_nodes, [0.0]

    def later(job_id: int) -> frozenset[str]:
        if not until[0]:
            until[0] = world.clock.now + 2.0
        return plain(job_id) if world.clock.now > until[0] else frozenset({"n4"})

    world.slurm.step_nodes = later  # type: ignore[method-assign]
    world.restart()
    world.submit(10_000, deadline=260.0)
    world.run_until(lambda: len(slurm.nodes) < 4, 60.0)
    assert until[0] < world.clock.now < until[0] + 2.0
    assert (len(slurm.nodes), slurm.restarts) == (2, 0)


def test_where_slurm_does_not_tell_of_steps_a_job_gives_up_nodes_by_a_requeue(
    world: World,
) -> None:
    world.overhead = Overhead(start=8.0, grow=40.0, shrink=8.0, move=40.0, restart=40.0)
    job = world.submit(200_000, deadline=40_000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.run(5)

    def untold(job_id: int) -> frozenset[str]:
        raise UnexpectedOutputError(f"squeue wrote 'what is {job_id}?', no step and its nodes")

    world.slurm.step_nodes = untold  # type: ignore[method-assign]
    world.restart()
    victim = world.submit(10_000, deadline=260.0)
    world.run_until(lambda: world.state(victim) is JobState.COMPLETED, 400.0)
    assert world.training(job).slurm.restarts == 1
    promise = world.queue.promises.of(victim.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


def test_who_says_that_it_is_done_and_stays_keeps_nobody_waiting(world: World) -> None:
    """Its promise lets it hold GPUs; what it says lets others count on them."""
    liar = world.submit(60_000, deadline=4000.0)
    world.run_until(lambda: world.state(liar) is JobState.RUNNING)
    lies(world, liar, told(LaunchState.FINISHED, Phase.FINISHED, iteration=10**9))
    world.run(5)
    victim = world.submit(60_000, deadline=1200.0)  # 16 GPUs for 667 s
    world.run_until(lambda: world.state(victim) is JobState.COMPLETED, limit=1300.0)
    promise = world.queue.promises.of(victim.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


def test_who_says_nothing_of_its_speed_is_not_measured_for_ever(world: World) -> None:
    """Another change of its size at each look, always at the same moment: no rate, no training."""
    limits = StallLimits(first_iteration=200.0, stalled=100.0, evaluation=100.0)
    world.settings = replace(world.settings, stall_limits=limits)
    world.restart()
    liar = world.submit(10**9, 3e6, known=False)
    world.run_until(lambda: world.state(liar) is JobState.RUNNING)
    looks = count(1)

    def of_no_time(reports: JobReports, _: float) -> JobReports:
        if reports.launch is None:
            return reports
        look = next(looks)
        changing = {"live": True, "change": look, "iteration": look, "updated_at": 2.0}
        said = progress(Phase.RUNNING, reports.launch.generation, **changing)
        return replace(reports, progress=said)

    lies(world, liar, of_no_time)
    world.run_until(lambda: world.state(liar) is JobState.REJECTED, 600.0)
    world.run(30.0)
    assert not any(job.holds_nodes for job in world.cluster.jobs.values())
