"""Intents: written before the act, closed by what is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon.act.executor import Executor, Refusal
from ef_slurm.daemon.act.steps import (
    Hold,
    OrderRelaunch,
    OrderStop,
    Release,
    Update,
)
from ef_slurm.daemon.observe.companion_book import CompanionBook
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.model import Block, IntentState, JobState
from ef_slurm.slurm.errors import NoSuchJobError, SlurmUnavailableError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import HoldKind, SignalTarget
from tests.fakes.memory_cluster import MemoryJob
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.daemon.make import (
    NOW,
    TWO_NODES,
    launch,
    running,
)
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def untyped(_block: Block) -> str:
    return ""


def actor(world: World, slurm: Slurm | None = None) -> Executor:
    return Executor(
        slurm or world.slurm,
        world.queue,
        world.bench,
        world.clock,
        untyped,
        CompanionBook(world.queue),
        HoldKind.ADMIN,
    )


def test_a_lost_answer_leaves_the_intent_open(world: World) -> None:
    job = world.submit(1000, deadline=600.0)
    status = JobStatus(world.slurm.job(job.request.slurm_job_id))
    world.cluster.answers_lost = 1
    with pytest.raises(SlurmUnavailableError):
        actor(world).execute(job, status, Hold(), "test")
    (open_one,) = world.queue.intents.unfinished()
    assert open_one.state is IntentState.OPEN
    assert open_one.attempts == 1
    # It was done all the same, and the next look closes it.
    actor(world).settle(job, JobStatus(world.slurm.job(job.request.slurm_job_id)))
    assert not world.queue.intents.unfinished()


def test_a_refusal_is_told_in_slurms_words(world: World) -> None:
    job = world.submit(1000, deadline=600.0)
    status = JobStatus(world.slurm.job(job.request.slurm_job_id))
    bad = replace(TWO_NODES, nodes=("n1", "nowhere"))
    refusal = actor(world).execute(job, status, Update(bad), "test")
    assert isinstance(refusal, Refusal)
    assert "node" in refusal.message
    assert not world.queue.intents.unfinished()
    assert any(refusal.message in event.message for event in world.queue.events.all(job_id=job.id))


def test_a_job_that_slurm_does_not_know(world: World) -> None:
    job = world.submit(1000, deadline=600.0)
    status = JobStatus(replace(world.slurm.job(job.request.slurm_job_id), job_id=999))
    with pytest.raises(NoSuchJobError):
        actor(world).execute(job, status, Hold(), "test")
    assert not world.queue.intents.unfinished()


def test_another_step_overtakes_an_unfinished_one(world: World) -> None:
    job = world.submit(1000, deadline=600.0)
    status = JobStatus(world.slurm.job(job.request.slurm_job_id))
    world.cluster.answers_lost = 1
    with pytest.raises(SlurmUnavailableError):
        actor(world).execute(job, status, Update(TWO_NODES), "test")
    assert isinstance(actor(world).execute(job, status, Hold(), "test"), JobStatus)
    assert not world.queue.intents.unfinished()
    assert world.queue.jobs.get(job.id).state is JobState.NEW


@pytest.mark.parametrize("how", ["refused", "dropped", "held", "updated"])
def test_a_job_whose_release_does_not_come_is_not_starting(world: World, how: str) -> None:
    job = world.submit(1000, deadline=600.0)
    job = world.queue.jobs.move(job.id, JobState.ADMITTED, at=NOW, actor="x", why="test")
    status = JobStatus(world.slurm.job(job.request.slurm_job_id))
    if how == "refused":
        stranger = MemorySlurm(world.cluster, world.clock, user="user2", operator=False)
        other = actor(world, stranger)
        assert isinstance(other.execute(job, status, Release(TWO_NODES), "test"), Refusal)
    else:
        world.cluster.answers_lost = 1
        with pytest.raises(SlurmUnavailableError):
            actor(world).execute(job, status, Release(TWO_NODES), "test")
        assert world.state(job) is JobState.STARTING
    if how == "dropped":
        actor(world).drop(job, "test")
    elif how in ("held", "updated"):
        step = Hold() if how == "held" else Update(TWO_NODES)
        actor(world).execute(job, status, step, "test")
    assert world.state(job) is JobState.ADMITTED


def test_a_time_limit_counts_from_the_first_start(world: World) -> None:
    job = world.submit(1000, deadline=600.0)
    status = JobStatus(world.slurm.job(job.request.slurm_job_id))
    started = replace(
        job,
        request=replace(job.request, max_time=3600.0),
        first_started_at=world.clock.now - 1800.0,
    )
    after = actor(world).execute(started, status, Update(TWO_NODES), "test")
    assert isinstance(after, JobStatus)
    assert after.slurm.requested.time_limit == 1800.0


@pytest.mark.parametrize(
    ("reported", "sent"), [("USR2", ["USR2"]), ("URG", ["URG"]), ("KILL", []), ("URG; rm", [])]
)
def test_only_a_signal_that_the_launch_knows_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch, reported: str, sent: list[str]
) -> None:
    """The report is the user's own: whatever it says, nothing but these can come of it."""
    signals: list[str] = []

    def note(_job_id: int, signal: str, target: SignalTarget) -> None:
        assert target is SignalTarget.STEPS
        signals.append(signal)

    job = world.submit(1000, deadline=600.0)
    status = running(TWO_NODES, launch=launch(stop_signal=reported))
    monkeypatch.setattr(world.slurm, "signal", note)
    monkeypatch.setattr(world.bench, "order", lambda _job, _order: None)
    assert isinstance(actor(world).execute(job, status, OrderStop(1), "test"), JobStatus)
    assert signals == sent
    # All steps would get it, and one may just be starting the servers of the next launch.
    assert isinstance(actor(world).execute(job, status, OrderRelaunch(1), "test"), JobStatus)
    assert signals == sent


class _Forgetful(MemorySlurm):
    """Undoes what an update changed as soon as the job is released, as backfill may."""

    undo: Callable[[MemoryJob], None]

    def release(self, job_id: int) -> None:
        super().release(job_id)
        self.undo(self._cluster.jobs[job_id])


def undone_limit(job: MemoryJob) -> None:
    job.time_limit = 7 * 86400.0


def undone_shape(job: MemoryJob) -> None:
    job.required, job.nodes = ("n3",), ("n3",) if job.nodes else ()


@pytest.mark.parametrize(
    ("undo", "told"),
    [
        (undone_limit, "time limit in seconds is 604800.0, not 600.0"),
        (undone_shape, "node list is n3, not n[1-2]"),
        (lambda _: None, ""),
    ],
)
def test_what_slurm_undoes_after_a_release_is_told(
    world: World, undo: Callable[[MemoryJob], None], told: str
) -> None:
    job = world.submit(1000, deadline=600.0)
    world.queue.jobs.move(job.id, JobState.ADMITTED, at=NOW, actor="x", why="test")
    row = world.queue.jobs.get(job.id)
    limited = replace(row.request, max_time=600.0)
    row = replace(row, request=limited, first_started_at=world.clock.now)
    slurm = _Forgetful(world.cluster, world.clock)
    slurm.undo = undo
    acting = actor(world, slurm)
    status: JobStatus | Refusal = JobStatus(slurm.job(row.request.slurm_job_id))
    for step in (Update(TWO_NODES), Release(TWO_NODES)):
        assert isinstance(status, JobStatus)
        status = acting.execute(row, status, step, "test")
    seen = slurm.job(row.request.slurm_job_id)
    released_at = world.clock.now
    assert acting.check_release(row, seen, released_at) is seen  # that was seen before
    again = acting.check_release(row, seen, released_at + 1.0)
    assert again.requested.time_limit == 600.0  # done again
    assert acting.check_release(row, seen, released_at + 2.0) is seen  # and that once
    said = [event.message for event in world.queue.events.all(job_id=row.id)]
    assert any(told in one and "after its update" in one for one in said) is bool(told)
