"""A job that was submitted: asked about, waited for, changed, cancelled."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import pytest

import ef_slurm
from ef_slurm.api.messages import ActOnJob, Cancel, ChangeJob
from ef_slurm.model import ChangeOutcome, JobAction, JobState
from ef_slurm.slurm.types import JobBaseState
from tests.unit.cli.conftest import NOW
from tests.unit.python.conftest import World


@pytest.fixture
def job(world: World) -> ef_slurm.Job:
    assert not world.cluster.jobs
    return ef_slurm.submit(
        "train.py", deadline="+1h", iterations=100, global_batch_size=8, throughput={1: 1.0}
    )


def end(world: World, job: ef_slurm.Job, state: JobState) -> None:
    world.daemon.jobs[job.id] = replace(world.daemon.jobs[job.id], state=state, ended=NOW)


def test_found_again_by_its_id(job: ef_slurm.Job) -> None:
    assert ef_slurm.job(job.id) == job
    assert repr(job) == f"Job(id={job.id})"
    with pytest.raises(ef_slurm.UnknownJobError, match="job 77 is not in") as unknown:
        ef_slurm.job(77)
    assert isinstance(unknown.value, LookupError)


def test_waiting(world: World, job: ef_slurm.Job) -> None:
    before = time.monotonic()
    with pytest.raises(TimeoutError, match="is admitted after 0.3 s"):
        job.wait(timeout=0.3)
    assert time.monotonic() - before >= 0.3
    end(world, job, JobState.FAILED)
    assert job.wait() is JobState.FAILED
    assert job.wait(timedelta(seconds=1)) is JobState.FAILED
    assert job.done
    assert job.promise is not None
    assert job.promise.finish is not None
    assert job.promise.finish.timestamp() == NOW
    assert job.promise.slack == job.promise.deadline - job.promise.finish


def test_the_daemon_is_away(world: World, job: ef_slurm.Job) -> None:
    world.daemon.there = False
    with pytest.raises(ef_slurm.NoAnswerError, match="nobody listens"):
        _ = job.state
    with pytest.raises(ef_slurm.NoAnswerError):
        job.wait(timeout=0.1)


def test_cancelling(world: World, job: ef_slurm.Job) -> None:
    job.cancel()
    assert world.cluster.jobs[job.id].state is JobBaseState.CANCELLED
    assert world.daemon.asked[-1] == Cancel((job.id,))
    world.cluster.jobs.clear()  # purged: only the queue has it any more
    job.cancel()


def test_changing(world: World, job: ef_slurm.Job) -> None:
    assert job.update(deadline=timedelta(hours=2), iterations=50, max_gpus=0) == "so it is"
    asked = world.daemon.asked[-1]
    assert isinstance(asked, ChangeJob)
    assert asked.change.deadline == pytest.approx(time.time() + 7200, abs=60)
    assert (asked.change.iterations, asked.change.max_gpus) == (50, 0)
    job.update(best_effort=True)
    world.daemon.change = ChangeOutcome.REFUSED
    with pytest.raises(ef_slurm.NotPromisedError, match="nothing was changed") as refused:
        job.update(deadline="+10s")
    assert refused.value.offer is not None
    assert refused.value.offer.timestamp() > NOW + 1000
    with pytest.raises(ef_slurm.WrongOptionError, match="what is to change"):
        job.update()
    with pytest.raises(ef_slurm.WrongOptionError, match="iterations"):
        job.update(iterations=-1)


def test_holding_and_releasing(world: World, job: ef_slurm.Job) -> None:
    for act, action in (
        (job.hold, JobAction.HOLD),
        (job.release, JobAction.RELEASE),
        (job.requeue, JobAction.REQUEUE),
    ):
        assert act() == f"job {job.id}: done"
        assert world.daemon.asked[-1] == ActOnJob(job.id, action)
    with pytest.raises(ef_slurm.UnknownJobError):
        replace(job, id=99).hold()
