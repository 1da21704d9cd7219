"""The daemon's whole way from submission to the end, against a Slurm in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.model import (
    BatchScript,
    EventKind,
    Fault,
    IfInfeasible,
    JobState,
    Outcome,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    ReasonCode,
    view,
)
from ef_slurm.planner.plan import PlannedRound, plan_round
from ef_slurm.slurm.errors import UnexpectedOutputError
from ef_slurm.slurm.types import (
    HoldKind,
    JobBaseState,
    JobUpdate,
    SlurmJob,
    Submission,
    Submitted,
)
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def settled(world: World, job: QueueJob) -> tuple[PromiseOutcome, Fault | None]:
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    return promise.outcome, promise.fault


def test_a_promised_job_runs_to_its_end(world: World) -> None:
    job = world.submit(3200, deadline=600.0)
    world.step()
    verdict = world.queue.promises.verdict(job.id)
    assert verdict is not None
    assert verdict.outcome is Outcome.PROMISED
    world.run_until(world.finished, 600)
    done = world.row(job)
    assert done.state is JobState.COMPLETED
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT
    assert not world.queue.intents.unfinished()


def test_an_infeasible_job_is_rejected_and_its_slurm_job_cancelled(world: World) -> None:
    job = world.submit(10_000_000, deadline=100.0)
    world.step()
    assert world.state(job) is JobState.REJECTED
    world.run(30)
    assert world.training(job).slurm.state.value == "CANCELLED"


def test_a_job_grows_and_shrinks_for_a_newcomer(world: World) -> None:
    first = world.submit(40_000, deadline=3000.0)
    world.run(60)
    assert world.row(first).share == 16
    second = world.submit(40_000, deadline=800.0)
    world.run_until(lambda: world.state(second) is JobState.RUNNING, 200)
    assert world.row(first).share < 16
    world.run_until(world.finished, 4000)
    for job in (first, second):
        promise = world.queue.promises.of(job.id)
        assert promise is not None
        assert promise.outcome is PromiseOutcome.KEPT
    kinds = {event.kind for event in world.queue.events.all(job_id=first.id)}
    assert {EventKind.SHARE, EventKind.MEASURED, EventKind.INTENT} <= kinds


def test_the_waiting_list_is_admitted_when_capacity_appears(world: World) -> None:
    other = world.cluster.occupy("user2", ("n1", "n2", "n3"), 4, 10_000.0, world.clock.now)
    # 4 GPUs would take 940 s, 16 GPUs take 340 s.
    job = world.submit(30_000, deadline=700.0, if_infeasible=IfInfeasible.WAIT)
    world.run(100)
    assert (world.state(job), world.row(job).share) == (JobState.WAITLISTED, 0)
    verdict = world.queue.promises.verdict(job.id)
    assert verdict is not None
    assert verdict.outcome is Outcome.WAITLISTED
    assert verdict.earliest_deadline is not None
    assert verdict.earliest_deadline > world.row(job).request.submitted + 940.0
    assert world.queue.promises.of(job.id) is None
    world.cluster.finish(other.job_id, world.clock.now)
    world.run(20)
    assert world.state(job) is JobState.RUNNING
    assert settled(world, job) == (PromiseOutcome.OPEN, None)
    world.run_until(world.finished, 1000)
    assert settled(world, job) == (PromiseOutcome.KEPT, None)
    moves = world.queue.events.all(job_id=job.id, kinds=[EventKind.STATE])
    assert [event.data["to"] for event in moves][:2] == ["waitlisted", "admitted"]


def test_a_job_that_waits_in_vain_is_rejected(world: World) -> None:
    world.cluster.occupy("user2", ("n1", "n2", "n3"), 4, 10_000.0, world.clock.now)
    job = world.submit(30_000, deadline=700.0, if_infeasible=IfInfeasible.WAIT)
    # After this not even the empty cluster would be fast enough.
    world.run(350)
    assert world.state(job) is JobState.WAITLISTED
    world.run(30)
    assert world.state(job) is JobState.REJECTED
    assert world.queue.promises.of(job.id) is None


def test_a_job_that_slurm_forgot_is_submitted_again(world: World) -> None:
    job = world.submit(20_000, deadline=2000.0)
    world.run(60)
    training = world.training(job)
    world.bench.advance()
    del world.cluster.jobs[training.slurm.job_id]
    old = training.slurm.job_id

    def come_back() -> bool:
        row = world.row(job)
        if (
            row.request.slurm_job_id != old
            and row.request.slurm_job_id not in world.bench.trainings
        ):
            training.slurm = world.cluster.jobs[row.request.slurm_job_id]
            world.bench.trainings[row.request.slurm_job_id] = world.bench.trainings.pop(old)
        return row.state is JobState.COMPLETED

    world.run_until(come_back, 3000)


def test_a_script_that_dies_is_failed_where_slurm_does_not_take_it_back(world: World) -> None:
    world.settings = replace(
        world.settings, uid=4711
    )  # somebody else's job: no submission for them
    world.restart()
    job = world.submit(20_000, deadline=2000.0)
    world.run(60)
    world.bench.advance()
    world.training(job).slurm.may_requeue = False
    world.cluster.finish(world.training(job).slurm.job_id, world.clock.now, exit_code=1)
    world.run(30)
    assert world.state(job) is JobState.FAILED
    assert settled(world, job) == (PromiseOutcome.VOID, Fault.JOB)


def test_a_script_that_dies_goes_on_where_slurm_takes_it_back(world: World) -> None:
    """Also somebody else's, for whom nothing can be submitted."""
    world.settings = replace(world.settings, uid=4711)
    world.restart()
    job = world.submit(20_000, deadline=2000.0)
    world.run(60)
    world.bench.advance()
    slurm = world.training(job).slurm
    world.cluster.finish(slurm.job_id, world.clock.now, exit_code=1)
    world.run_until(world.finished, 3000)
    assert (world.state(job), slurm.restarts) == (JobState.COMPLETED, 1)
    assert settled(world, job) == (PromiseOutcome.KEPT, None)


def test_a_job_that_is_not_taken_back_after_a_node_failure_breaks_its_promise(
    world: World,
) -> None:
    world.settings = replace(world.settings, uid=4711)
    world.restart()
    job = world.submit(20_000, deadline=2000.0)
    world.run(60)
    slurm = world.training(job).slurm
    slurm.state, slurm.ended = JobBaseState.NODE_FAIL, world.clock.now
    slurm.may_requeue = False
    world.run(30)
    assert world.state(job) is JobState.FAILED
    assert settled(world, job) == (PromiseOutcome.BROKEN, Fault.CLUSTER)


def test_a_job_that_is_lost_for_good_breaks_its_promise(world: World) -> None:
    world.settings = replace(world.settings, uid=4711)
    world.restart()
    job = world.submit(20_000, deadline=2000.0)
    world.run(60)
    del world.cluster.jobs[job.request.slurm_job_id]
    world.run(30)
    assert world.state(job) is JobState.LOST
    assert settled(world, job) == (PromiseOutcome.BROKEN, Fault.CLUSTER)


@pytest.mark.parametrize("fresh", [False, True])
def test_an_answer_that_cannot_be_read_is_not_that_the_job_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch, *, fresh: bool
) -> None:
    job = world.submit(20_000, deadline=2000.0)
    if not fresh:
        world.run(60)
    slurm_id = job.request.slurm_job_id
    known = world.cluster.jobs[slurm_id]

    def garbled(_job_id: int) -> SlurmJob:
        raise UnexpectedOutputError("no JSON")

    with monkeypatch.context() as patched:
        patched.setattr(world.slurm, "job", garbled)
        del world.cluster.jobs[slurm_id]
        before = world.row(job)
        world.run(15)
        assert world.state(job) is before.state
        assert world.row(job).running == before.running
    world.cluster.jobs[slurm_id] = known
    world.run(60)
    assert world.state(job) is JobState.RUNNING
    assert len(world.cluster.jobs) == 1  # not submitted again


def test_who_died_submitting_a_lost_job_again_finds_what_was_submitted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.submit(20_000, deadline=2000.0)
    world.run(60)
    del world.cluster.jobs[job.request.slurm_job_id]
    submit = world.slurm.submit

    def dies(submission: Submission) -> Submitted:
        submit(submission)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(world.slurm, "submit", dies)
        with pytest.raises(KeyboardInterrupt):
            world.run(30)
    assert world.state(job) is JobState.LOST
    (made,) = world.cluster.jobs.values()
    made.name = job.request.name  # as its script's options have it
    world.restart()
    world.scheduler.tick()
    assert world.row(job).request.slurm_job_id == made.job_id
    assert list(world.cluster.jobs.values()) == [made]


def held_by_an_operator(world: World, deadline: float) -> QueueJob:
    job = world.submit(20_000, deadline=deadline)
    world.run(60)
    world.cluster.requeue(world.training(job).slurm, world.clock.now)
    world.training(job).slurm.hold = HoldKind.ADMIN
    world.run(10)
    assert world.state(job) is JobState.HELD
    assert world.row(job).promise is PromiseState.AT_RISK
    assert settled(world, job) == (PromiseOutcome.OPEN, None)
    return job


def test_an_operators_hold_breaks_the_promise_when_the_deadline_passes(world: World) -> None:
    job = held_by_an_operator(world, deadline=800.0)
    world.run(735)
    assert world.state(job) is JobState.HELD
    assert settled(world, job) == (PromiseOutcome.BROKEN, Fault.OPERATOR)


def test_an_operators_hold_that_ends_early_enough_does_not(world: World) -> None:
    job = held_by_an_operator(world, deadline=800.0)
    world.training(job).slurm.hold = HoldKind.NONE
    world.run_until(world.finished, 2000)
    assert settled(world, job) == (PromiseOutcome.KEPT, None)


def test_a_deadline_that_has_passed_is_told_at_once_and_the_job_goes_on(world: World) -> None:
    job = world.submit(20_000, deadline=400.0)
    world.run(60)
    for name in ("n2", "n3", "n4"):
        world.cluster.kill_node(name, world.clock.now)
    world.run(338)
    assert settled(world, job) == (PromiseOutcome.OPEN, None)
    assert world.row(job).promise is PromiseState.AT_RISK
    world.run(4)
    assert settled(world, job) == (PromiseOutcome.BROKEN, Fault.CLUSTER)
    assert world.state(job) is JobState.RUNNING
    world.run_until(world.finished, 4000)
    assert world.state(job) is JobState.COMPLETED
    assert settled(world, job) == (PromiseOutcome.BROKEN, Fault.CLUSTER)
    told = [event.message for event in world.queue.events.all(kinds=[EventKind.PROMISE])]
    broken = [message for message in told if message.startswith("promise broken: its deadline")]
    assert len(broken) == 1
    # Nothing is told of the promise after that, and its state is no plan's any more.
    assert told[-1] == broken[0]
    shown = view(world.row(job), None, world.queue.promises.of(job.id))
    assert (shown.promise, shown.promise_fault) == (PromiseState.NONE, Fault.CLUSTER)


def test_a_job_is_said_to_have_ended_when_slurm_says_so(world: World) -> None:
    """Not when that is noticed: its promise is judged by Slurm's word."""
    job = world.submit(20_000, deadline=600.0)
    world.run(60)
    training, deadline = world.training(job), job.request.deadline
    assert deadline is not None
    training.slurm.state, training.slurm.ended = JobBaseState.COMPLETED, deadline - 1.0
    training.finished = True
    world.clock.now = deadline + 3.0
    world.run_until(world.finished, 60)
    assert settled(world, job) == (PromiseOutcome.KEPT, None)
    assert world.row(job).ended_at == deadline - 1.0
    (ended,) = world.queue.events.all(job_id=job.id, kinds=[EventKind.STATE])[-1:]
    assert ended.at >= deadline + 3.0


def test_whole_nodes_are_given_up_in_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.submit(80_000, deadline=None)
    world.run(60)
    old = world.row(job).running
    assert old is not None
    assert len(old.block.nodes) == 4
    smaller = replace(old.block, nodes=old.block.nodes[:2])

    def shrinking(*arguments: Any) -> PlannedRound:
        made = plan_round(*arguments)
        answer = made.plan
        decisions = tuple(replace(decision, block=smaller) for decision in answer.decisions)
        return made._replace(plan=replace(answer, decisions=decisions))

    monkeypatch.setattr("ef_slurm.daemon.plan.planning.plan_round", shrinking)
    world.run(90)
    training = world.training(job)
    assert training.slurm.restarts == 0
    assert training.slurm.nodes == smaller.nodes
    assert training.generation == 2
    assert world.state(job) is JobState.RUNNING


def test_an_order_that_cannot_be_written_means_requeue(world: World) -> None:
    world.bench.unwritable = True
    job = world.submit(40_000, deadline=3000.0)
    world.run(60)
    other = world.submit(40_000, deadline=800.0)
    world.run_until(lambda: world.state(other) is JobState.RUNNING, 200)
    assert world.training(job).slurm.restarts == 1


def test_a_dead_node_is_left_and_the_promise_kept(world: World) -> None:
    job = world.submit(20_000, deadline=3000.0)
    world.run(60)
    world.cluster.kill_node("n2", world.clock.now)
    world.run_until(lambda: world.state(job) is not JobState.RUNNING, 30)
    world.run_until(lambda: world.state(job) is JobState.RUNNING, 200)
    assert "n2" not in world.training(job).slurm.nodes
    told = [event.message for event in world.queue.events.all(kinds=[EventKind.NODE])]
    assert any("n2" in message for message in told)
    world.run_until(world.finished, 4000)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


def test_others_jobs_are_never_disturbed(world: World) -> None:
    other = world.cluster.occupy("user2", ("n1", "n2"), 2, 500.0, world.clock.now)
    job = world.submit(5_000, deadline=3000.0)
    world.run_until(world.finished, 4000)
    assert other.restarts == 0
    assert world.row(job).state is JobState.COMPLETED


def test_slurm_that_does_not_answer_is_waited_for(world: World) -> None:
    job = world.submit(20_000, deadline=3000.0)
    world.run(60)
    world.cluster.reachable = False
    world.run(120)
    world.cluster.reachable = True
    world.cluster.answers_lost = 3
    world.run_until(world.finished, 4000)
    assert world.row(job).state is JobState.COMPLETED
    told = [event.message for event in world.queue.events.all(kinds=[EventKind.DAEMON])]
    assert len(told) >= 2


@pytest.mark.parametrize(("speed", "shares"), [(1.0, [2]), (0.5, [2, 4])])
def test_a_slow_job_is_noticed_and_gets_more(
    tmp_path: Path, speed: float, shares: list[int]
) -> None:
    """As fast as its curve, 2 of the 4 GPUs are enough all the time; at half the speed, 4 are."""
    world = World(tmp_path / "one-node.sqlite", nodes=1)
    other = world.submit(40_000, deadline=None)
    job = world.submit(10_000, deadline=800.0, speed=speed)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED, 900)
    events = world.queue.events.all(job_id=job.id, kinds=[EventKind.MEASURED, EventKind.SHARE])
    rates = [e.data["value"] for e in events if e.data.get("what") == "rate"]
    assert rates[0] == pytest.approx(18.0 * speed, rel=0.02)
    assert [e.data["to"] for e in events if e.kind is EventKind.SHARE] == shares
    assert settled(world, job) == (PromiseOutcome.KEPT, None)
    # Who has no promise makes room.
    given = world.queue.events.all(job_id=other.id, kinds=[EventKind.SHARE])
    assert [event.data["to"] for event in given][: len(shares)] == [2, 0][: len(shares)]
    world.queue.close()


def test_a_command_that_knows_nothing_of_orders_runs_too(world: World) -> None:
    job = world.submit(2_000, deadline=2000.0, elastic=False)
    world.run_until(world.finished, 3000)
    assert world.row(job).state is JobState.COMPLETED


def test_advisory_acts_on_nothing(world: World) -> None:
    world.settings = replace(world.settings, advisory=True)
    world.restart()
    job = world.submit(2_000, deadline=2000.0)
    world.run(60)
    assert world.state(job) is JobState.NEW
    assert world.training(job).slurm.hold.value == "user"


def test_another_users_slurm_job_is_not_taken(world: World) -> None:
    job = world.submit(2_000, deadline=2000.0)
    forged = replace(job.request, slurm_job_id=job.request.slurm_job_id, uid=4711)
    world.queue.jobs.move(job.id, JobState.CANCELLED, at=world.clock.now, actor="x", why="test")
    row = world.queue.jobs.add(forged, BatchScript("#!/bin/sh\n"), actor="user2")
    world.step()
    assert world.state(row) is JobState.FAILED


def test_a_cancel_in_the_middle_of_an_action_is_a_cancel(world: World) -> None:
    job = world.submit(20_000, deadline=2000.0)
    plain = world.slurm.update

    def cancelled_meanwhile(job_id: int, update: JobUpdate) -> SlurmJob:
        plain(job_id, update)
        world.cluster.cancel(world.cluster.jobs[job_id], world.clock.now)
        return world.slurm.job(job_id)

    world.slurm.update = cancelled_meanwhile  # type: ignore[method-assign]
    world.run(30)
    assert world.state(job) is JobState.CANCELLED
    assert len(world.cluster.jobs) == 1


def test_a_shape_that_slurm_holds_by_itself_is_told_and_not_tried_at_every_tick(
    world: World,
) -> None:
    job = world.submit(20_000, deadline=2000.0)
    plain, tried = world.slurm.release, []

    def hold_as_unfit(job_id: int) -> None:
        plain(job_id)
        slurm = world.cluster.jobs[job_id]
        tried.append((slurm.min_nodes or 1) * slurm.gpus_per_node)
        slurm.hold, slurm.reason = HoldKind.SLURM, "BadConstraints"
        slurm.state, slurm.nodes, slurm.started = JobBaseState.PENDING, (), None

    world.slurm.release = hold_as_unfit  # type: ignore[method-assign]
    world.run(20)
    row = world.row(job)
    assert row.state is JobState.ADMITTED
    assert "BadConstraints" in row.note
    # No node has what a size needs: each size is tried once, the largest first, and then none.
    assert tried == [16, 8, 4, 2, 1]
    assert row.promise is PromiseState.AT_RISK
    assert row.reason is not None
    assert row.reason.code is ReasonCode.REFUSED


def test_a_start_that_takes_longer_than_was_counted_on_changes_the_plan_soon(world: World) -> None:
    """And not only when the plan in force is a minute old."""
    world.settings = replace(world.settings, replan_interval=float("inf"))
    world.restart()
    job = world.submit(20_000, deadline=3000.0, boot=200.0)
    world.step()
    predicted = world.row(job).finish
    assert predicted is not None
    world.run(8 + 10 + 2)  # what a start costs, and how old a plan must be to be made anew for it
    later = world.row(job).finish
    assert later is not None
    assert later > predicted + 5.0
    # Nor at every tick.
    planned = world.queue.plans.last()
    assert planned is not None
    world.run(5)
    assert world.queue.plans.last() == planned


def test_a_release_wakes_a_node_that_is_powered_down(world: World) -> None:
    """Its time to wake is part of the promise, and nobody gives up on the job before."""
    for name in ("n1", "n2", "n3", "n4"):
        world.cluster.power_down(name)
    refused = world.submit(200, deadline=60.0)
    job = world.submit(1600, deadline=600.0)
    began = world.clock.now
    world.step()
    assert world.row(refused).state is JobState.REJECTED
    verdict = world.queue.promises.verdict(job.id)
    assert verdict is not None
    assert verdict.outcome is Outcome.PROMISED
    assert verdict.finish is not None
    assert verdict.finish > began + 60.0
    world.run_until(world.finished, 600)
    assert world.row(job).state is JobState.COMPLETED
    assert settled(world, job) == (PromiseOutcome.KEPT, None)
    assert world.row(job).reshapes == 0


def test_a_node_that_is_up_is_preferred(world: World) -> None:
    for name in ("n1", "n2", "n4"):
        world.cluster.power_down(name)
    job = world.submit(100, deadline=600.0)
    world.step()
    running = world.row(job).running
    assert running is not None
    assert running.block.nodes == ("n3",)


def test_gpu_types_are_slurms_while_nothing_is_queued(world: World) -> None:
    world.step()
    assert world.scheduler.gpu_types == ("gpu",)
    for node in world.cluster.nodes.values():
        node.gpu_type = "a100"
    world.clock.now += 61.0
    world.scheduler.tick()
    assert world.scheduler.gpu_types == ("a100",)
