"""What squeue shows of deadline and promise, and how seldom that costs Slurm anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon.act.comments import MOST_IN_A_TICK, PAUSE_SECONDS
from ef_slurm.formats.times import format_host_iso
from ef_slurm.model import IfInfeasible, JobAction, JobChange, JobState, QueueJob
from ef_slurm.slurm.errors import RefusedError
from ef_slurm.slurm.types import OWNER_HELD, OWNER_RELEASED, JobUpdate, SlurmJob
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.daemon.test_changes import running
from tests.unit.daemon.world import World


class Counting(MemorySlurm):
    """Counts the updates that touch a comment; `refuses` those that do nothing else."""

    comments = 0
    alone = 0
    refuses = False

    def update(self, job_id: int, update: JobUpdate) -> SlurmJob:
        if update.comment is not None:
            self.comments += 1
            if update == JobUpdate(comment=update.comment):
                if self.refuses:
                    raise RefusedError("Access/permission denied")
                self.alone += 1
        return super().update(job_id, update)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    world.restart(Counting(world.cluster, world.clock))
    yield world
    world.queue.close()


def counted(world: World) -> Counting:
    assert isinstance(world.slurm, Counting)
    return world.slurm


def comment(world: World, job: QueueJob) -> str:
    return world.training(job).slurm.comment


def says(world: World, job: QueueJob, state: str) -> str:
    deadline = world.row(job).request.deadline
    assert deadline is not None
    return f"ef-slurm: deadline {format_host_iso(deadline)} {state}"


def test_a_promise_is_shown_with_the_first_update_and_no_reshape_writes_it_again(
    world: World,
) -> None:
    job = running(world)
    assert comment(world, job) == says(world, job, "promised")
    assert (counted(world).comments, counted(world).alone) == (1, 0)
    # Others come and go, and it is moved and resized for them.
    for _ in range(4):
        world.submit(2_000, deadline=400.0)
        world.run(150)
    world.restart()
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert world.row(job).reshapes >= 2
    assert comment(world, job) == says(world, job, "promised")
    about_it = [line for line in world.cluster.jobs.values() if line.comment]
    assert counted(world).comments <= len(about_it) + 1


def test_its_owners_words_are_kept_and_may_be_changed(world: World) -> None:
    job = running(world)
    slurm = world.training(job).slurm
    slurm.comment = "run 3"
    world.run(20)
    assert slurm.comment == f"run 3; {says(world, job, 'promised')}"
    slurm.comment = "ef-slurm: deadline 2099-01-01T00:00:00+00:00 promised"
    world.run(PAUSE_SECONDS + 20)
    assert slurm.comment == says(world, job, "promised")


def test_a_changed_deadline_is_shown(world: World) -> None:
    job = running(world)
    deadline = world.row(job).request.deadline
    assert deadline is not None
    before = comment(world, job)
    world.scheduler.change(job.id, JobChange(deadline=deadline + 500.0), "user1")
    world.run(PAUSE_SECONDS + 20)
    assert comment(world, job) == says(world, job, "promised") != before
    assert counted(world).comments == 2


def test_a_promise_at_risk_is_shown_and_a_late_one(world: World) -> None:
    job = running(world)
    world.scheduler.act(job.id, JobAction.HOLD, "root", by_owner=False)
    world.run(60)
    assert comment(world, job) == says(world, job, "at risk")
    deadline = world.row(job).request.deadline
    assert deadline is not None
    world.run(deadline - world.clock.now + 60)
    assert comment(world, job) == says(world, job, "late")
    assert counted(world).alone == 2


def test_waitlisted_and_best_effort_jobs(world: World) -> None:
    world.cluster.occupy("user2", ("n1", "n2", "n3", "n4"), 4, 880.0, world.clock.now)
    waits = world.submit(20_000, deadline=900.0, if_infeasible=IfInfeasible.WAIT)
    goes = world.submit(20_000, deadline=900.0, if_infeasible=IfInfeasible.BEST_EFFORT)
    plain = world.submit(500, deadline=None)
    world.run(60)
    assert comment(world, waits) == says(world, waits, "not promised, waitlisted")
    assert comment(world, goes) == says(world, goes, "not promised, best effort")
    assert comment(world, plain) == "ef-slurm: best effort"


@pytest.mark.parametrize("words", ["", "run 3"])
def test_a_hold_and_its_release_by_comment_keep_the_words(world: World, words: str) -> None:
    job = running(world)
    slurm = world.training(job).slurm
    before = f"{words}; " if words else ""
    slurm.comment = before + OWNER_HELD
    world.run_until(lambda: world.state(job) is JobState.HELD, 60.0)
    world.run(100)
    assert slurm.comment == before + OWNER_HELD  # it is still what its owner wants
    slurm.comment = before + OWNER_RELEASED
    world.run_until(lambda: world.state(job) is JobState.RUNNING, 200.0)
    assert slurm.comment == before + says(world, job, "promised")


def test_slurm_that_takes_no_comment_costs_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    counted(world).refuses = True
    job = running(world)
    world.training(job).slurm.comment = "run 3"
    world.run(120)
    told = [line for line in caplog.messages if "its comment could not be written" in line]
    assert len(told) == 1
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert world.training(job).slurm.comment == "run 3"


def test_a_comment_that_slurm_changes_is_no_reason_not_to_start(world: World) -> None:
    class Shouting(Counting):
        def update(self, job_id: int, update: JobUpdate) -> SlurmJob:
            if update.comment is not None:
                update = replace(update, comment=update.comment.upper())
            return super().update(job_id, update)

    world.restart(Shouting(world.cluster, world.clock))
    job = running(world)
    world.run(100)
    assert world.state(job) is JobState.RUNNING
    assert counted(world).comments <= 3


def test_a_tick_writes_a_few(world: World) -> None:
    world.cluster.occupy("user2", ("n1", "n2", "n3", "n4"), 4, 1000.0, world.clock.now)
    jobs = [world.submit(200, deadline=50_000.0) for _ in range(MOST_IN_A_TICK + 4)]
    world.step()
    assert counted(world).alone <= MOST_IN_A_TICK
    world.run(60)
    assert all(comment(world, job) == says(world, job, "promised") for job in jobs)
    assert counted(world).comments == len(jobs)
