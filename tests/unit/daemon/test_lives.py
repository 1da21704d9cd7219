"""Whatever users, nodes, other people and slurmctld do: no tick fails, no GPU is given twice, every
job comes to an end, and other people's jobs are left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ef_slurm.model import (
    FINAL,
    Fault,
    IfInfeasible,
    JobState,
    PromiseOutcome,
    QueueJob,
    is_in_time,
)
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.unit.daemon.world import World

MEMORY = Path("/dev/shm")
EXAMPLES = 300 if os.environ.get("EF_LONG") else 15

NOBODYS = 4711
"""The daemon's own uid: it may submit nobody's job again."""

HAPPENINGS = (
    "submit",
    "submit",
    "submit",
    "best effort",
    "cancel",
    "requeue",
    "hold",
    "operator holds",
    "Slurm holds",
    "release",
    "script dies",
    "drain",
    "restore",
    "kill node",
    "other",
    "silence",
    "voice",
    "lost answers",
    "restart",
)

HOLDS = {
    "hold": HoldKind.USER,
    "operator holds": HoldKind.ADMIN,
    "Slurm holds": HoldKind.SLURM,
}

lives = st.lists(
    st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 7), st.floats(0.0, 90.0)),
    min_size=3,
    max_size=12,
)


class Life:
    """One world and what happens in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.jobs: list[QueueJob] = []
        self.others: list[int] = []

    def happen(self, what: str, number: int) -> None:
        world, cluster, now = self.world, self.world.cluster, self.world.clock.now
        node = f"n{number % 4 + 1}"
        match what:
            case "submit":
                wish = IfInfeasible.WAIT if number % 2 else IfInfeasible.REJECT
                job = world.submit(2000 * (number + 1), 150.0 * (number + 1), if_infeasible=wish)
                self.jobs.append(job)
            case "best effort":
                self.jobs.append(world.submit(3000 * (number + 1), None))
            case "drain":
                cluster.drain(node)
            case "restore":
                cluster.restore(node)
            case "kill node":
                cluster.kill_node(node, now)
            case "other":
                other = cluster.occupy("user2", (node,), 1 + number % 4, 100.0, now)
                self.others.append(other.job_id)
            case "silence":
                cluster.reachable = False
            case "voice":
                cluster.reachable = True
            case "lost answers":
                cluster.answers_lost = number
            case "restart":
                world.restart()
            case _:
                self._to_a_job(what, number)

    def _to_a_job(self, what: str, number: int) -> None:
        if not self.jobs:
            return
        world, now = self.world, self.world.clock.now
        slurm = world.training(self.jobs[number % len(self.jobs)]).slurm
        if slurm.job_id not in world.cluster.jobs or slurm.ended is not None:
            return
        if what == "cancel":
            world.cluster.cancel(slurm, now)
        elif what == "requeue" and slurm.state is JobBaseState.RUNNING:
            world.cluster.requeue(slurm, now)
        elif what in HOLDS and slurm.state is JobBaseState.RUNNING:
            world.cluster.requeue(slurm, now)
            slurm.hold = HOLDS[what]
        elif what == "release" and slurm.hold in (HoldKind.USER, HoldKind.ADMIN):
            slurm.hold = HoldKind.NONE
        elif what == "script dies" and slurm.state is JobBaseState.RUNNING:
            world.cluster.finish(slurm.job_id, now, exit_code=1)

    def heal(self) -> None:
        """Everything that was taken is given back."""
        self.world.cluster.reachable = True
        self.world.cluster.answers_lost = 0
        for name in self.world.cluster.nodes:
            self.world.cluster.restore(name)
        for job in self.jobs:
            slurm = self.world.training(job).slurm
            if self.world.state(job) is JobState.HELD:
                slurm.hold = HoldKind.NONE


def lived(world: World, story: list[tuple[str, int, float]]) -> Life:
    life = Life(world)
    for what, number, pause in story:
        life.happen(what, number)
        world.run(pause)
    return life


def until(world: World, condition: Callable[[], bool], life: Life, limit: float) -> None:
    end = world.clock.now + limit
    while not condition():
        assert world.clock.now < end, {
            job.id: (world.row(job).state, world.row(job).note, world.training(job).slurm)
            for job in life.jobs
        }
        life.heal()
        world.run(100.0)


@given(lives)
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_every_life_ends(story: list[tuple[str, int, float]]) -> None:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        world = World(Path(directory) / "queue.sqlite")
        world.settings = replace(world.settings, uid=NOBODYS)
        world.restart()
        life = lived(world, story)
        until(world, world.finished, life, 50_000.0)
        for job in life.jobs:
            assert world.state(job) in FINAL
            assert world.state(job) is not JobState.LOST
            check_promise(world, job)
        assert not world.queue.intents.unfinished()
        for other in life.others:
            assert world.cluster.jobs[other].restarts <= story_kills(story)
        world.queue.close()


def check_promise(world: World, job: QueueJob) -> None:
    """It has ended, in a way that agrees with when the job did, and with whose fault that was."""
    row, promise = world.row(job), world.queue.promises.of(job.id)
    if promise is None:
        return
    outcome, fault = promise.outcome, promise.fault
    assert outcome is not PromiseOutcome.OPEN
    assert (fault is None) is (outcome is PromiseOutcome.KEPT)
    if outcome is PromiseOutcome.VOID:
        assert fault in (Fault.OWNER, Fault.JOB)
        assert promise.settled_at is not None
    elif row.state is JobState.COMPLETED:
        assert row.ended_at is not None
        in_time = is_in_time(row.ended_at, promise.deadline)
        assert in_time is (outcome is PromiseOutcome.KEPT)
    else:
        assert outcome is PromiseOutcome.BROKEN


def story_kills(story: list[tuple[str, int, float]]) -> int:
    """How often a node died: that requeues other people's jobs too."""
    return sum(what == "kill node" for what, _, _ in story)
