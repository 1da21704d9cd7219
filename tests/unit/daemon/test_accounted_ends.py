"""What ended while nobody looked, and slurmctld has forgotten: accounting tells how."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.model import Fault, JobState, PromiseOutcome, QueueJob
from ef_slurm.slurm.errors import SlurmUnavailableError
from ef_slurm.slurm.types import JobBaseState, SlurmJob
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.daemon.world import World


class Asked(MemorySlurm):
    """Counts what accounting is asked; `down`: it does not answer."""

    def __init__(self, world: World) -> None:
        super().__init__(world.cluster, world.clock)
        self.asked: list[frozenset[int]] = []
        self.down = False

    def ended(self, job_ids: Collection[int]) -> Mapping[int, SlurmJob]:
        self.asked.append(frozenset(job_ids))
        if self.down:
            raise SlurmUnavailableError("Connection refused")
        return super().ended(job_ids)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "queue.sqlite")
    world.cluster.slurmdbd = True
    return world


@pytest.fixture
def slurm(world: World) -> Asked:
    asked = Asked(world)
    world.slurm = asked
    world.restart()
    return asked


def runs(world: World) -> QueueJob:
    job = world.submit(20_000, deadline=9000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    return job


def forgotten(world: World, job: QueueJob, state: JobBaseState) -> None:
    """It ends while no daemon runs, and slurmctld forgets it."""
    cluster, slurm = world.cluster, world.training(job).slurm
    if slurm.state is JobBaseState.PENDING:
        cluster.cancel(slurm, world.clock.now)
    slurm.state, slurm.ended, slurm.completing_until = state, world.clock.now, None
    world.clock.now += 600.0
    cluster.accounted[slurm.job_id] = cluster.jobs.pop(slurm.job_id)
    world.restart()
    world.run(30)


def outcome(world: World, job: QueueJob) -> tuple[PromiseOutcome, Fault | None]:
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    return promise.outcome, promise.fault


def test_who_was_cancelled_is_not_submitted_again(world: World, slurm: Asked) -> None:
    job = runs(world)
    forgotten(world, job, JobBaseState.CANCELLED)
    assert world.state(job) is JobState.CANCELLED
    assert outcome(world, job) == (PromiseOutcome.VOID, Fault.OWNER)
    assert not world.cluster.jobs
    assert world.row(job).ended_at == world.cluster.accounted[job.request.slurm_job_id].ended
    assert slurm.asked == [{job.request.slurm_job_id}]


def test_who_was_cancelled_while_they_waited_after_a_requeue_is_not_either(world: World) -> None:
    job = runs(world)
    world.cluster.requeue(world.training(job).slurm, world.clock.now)
    world.training(job).slurm.submitted += 77.0  # a requeue is a submission
    forgotten(world, job, JobBaseState.CANCELLED)
    assert world.state(job) is JobState.CANCELLED
    assert not world.cluster.jobs


def test_without_accounting_nobody_knows(world: World) -> None:
    world.cluster.slurmdbd = False
    job = runs(world)
    forgotten(world, job, JobBaseState.CANCELLED)
    assert world.state(job) not in (JobState.CANCELLED, JobState.LOST)
    assert len(world.cluster.jobs) == 1


@pytest.mark.parametrize("state", [JobBaseState.NODE_FAIL, JobBaseState.PREEMPTED])
def test_what_is_to_go_on_is_submitted_again(world: World, state: JobBaseState) -> None:
    job = runs(world)
    forgotten(world, job, state)
    assert world.row(job).request.slurm_job_id in world.cluster.jobs


def test_what_is_complete_is_complete(world: World) -> None:
    job = runs(world)
    world.bench.trainings.clear()  # and its state directory is gone
    slurm_job = world.cluster.jobs[job.request.slurm_job_id]
    slurm_job.state, slurm_job.ended = JobBaseState.COMPLETED, world.clock.now
    world.cluster.accounted[slurm_job.job_id] = world.cluster.jobs.pop(slurm_job.job_id)
    world.restart()
    world.run(30)
    assert world.state(job) is JobState.COMPLETED
    assert outcome(world, job) == (PromiseOutcome.KEPT, None)


@pytest.mark.parametrize("whose", ["user", "name", "submission"])
def test_anothers_end_under_its_id_says_nothing(world: World, whose: str) -> None:
    job = world.submit(20_000, deadline=9000.0, begin=5000.0)
    world.run(10)
    other = world.training(job).slurm
    if whose == "user":
        other.uid = 77
    elif whose == "name":
        other.name = "another"
    else:
        other.submitted += 5.0
    forgotten(world, job, JobBaseState.CANCELLED)
    assert world.state(job) is not JobState.CANCELLED
    assert world.row(job).request.slurm_job_id in world.cluster.jobs


def test_accounting_is_asked_once_for_all(world: World, slurm: Asked) -> None:
    world.settings = replace(world.settings, uid=4711)
    jobs = [world.submit(20_000, deadline=9000.0) for _ in range(3)]
    world.run(30)
    assert slurm.asked == []
    slurm.down = True
    for job in jobs:
        del world.cluster.jobs[job.request.slurm_job_id]
    world.restart()
    world.run(60)
    assert slurm.asked == [{job.request.slurm_job_id for job in jobs}]
    assert {world.state(job) for job in jobs} == {JobState.LOST}
