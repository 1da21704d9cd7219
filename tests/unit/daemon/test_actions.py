"""Hold, release, requeue and top, as their owner or an operator asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.contract import LaunchState
from ef_slurm.daemon.plan.changes import NotAllowedError, NotPossibleError
from ef_slurm.model import (
    FINAL,
    Fault,
    HeldBy,
    IfInfeasible,
    JobAction,
    JobChange,
    JobState,
    PromiseOutcome,
    PromiseState,
    QueueJob,
)
from ef_slurm.slurm.types import OWNER_HELD, OWNER_RELEASED, HoldKind, JobBaseState
from tests.fakes.memory_cluster import Timing
from tests.unit.daemon.test_changes import outcomes, running, story
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def act(world: World, job: QueueJob, action: JobAction, *, operator: bool = False) -> str:
    actor = "root" if operator else "user1"
    return world.scheduler.act(job.id, action, actor, by_owner=not operator)


def waiting(world: World) -> QueueJob:
    world.cluster.occupy("user2", ("n1", "n2", "n3", "n4"), 4, 100.0, world.clock.now)
    job = world.submit(20_000, deadline=3000.0)
    world.run_until(lambda: world.state(job) is JobState.ADMITTED)
    return job


def is_off_its_gpus(world: World, job: QueueJob) -> bool:
    slurm = world.training(job).slurm
    return slurm.state is JobBaseState.PENDING and slurm.hold is HoldKind.ADMIN


def test_a_hold_on_a_running_job_saves_it_and_is_undone(world: World) -> None:
    job = running(world)
    world.run(60)
    assert "saves a checkpoint" in act(world, job, JobAction.HOLD)
    assert world.state(job) is JobState.HELD
    world.run_until(lambda: is_off_its_gpus(world, job), 60.0)
    done = world.training(job).checkpoint
    assert done > 500
    assert outcomes(world, job) == [PromiseOutcome.VOID]
    assert world.queue.promises.all()[0].fault is Fault.OWNER
    world.run(300)
    assert is_off_its_gpus(world, job)
    act(world, job, JobAction.RELEASE)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    assert outcomes(world, job) == [PromiseOutcome.VOID, PromiseOutcome.OPEN]
    assert world.training(job).base >= done
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job)[-1] is PromiseOutcome.KEPT


def test_an_owners_hold_says_that_it_ends_the_promise(world: World) -> None:
    promised, best_effort = running(world), world.submit(20_000, deadline=None)
    world.run_until(lambda: world.state(best_effort) is not JobState.NEW)
    assert "promise" not in act(world, best_effort, JobAction.HOLD)
    assert "this ends its promise" in act(world, promised, JobAction.HOLD)
    assert outcomes(world, promised) == [PromiseOutcome.VOID]


def test_an_operators_hold_does_not(world: World) -> None:
    job = running(world)
    assert "promise" not in act(world, job, JobAction.HOLD, operator=True)
    assert outcomes(world, job) == [PromiseOutcome.OPEN]


def test_a_hold_after_the_deadline_says_what_it_does(world: World) -> None:
    job = running(world)
    world.clock.now = (job.request.deadline or 0.0) + 100.0
    assert "its promise is broken" in act(world, job, JobAction.HOLD)
    assert outcomes(world, job) == [PromiseOutcome.BROKEN]


def test_a_hold_that_is_undone_before_it_is_carried_out(world: World) -> None:
    job = running(world)
    act(world, job, JobAction.HOLD)
    act(world, job, JobAction.RELEASE)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job) == [PromiseOutcome.VOID, PromiseOutcome.KEPT]


def test_a_hold_survives_the_daemon(world: World) -> None:
    job = running(world)
    act(world, job, JobAction.HOLD)
    world.restart()
    world.run_until(lambda: is_off_its_gpus(world, job), 100.0)
    world.restart()
    world.run(200)
    assert world.state(job) is JobState.HELD
    # Whoever lets it go in Slurm, by hand, does not start it.
    world.training(job).slurm.hold = HoldKind.NONE
    world.run(20)
    assert is_off_its_gpus(world, job)


@pytest.mark.parametrize("state", [JobBaseState.PREEMPTED, JobBaseState.NODE_FAIL])
def test_a_run_that_others_end_while_its_hold_is_carried_out_costs_no_job(
    tmp_path: Path, state: JobBaseState
) -> None:
    """Slurm forgets ended jobs: what is held for longer than that has to be back in its queue."""
    world = World(tmp_path / "queue.sqlite", timing=Timing(start=0.3, stop=0.3, min_job_age=300.0))
    job = running(world)
    act(world, job, JobAction.HOLD, operator=True)
    slurm = world.training(job).slurm
    slurm.state, slurm.ended = state, world.clock.now
    world.run(600)
    assert world.state(job) is JobState.HELD
    assert is_off_its_gpus(world, job)
    act(world, job, JobAction.RELEASE, operator=True)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    world.queue.close()


@pytest.mark.parametrize("in_slurm", [True, False])
def test_a_job_that_is_lost_while_it_is_held_is_held_when_it_is_submitted_again(
    world: World, *, in_slurm: bool
) -> None:
    job = running(world)
    slurm = world.training(job).slurm
    if in_slurm:
        world.cluster.requeue(slurm, world.clock.now)
        slurm.hold = HoldKind.USER
    else:
        act(world, job, JobAction.HOLD, operator=True)
    world.run(60)
    before = world.row(job)
    assert before.state is JobState.HELD
    del world.cluster.jobs[slurm.job_id]
    world.run(60)
    row = world.row(job)
    assert (row.state, row.held_here) == (JobState.HELD, before.held_here)
    assert (row.held_by, row.held_here) == (
        (HeldBy.OWNER, False) if in_slurm else (HeldBy.OPERATOR, True)
    )
    (again,) = world.cluster.jobs.values()
    assert again.job_id == row.request.slurm_job_id != slurm.job_id
    assert (again.state, again.restarts) == (JobBaseState.PENDING, 0)
    assert again.hold is not HoldKind.NONE
    act(world, job, JobAction.RELEASE, operator=True)
    world.run_until(lambda: again.state is JobBaseState.RUNNING, 60.0)


def test_a_script_that_fails_while_its_hold_is_carried_out_has_failed(world: World) -> None:
    job = running(world)
    act(world, job, JobAction.HOLD)
    world.training(job).state = LaunchState.FAILED
    world.cluster.finish(world.training(job).slurm.job_id, world.clock.now, exit_code=1)
    world.run(20)
    assert world.state(job) is JobState.FAILED
    assert "exit code 1" in world.row(job).note


def test_a_job_that_waits_is_held_and_promised_again(world: World) -> None:
    job = waiting(world)
    act(world, job, JobAction.HOLD)
    world.run(300)
    assert world.state(job) is JobState.HELD
    act(world, job, JobAction.RELEASE)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job) == [PromiseOutcome.VOID, PromiseOutcome.KEPT]


def test_released_too_late_it_goes_on_as_best_effort(world: World) -> None:
    job = running(world, deadline=520.0)
    world.run(30)
    act(world, job, JobAction.HOLD)
    world.run(600)
    act(world, job, JobAction.RELEASE)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    assert world.row(job).best_effort
    assert outcomes(world, job) == [PromiseOutcome.VOID]
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)


def test_an_operators_hold_leaves_the_promise_at_risk(world: World) -> None:
    job = running(world)
    act(world, job, JobAction.HOLD, operator=True)
    assert world.row(job).promise is PromiseState.AT_RISK
    world.run(100)
    assert outcomes(world, job) == [PromiseOutcome.OPEN]
    act(world, job, JobAction.RELEASE, operator=True)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job) == [PromiseOutcome.KEPT]
    assert any("held by root" in line for line in story(world, job))


@pytest.mark.parametrize("daemon_dies", [False, True])
@pytest.mark.parametrize("owner", ["no", "before", "after"])
def test_an_operators_hold_is_not_its_owners_to_end(
    world: World, owner: str, daemon_dies: bool
) -> None:
    job = running(world)
    slurm = world.training(job).slurm
    if owner == "before":
        act(world, job, JobAction.HOLD)
    words = act(world, job, JobAction.HOLD, operator=True)
    assert ("its owner cannot release it" in words) is (owner == "before")
    if owner == "after":
        assert "only operators may release it" in act(world, job, JobAction.HOLD)
    if daemon_dies:
        world.restart()
    world.run_until(lambda: is_off_its_gpus(world, job), 60.0)
    for _ in range(2):
        with pytest.raises(NotAllowedError, match="only operators may release it"):
            act(world, job, JobAction.RELEASE)
        slurm.comment = OWNER_RELEASED  # of scontrol release
        world.run(30)
        assert (world.state(job), world.row(job).held_by) == (JobState.HELD, HeldBy.OPERATOR)
        assert "an operator's ef-scontrol release" in world.row(job).note
    assert outcomes(world, job) == [
        PromiseOutcome.VOID if owner == "before" else PromiseOutcome.OPEN
    ]
    act(world, job, JobAction.RELEASE, operator=True)
    assert world.row(job).held_by is None
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job)[-1] is PromiseOutcome.KEPT


def test_operators_release_their_owners_hold_too(world: World) -> None:
    job = running(world)
    act(world, job, JobAction.HOLD)
    assert world.row(job).held_by is HeldBy.OWNER
    act(world, job, JobAction.RELEASE, operator=True)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)


@pytest.mark.parametrize("owner_first", [False, True])
def test_an_operators_hold_in_slurm_is_not_its_owners_to_end(
    world: World, owner_first: bool
) -> None:
    job = running(world)
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold = HoldKind.USER if owner_first else HoldKind.ADMIN
    world.run_until(lambda: world.state(job) is JobState.HELD)
    slurm.hold = HoldKind.ADMIN  # `scontrol hold` by an operator
    world.run(30)
    world.restart()
    assert world.row(job).held_by is HeldBy.OPERATOR
    assert "already, by an operator" in act(world, job, JobAction.HOLD)
    with pytest.raises(NotAllowedError):
        act(world, job, JobAction.RELEASE)
    slurm.hold = HoldKind.NONE  # `scontrol release` by an operator
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)


def test_a_hold_that_ends_with_its_job_is_nobodys(world: World) -> None:
    job = running(world)
    act(world, job, JobAction.HOLD, operator=True)
    world.cluster.cancel(world.training(job).slurm, world.clock.now)
    world.run_until(lambda: world.state(job) is JobState.CANCELLED, 60.0)
    assert world.row(job).held_by is None


def test_a_hold_of_slurms_is_ended_from_here(world: World) -> None:
    job = running(world)
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold = HoldKind.USER
    world.run_until(lambda: world.state(job) is JobState.HELD)
    act(world, job, JobAction.RELEASE)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job) == [PromiseOutcome.VOID, PromiseOutcome.KEPT]


@pytest.mark.parametrize("pauses", [True, False])
def test_a_job_that_its_owner_puts_back_held_while_it_is_stopped_stays_held(
    world: World, pauses: bool
) -> None:
    """`scontrol requeuehold` while it saves: of a hold that is not the daemon's."""
    job = world.submit(80_000, deadline=None if pauses else 3000.0, save=200.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.submit(40_000, deadline=560.0 if pauses else 800.0)
    world.run_until(lambda: world.state(job) is JobState.STOPPING)
    assert (world.row(job).running is None) is pauses
    slurm = world.training(job).slurm
    world.cluster.requeue(slurm, world.clock.now)
    slurm.hold = HoldKind.USER
    world.run_until(lambda: world.state(job) is JobState.HELD, 30.0)
    world.run(2000.0)
    assert (world.state(job), slurm.hold) == (JobState.HELD, HoldKind.USER)
    slurm.hold = HoldKind.NONE  # scontrol release
    world.run_until(lambda: world.state(job) is JobState.COMPLETED, 20_000.0)


@pytest.mark.parametrize("runs", [True, False])
def test_scontrol_hold_and_release_say_so_by_a_comment(world: World, runs: bool) -> None:
    """What job_submit.lua leaves on the job, which Slurm itself does nothing for."""
    job = running(world) if runs else waiting(world)
    slurm = world.training(job).slurm
    slurm.comment = OWNER_HELD
    world.run_until(lambda: world.state(job) is JobState.HELD, 60.0)
    world.run_until(lambda: is_off_its_gpus(world, job), 60.0)
    world.run(100)
    slurm.comment = OWNER_RELEASED
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job) == [PromiseOutcome.VOID, PromiseOutcome.KEPT]
    assert slurm.comment.startswith("ef-slurm: deadline ")


def test_the_last_word_counts_whoever_hears_it(world: World) -> None:
    job = waiting(world)
    slurm = world.training(job).slurm
    slurm.comment = OWNER_RELEASED  # long ago, and for nothing
    world.scheduler._observer.refresh()
    act(world, job, JobAction.HOLD)
    world.run(60)
    assert world.state(job) is JobState.HELD
    slurm.comment = OWNER_HELD
    world.scheduler._observer.refresh()
    act(world, job, JobAction.RELEASE)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)


def test_a_requeue_saves_and_starts_anew(world: World) -> None:
    job = running(world)
    world.run(60)
    act(world, job, JobAction.REQUEUE)
    world.run_until(lambda: world.training(job).slurm.restarts == 1, 60.0)
    assert world.training(job).checkpoint > 500
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert world.training(job).slurm.restarts == 1
    assert outcomes(world, job) == [PromiseOutcome.KEPT]


@pytest.mark.parametrize("by_us", [True, False])
@pytest.mark.parametrize("offset", [0.0, 0.2, 0.5, 0.8, 3600.5])
def test_no_start_falls_into_the_second_in_which_the_run_before_was_killed(
    tmp_path: Path, offset: float, by_us: bool
) -> None:
    """A second of slurmctld's clock, which is not the daemon's on another host."""
    quick = Timing(start=0.0, stop=0.1, min_job_age=1e12)
    world = World(tmp_path / "queue.sqlite", timing=quick)
    world.settings = replace(world.settings, tick_interval=0.1, query_interval=0.1)
    world.restart()
    world.cluster.clock_offset = offset
    job = world.submit(1_000_000, deadline=None)
    slurm = world.training(job).slurm
    for restarts in range(12):
        world.run_until(lambda: world.state(job) is JobState.RUNNING, 60.0)
        world.run(0.1 + 0.08 * restarts)  # in all parts of a second
        if by_us:
            act(world, job, JobAction.REQUEUE)
        else:
            world.cluster.requeue(slurm, world.clock.now)
            world.run(0.15)
            world.scheduler.refresh_soon()
        again = restarts + 1
        world.run_until(lambda again=again: slurm.restarts >= again, 60.0)  # type: ignore[misc]
        assert slurm.restarts == again  # and not once more, for a start that its node refused
    world.run_until(lambda: world.state(job) is JobState.RUNNING, 60.0)
    assert slurm.restarts == 12
    world.queue.close()


def test_a_requeue_that_a_dying_daemon_forgets_leaves_the_job_training(world: World) -> None:
    job = running(world)
    act(world, job, JobAction.REQUEUE)
    world.restart()
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    assert outcomes(world, job) == [PromiseOutcome.KEPT]


def test_top_changes_turns_among_ones_own(world: World) -> None:
    running(world, deadline=520.0)
    jobs = []
    for _ in range(3):
        jobs.append(world.submit(20_000, deadline=600.0, if_infeasible=IfInfeasible.WAIT))
        world.run(1)
    world.run_until(lambda: all(world.state(job) is JobState.WAITLISTED for job in jobs), 60.0)
    first, second, third = jobs
    turns = [world.row(job).for_planner().submitted for job in jobs]
    act(world, third, JobAction.TOP)
    assert [world.row(job).for_planner().submitted for job in (third, first, second)] == turns
    assert "already" in act(world, third, JobAction.TOP)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (JobAction.RELEASE, "is admitted, not held"),
        (JobAction.REQUEUE, "does not run"),
        (JobAction.TOP, "waiting list only"),
    ],
)
def test_what_means_nothing_to_a_job_is_said(world: World, action: JobAction, words: str) -> None:
    job = waiting(world)
    with pytest.raises(NotPossibleError, match=words):
        act(world, job, action)


@pytest.mark.parametrize("action", JobAction)
def test_nothing_is_done_with_what_has_ended(world: World, action: JobAction) -> None:
    job = world.submit(500, deadline=3000.0)
    world.run_until(lambda: world.state(job) in FINAL)
    with pytest.raises(NotPossibleError, match="--continue"):
        act(world, job, action)


def test_an_advisory_daemon_changes_nothing(world: World) -> None:
    job = running(world)
    world.settings = replace(world.settings, advisory=True)
    world.restart()
    with pytest.raises(NotPossibleError, match="--advisory"):
        act(world, job, JobAction.HOLD)
    with pytest.raises(NotPossibleError, match="--advisory"):
        world.scheduler.change(job.id, JobChange(best_effort=True), "user1")
    assert world.state(job) is JobState.RUNNING
