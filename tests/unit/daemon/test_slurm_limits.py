"""Limits that are Slurm's, from submission to the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.formats.sentences import verdict_sentence
from ef_slurm.model import (
    Fault,
    JobState,
    Outcome,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    ReasonCode,
    Verdict,
)
from ef_slurm.slurm.accounting_types import Accounting, LimitSet, SlurmQos
from ef_slurm.slurm.site_types import SlurmLicense, SlurmPartition, SlurmReservation
from tests.unit.daemon.world import World

SMALL = {"QOS": "small"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    world.cluster.accounting = Accounting(
        (SlurmQos("small", LimitSet(per_user={"gres/gpu": 4.0})),)
    )
    world.cluster.licenses = (SlurmLicense("solver", 1),)
    world.cluster.partition_limits = SlurmPartition("ef", True, tuple(world.cluster.nodes))
    yield world
    world.queue.close()


def answer(world: World, job: QueueJob) -> tuple[Outcome, ReasonCode, str]:
    verdict = world.queue.promises.verdict(job.id)
    assert verdict is not None
    words = verdict_sentence(Verdict(str(job.id), verdict.outcome, verdict.reason), str)
    return verdict.outcome, verdict.reason.code, words


def settled(world: World, job: QueueJob) -> tuple[PromiseOutcome, Fault | None]:
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    return promise.outcome, promise.fault


def test_jobs_of_a_limited_qos_take_turns_and_keep_their_promises(world: World) -> None:
    """Each takes 100 s on the four GPUs that they may have together."""
    jobs = [world.submit(3200, deadline=400.0, asked=SMALL) for _ in range(3)]
    free = world.submit(3200, deadline=400.0)
    most = [0]

    def done() -> bool:
        rows = [world.row(job) for job in jobs]
        most[0] = max(most[0], sum(row.share for row in rows))
        return world.finished()

    world.run_until(done, 2000)
    assert most == [4]
    assert [settled(world, job) for job in (*jobs, free)] == [(PromiseOutcome.KEPT, None)] * 4


def test_what_a_partition_never_gives_is_named(world: World) -> None:
    """Only 16 GPUs would be fast enough."""
    up = world.cluster.partition_limits
    assert up is not None
    world.cluster.partition_limits = replace(up, max_nodes=3)
    job = world.submit(9000, deadline=120.0)
    world.step()
    words = "not promised: MaxNodes=3 of partition ef allows it 8 GPUs at most"
    assert answer(world, job)[2] == words
    verdict = world.queue.promises.verdict(job.id)
    assert verdict is not None
    assert verdict.earliest_deadline is not None  # 8 GPUs are enough by then


def test_what_others_of_ones_own_jobs_use_up_is_named(world: World) -> None:
    world.submit(9600, deadline=320.0, asked=SMALL)
    world.step()
    late = world.submit(9600, deadline=320.0, asked=SMALL)
    world.step()
    assert answer(world, late) == (
        Outcome.REJECTED,
        ReasonCode.LIMITED,
        "not promised: MaxTRESPerUser=gres/gpu=4 of QOS small for user1 leaves it too little "
        "beside other jobs",
    )


def test_what_jobs_outside_of_ef_slurm_use_counts(world: World) -> None:
    other = world.cluster.occupy("user1", ("n1",), 4, 300.0, world.clock.now)
    other.settings |= SMALL
    job = world.submit(3200, deadline=200.0, asked=SMALL)
    later = world.submit(3200, deadline=600.0, asked=SMALL)
    world.step()
    assert answer(world, job)[0] is Outcome.REJECTED
    assert answer(world, later)[0] is Outcome.PROMISED
    world.run_until(world.finished, 1000)
    assert settled(world, later) == (PromiseOutcome.KEPT, None)


def test_licences_are_handed_on(world: World) -> None:
    wants = {"licenses": "solver:1"}
    jobs = [world.submit(3200, deadline=500.0, asked=wants) for _ in range(3)]
    world.run_until(world.finished, 2000)
    assert [settled(world, job)[0] for job in jobs] == [PromiseOutcome.KEPT] * 3
    many = world.submit(3200, deadline=500.0, asked={"licenses": "solver:2"})
    world.step()
    assert answer(world, many)[2] == "not promised: Licenses=solver:1 does not let it start"


def test_a_partition_that_goes_down_puts_what_waits_at_risk(world: World) -> None:
    first = world.submit(16000, deadline=2000.0)
    world.run(30)
    up = world.cluster.partition_limits
    assert up is not None
    world.cluster.partition_limits = replace(up, state="DOWN")
    world.run(400)  # it is read now and then
    waits = world.submit(320, deadline=3000.0)
    world.step()
    down = "not promised: State=DOWN of partition ef does not let it start"
    assert answer(world, waits)[2] == down
    assert world.state(first) in (JobState.RUNNING, JobState.COMPLETED)
    world.cluster.partition_limits = up
    world.run(400)
    again = world.submit(320, deadline=3000.0)
    world.run_until(world.finished, 3000)
    assert settled(world, again) == (PromiseOutcome.KEPT, None)
    assert settled(world, first) == (PromiseOutcome.KEPT, None)


# --time


def test_a_limit_that_is_too_short_is_no_promise(world: World) -> None:
    job = world.submit(100_000, deadline=10_000.0, max_time=60.0)
    world.step()
    outcome, code, words = answer(world, job)
    assert (outcome, code) == (Outcome.REJECTED, ReasonCode.TIME_LIMIT)
    assert words == "not promised: it would be ended before it is done: --time=1:00"


def test_it_gets_the_share_that_its_limit_needs(world: World) -> None:
    """One GPU would be in time, and is ended before; four are done in 60 + 8 s."""
    job = world.submit(1920, deadline=10_000.0, max_time=120.0)
    world.step()
    assert world.row(job).share >= 4
    world.run_until(world.finished, 1000)
    assert settled(world, job) == (PromiseOutcome.KEPT, None)


def test_ended_by_its_owners_time_limit(world: World) -> None:
    job = world.submit(8000, deadline=5000.0, max_time=300.0, speed=0.2)
    world.run_until(world.finished, 2000)
    row = world.row(job)
    assert row.state is JobState.FAILED
    assert row.note.startswith("ended by its time limit (--time, 5:00) at iteration ")
    assert settled(world, job) == (PromiseOutcome.VOID, Fault.JOB)
    stories = [event.message for event in world.queue.events.all(job_id=job.id)]
    assert not any("eleased in Slurm" in story for story in stories)
    # Seen to come before it came.
    assert any("promise at risk" in story for story in stories)


def test_ended_by_the_time_limit_of_the_site(world: World) -> None:
    """It has asked for none; that it is slower than its curve is its own doing all the same.

    Also where a plan is made while Slurm is about to end it.
    """
    world.cluster.timing = replace(world.cluster.timing, stop=20.0)
    job = world.submit(8000, deadline=5000.0, time_limit=300.0, speed=0.2)
    world.run_until(world.finished, 2000)
    told = [event.message for event in world.queue.events.all(job_id=job.id)]
    assert not any(message.startswith("promise safe") for message in told)
    row = world.row(job)
    assert row.note.startswith("ended by its time limit (the longest that it could have in Slurm")
    assert settled(world, job) == (PromiseOutcome.VOID, Fault.JOB)


def test_a_time_limit_that_slurm_does_not_start_is_no_promise(world: World) -> None:
    up = world.cluster.partition_limits
    assert up is not None
    world.cluster.partition_limits = replace(up, max_time=600.0)
    job = world.submit(320, deadline=900.0, time_limit=1200.0)
    world.step()
    assert answer(world, job)[2] == (
        "not promised: MaxTime=10:00 of partition ef (its time limit is 20:00) "
        "does not let it start"
    )


def test_a_promise_at_risk_by_a_limit_says_which(world: World) -> None:
    other = world.cluster.occupy("user1", ("n1", "n2", "n3", "n4"), 4, 900.0, world.clock.now)
    job = world.submit(320, deadline=3000.0)
    world.run(10)
    assert answer(world, job)[0] is Outcome.PROMISED
    up = world.cluster.partition_limits
    assert up is not None
    world.cluster.partition_limits = replace(up, state="DOWN")
    world.run(700)
    row = world.row(job)
    assert (row.promise, row.share) == (PromiseState.AT_RISK, 0)
    assert row.reason is not None
    assert row.reason.limit == "State=DOWN of partition ef"
    world.cluster.partition_limits = up
    world.cluster.finish(other.job_id, world.clock.now)
    world.run_until(world.finished, 3000)
    assert settled(world, job) == (PromiseOutcome.KEPT, None)


# Reservations


def reserve(world: World, *nodes: str, start: float = -10.0, end: float = 1000.0) -> None:
    now = world.clock.now
    world.cluster.reservations = (SlurmReservation("course", now + start, now + end, nodes),)


def test_a_job_runs_in_the_reservation_that_it_asks_for_and_others_do_not(world: World) -> None:
    reserve(world, "n1", "n2")
    asked = world.submit(3200, deadline=300.0, asked={"reservation": "course"})
    plain = world.submit(3200, deadline=300.0)
    world.run(30)
    mine, others = world.row(asked).running, world.row(plain).running
    assert mine is not None
    assert others is not None
    assert mine.block.gpu_type == "gpu"
    assert set(mine.block.nodes) <= {"n1", "n2"}
    assert set(others.block.nodes) <= {"n3", "n4"}
    world.run_until(world.finished, 1000)
    for job in (asked, plain):
        assert settled(world, job) == (PromiseOutcome.KEPT, None)


def test_it_waits_for_its_reservation_and_is_done_before_that_ends(world: World) -> None:
    reserve(world, "n1", start=200.0, end=400.0)
    job = world.submit(3200, deadline=600.0, asked={"reservation": "course"})
    late = world.submit(32_000, deadline=5000.0, asked={"reservation": "course"})
    world.step()
    assert answer(world, job)[0] is Outcome.PROMISED
    assert answer(world, late)[0] is Outcome.REJECTED
    assert world.row(job).share == 0
    world.run_until(world.finished, 1000)
    assert settled(world, job) == (PromiseOutcome.KEPT, None)
    assert world.training(job).slurm.nodes == ("n1",)


def test_a_reservation_that_is_not_there_has_no_room(world: World) -> None:
    job = world.submit(3200, deadline=600.0, asked={"reservation": "gone"})
    world.step()
    assert answer(world, job)[2] == (
        "not promised: reservation gone, which has no GPUs for it (any more), does not let it start"
    )


def test_a_job_grows_inside_its_reservation(world: World) -> None:
    reserve(world, "n1", "n2", end=5000.0)
    job = world.submit(30_000, deadline=4000.0, asked={"reservation": "course"})
    world.run(60)
    assert world.row(job).share == 8
    world.run_until(world.finished, 4000)
    assert settled(world, job) == (PromiseOutcome.KEPT, None)
