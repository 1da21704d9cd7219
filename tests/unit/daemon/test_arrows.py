"""Every declared transition of a job and of an intent is walked by the daemon, and no other one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.model import (
    IfInfeasible,
    IntentState,
    JobState,
    Measuring,
    Outcome,
    QueueJob,
    Reason,
    ReasonCode,
    Verdict,
    planner_id,
)
from ef_slurm.planner.plan import PlannedRound, plan_round
from ef_slurm.queue.intents import Intents
from ef_slurm.queue.jobs import Jobs
from ef_slurm.queue.transitions import INTENT_TRANSITIONS, TRANSITIONS
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.fakes.memory_cluster import Timing
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.daemon.world import World

Arrow = tuple[JobState | IntentState, JobState | IntentState]
NOBODYS = 4711
"""A uid of the daemon's own for which it submits nobody's job again."""

ENDS = {
    JobBaseState.COMPLETED: JobState.COMPLETED,
    JobBaseState.TIMEOUT: JobState.FAILED,
    JobBaseState.CANCELLED: JobState.CANCELLED,
    None: JobState.LOST,
}


class Walker:
    """Makes worlds, and notes every arrow that is walked in them."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.monkeypatch = monkeypatch
        self.walked: set[Arrow] = set()
        self.worlds: list[World] = []
        move, advance = Jobs.move, Intents.advance

        def moved(jobs: Jobs, job_id: int, to: JobState, **rest: Any) -> QueueJob:
            before = jobs.get(job_id).state
            row = move(jobs, job_id, to, **rest)
            self._note(before, to)
            return row

        def advanced(intents: Intents, intent_id: int, to: IntentState, **rest: Any) -> Any:
            before = intents.get(intent_id).state
            intent = advance(intents, intent_id, to, **rest)
            self._note(before, to)
            return intent

        monkeypatch.setattr(Jobs, "move", moved)
        monkeypatch.setattr(Intents, "advance", advanced)

    def _note(self, before: JobState | IntentState, after: JobState | IntentState) -> None:
        if before is not after:
            self.walked.add((before, after))

    def world(self, *, uid: int = NOBODYS, as_owner: bool = False, stop: float = 0.3) -> World:
        world = World(
            self.path / f"{len(self.worlds)}.sqlite",
            timing=Timing(start=0.3, stop=stop, min_job_age=1e12),
        )
        self.worlds.append(world)
        hold = HoldKind.USER if as_owner else HoldKind.ADMIN
        world.settings = replace(world.settings, uid=uid, hold=hold)
        view = MemorySlurm(world.cluster, world.clock, user="user1", operator=False)
        world.restart(view if as_owner else None)
        return world


@pytest.fixture
def walker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Walker]:
    walker = Walker(tmp_path, monkeypatch)
    yield walker
    for world in walker.worlds:
        world.queue.close()


# Jobs in every state that is no end.


def new(world: World) -> QueueJob:
    return world.submit(20_000, deadline=2000.0)


def waitlisted(world: World) -> QueueJob:
    world.submit(88 * 500, deadline=520.0, speed=1.5)
    world.run(5)
    job = world.submit(88 * 100, deadline=560.0, if_infeasible=IfInfeasible.WAIT)
    return until(world, job, JobState.WAITLISTED)


def admitted(world: World) -> QueueJob:
    world.cluster.occupy("user2", ("n1", "n2", "n3", "n4"), 4, 100.0, world.clock.now)
    return until(world, world.submit(20_000, deadline=2000.0), JobState.ADMITTED)


def starting(world: World, boot: float = 5.0) -> QueueJob:
    return until(world, world.submit(40_000, deadline=3000.0, boot=boot), JobState.STARTING)


def running(world: World, save: float = 0.5, boot: float = 5.0) -> QueueJob:
    job = world.submit(40_000, deadline=3000.0, save=save, boot=boot)
    return until(world, job, JobState.RUNNING)


def stopping(world: World) -> QueueJob:
    job = running(world, save=200.0)
    world.submit(40_000, deadline=800.0)
    return until(world, job, JobState.STOPPING)


def paused(world: World) -> QueueJob:
    job = running(world)
    for name in world.cluster.nodes:
        world.cluster.drain(name)
    requeue(world, job)
    return until(world, job, JobState.PAUSED)


def held(world: World) -> QueueJob:
    job = running(world)
    requeue(world, job, HoldKind.USER)
    return until(world, job, JobState.HELD)


REACH: dict[JobState, Callable[[World], QueueJob]] = {
    JobState.NEW: new,
    JobState.WAITLISTED: waitlisted,
    JobState.ADMITTED: admitted,
    JobState.STARTING: starting,
    JobState.RUNNING: running,
    JobState.STOPPING: stopping,
    JobState.PAUSED: paused,
    JobState.HELD: held,
}


def until(world: World, job: QueueJob, state: JobState) -> QueueJob:
    world.run_until(lambda: world.state(job) is state, 900.0)
    return world.row(job)


def requeue(world: World, job: QueueJob, hold: HoldKind = HoldKind.NONE) -> None:
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold = hold


def finish(world: World, job: QueueJob, becomes: JobBaseState | None) -> None:
    """Slurm ends the job, or forgets it."""
    training = world.training(job)
    slurm = training.slurm
    if becomes is None:
        del world.cluster.jobs[slurm.job_id]
    else:
        slurm.state, slurm.ended, slurm.completing_until = becomes, world.clock.now, None
    training.finished = becomes is JobBaseState.COMPLETED


def others(walker: Walker) -> None:
    """Everything but the ends of jobs that Slurm ends."""
    judged(walker)
    held_and_released(walker)
    started(walker)
    stopped(walker)
    changed_in_slurm(walker)
    submitted_again(walker)
    refused_while_it_runs(walker)


def judged(walker: Walker) -> None:
    world = walker.world()
    world.submit(10_000_000, deadline=100.0)
    admitted(world)
    world = walker.world()
    until(world, waitlisted(world), JobState.COMPLETED)
    world = walker.world()
    job = waitlisted(world)
    for name in world.cluster.nodes:
        world.cluster.drain(name)
    until(world, job, JobState.REJECTED)


def held_and_released(walker: Walker) -> None:
    # An operator's hold, where the daemon holds as the owner and can tell the two apart.
    for state in (JobState.NEW, JobState.WAITLISTED, JobState.ADMITTED, JobState.PAUSED):
        world = walker.world(as_owner=True)
        job = REACH[state](world)
        slurm = world.training(job).slurm
        slurm.hold = HoldKind.ADMIN
        until(world, job, JobState.HELD)
        slurm.hold = HoldKind.NONE
        world.run_until(lambda world=world, job=job: world.state(job) is not JobState.HELD, 60.0)  # type: ignore[misc]
    world = walker.world(as_owner=True)
    job = stopping(world)
    requeue(world, job, HoldKind.ADMIN)
    until(world, job, JobState.HELD)
    held(walker.world())
    world = walker.world()
    job = starting(world)
    slurm = world.training(job).slurm
    slurm.state, slurm.nodes, slurm.hold = JobBaseState.PENDING, (), HoldKind.USER
    until(world, job, JobState.HELD)


def started(walker: Walker) -> None:
    world = walker.world()
    job = starting(world)
    requeue(world, job)
    for name in world.cluster.nodes:
        world.cluster.drain(name)
    until(world, job, JobState.ADMITTED)
    world = walker.world()
    job = running(world)
    requeue(world, job)
    until(world, job, JobState.STARTING)
    requeue(world, job)
    for name in world.cluster.nodes:
        world.cluster.drain(name)
    until(world, job, JobState.PAUSED)
    world = walker.world()
    job = starting(world, boot=500.0)
    world.submit(40_000, deadline=800.0)
    until(world, job, JobState.STOPPING)
    for state in (JobState.ADMITTED, JobState.PAUSED):
        started_by_somebody_else_while_the_daemon_is_away(walker, state)


def started_by_somebody_else_while_the_daemon_is_away(walker: Walker, state: JobState) -> None:
    world = walker.world()
    job = REACH[state](world)
    world.run(5)
    for name in world.cluster.nodes:
        world.cluster.restore(name)
    for slurm in world.cluster.jobs.values():
        if slurm.user == "user2":
            world.cluster.finish(slurm.job_id, world.clock.now)
    slurm = world.training(job).slurm
    slurm.hold, slurm.begin, slurm.required = HoldKind.NONE, 0.0, ("n1",)
    slurm.min_nodes = slurm.max_nodes = slurm.tasks = 1
    for _ in range(20):
        world.clock.now += 1.0
        world.bench.advance()
    world.restart()
    until(world, job, JobState.RUNNING)


def stopped(walker: Walker) -> None:
    # Paused for a promise, and back.
    world = walker.world()
    job = world.submit(80_000, deadline=None)
    until(world, job, JobState.RUNNING)
    world.submit(88 * 100, deadline=120.0)
    until(world, job, JobState.PAUSED)
    until(world, job, JobState.STARTING)
    # Shrunk where it is, once slowly and once before anybody looks.
    for boot, state in ((5.0, JobState.STARTING), (0.0, JobState.RUNNING)):
        world = walker.world()
        job = world.submit(80_000, deadline=None, boot=boot)
        until(world, job, JobState.RUNNING)
        old = world.row(job).running
        assert old is not None
        smaller = replace(old.block, nodes=old.block.nodes[:2])

        def shrinking(*arguments: Any, smaller: Any = smaller) -> PlannedRound:
            made = plan_round(*arguments)
            answer = made.plan
            decisions = tuple(replace(decision, block=smaller) for decision in answer.decisions)
            return made._replace(plan=replace(answer, decisions=decisions))

        with walker.monkeypatch.context() as patch:
            patch.setattr("ef_slurm.daemon.plan.planning.plan_round", shrinking)
            until(world, job, JobState.STOPPING)
            until(world, job, state)


def changed_in_slurm(walker: Walker) -> None:
    """What somebody changes of a job that waits makes a new request of it."""
    for state in (JobState.WAITLISTED, JobState.ADMITTED, JobState.PAUSED, JobState.STARTING):
        world = walker.world()
        job = REACH[state](world)
        world.run(2)
        assert world.state(job) is state
        world.training(job).slurm.settings["memory per node"] = "200"
        world.run(6)
        messages = [event.message for event in world.queue.events.all(job_id=job.id)]
        assert any("memory per node from '100' to '200'" in message for message in messages)


def submitted_again(walker: Walker) -> None:
    for state in (JobState.NEW, JobState.ADMITTED, JobState.RUNNING):
        world = walker.world(uid=0)
        job = REACH[state](world)
        finish(world, job, None)
        world.run(10)
        assert world.row(job).request.slurm_job_id != job.request.slurm_job_id
    # What is refused is abandoned, and what Slurm does not do is overtaken.
    world = walker.world()
    world.bench.unwritable = True
    stopping(world)
    world = walker.world()
    job = starting(world)
    world.training(job).slurm.nodes = ()
    world.training(job).slurm.state = JobBaseState.PENDING
    world.cluster.drain("n1")
    world.run(90)


def refused_while_it_runs(walker: Walker) -> None:
    # What was measured while it trained is judged wherever it is then.
    states = set(REACH) - {JobState.NEW, JobState.WAITLISTED, JobState.HELD}
    for state, outcome in itertools.product(states, (Outcome.REJECTED, Outcome.WAITLISTED)):
        world = walker.world()
        job = REACH[state](world)
        world.queue.jobs.save(replace(job, measuring=Measuring(world.clock.now)))

        def refusing(
            *arguments: Any, job: QueueJob = job, outcome: Outcome = outcome
        ) -> PlannedRound:
            made = plan_round(*arguments)
            answer = made.plan
            name = planner_id(job.id)
            verdict = Verdict(name, outcome, Reason(ReasonCode.WAITS))
            others = tuple(one for one in answer.decisions if one.job_id != name)
            return made._replace(plan=replace(answer, verdicts=(verdict,), decisions=others))

        to = JobState.REJECTED if outcome is Outcome.REJECTED else JobState.WAITLISTED
        with walker.monkeypatch.context() as patch:
            patch.setattr("ef_slurm.daemon.plan.planning.plan_round", refusing)
            world.scheduler._planning.wanted = True
            world.scheduler.tick()
            assert world.state(job) is to


@pytest.mark.parametrize("state", REACH)
@pytest.mark.parametrize("becomes", ENDS)
def test_a_job_may_end_in_any_state(
    walker: Walker, state: JobState, becomes: JobBaseState | None
) -> None:
    world = walker.world()
    job = REACH[state](world)
    finish(world, job, becomes)
    if becomes is None and world.training(job).generation:
        assert world.training(job).reports(world.clock.now).launch is not None
    until(world, job, ENDS[becomes])
    assert (state, ENDS[becomes]) in walker.walked


def test_every_other_arrow_is_walked_and_no_undeclared_one(walker: Walker) -> None:
    others(walker)
    ends = set(ENDS.values())
    declared: set[Arrow] = {
        (before, after)
        for before, followers in TRANSITIONS.items()
        for after in followers
        if after not in ends
    }
    declared |= {
        (before, after) for before, followers in INTENT_TRANSITIONS.items() for after in followers
    }
    walked = {(before, after) for before, after in walker.walked if after not in ends}
    assert walked == declared


def test_the_ends_that_are_walked_above_are_those_that_are_declared() -> None:
    for state, followers in TRANSITIONS.items():
        ends = followers & set(ENDS.values())
        assert ends == (set(ENDS.values()) if state in REACH else frozenset())
