"""What a tick reads: what may have changed, however much lies in the queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.daemon.act.orphans import ORPHAN_WINDOW_SECONDS
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.daemon.plan import planning
from ef_slurm.daemon.settings import settings_of
from ef_slurm.model import JobState, MeasuredRate, ProfileKey, QueueJob
from ef_slurm.planner.plan import PlannedRound, plan_round
from ef_slurm.queue.errors import NoSuchRowError
from ef_slurm.siteconfig.tables import ProfilesTable, QueueTable, SiteConfig
from tests.unit.daemon.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite", nodes=16, idle_report_interval=1.0)
    yield world
    world.queue.close()


@pytest.fixture
def reads(world: World) -> Counter[int]:
    """How often each job's state directory is read, by queue id."""
    counted: Counter[int] = Counter()
    plain = world.bench.read

    def counting(job: QueueJob) -> JobReports:
        counted[job.id] += 1
        return plain(job)

    world.bench.read = counting  # type: ignore[method-assign]
    return counted


def test_only_jobs_on_their_way_are_read_often(world: World, reads: Counter[int]) -> None:
    resting = [world.submit(4_000_000, None) for _ in range(30)]
    world.run(60)
    assert {world.state(job) for job in resting} == {JobState.RUNNING}
    reads.clear()
    newcomer = world.submit(20_000, deadline=700.0)
    states: Counter[int] = Counter()
    end = world.clock.now + 6.0
    while world.clock.now < end:
        world.step(end)
        states.update(job.id for job in resting if world.state(job) is not JobState.RUNNING)
    moved = set(states) | {newcomer.id}
    assert world.state(newcomer) is not JobState.NEW
    # Once a second, and once more when Slurm says something new.
    assert all(reads[job.id] <= 8 for job in resting if job.id not in moved)
    assert sum(reads.values()) <= 8 * (len(resting) - len(moved) + 1) + 80 * len(moved)


def test_a_job_without_nodes_is_read_when_slurm_says_something_new(
    world: World, reads: Counter[int]
) -> None:
    running = world.submit(4_000_000, None)
    world.run(30)
    waiting = [world.submit(10**9, deadline=None) for _ in range(3)]
    for job in waiting:
        world.queue.jobs.move(job.id, JobState.HELD, at=0.0, actor="test", why="test")
    world.run(5)
    reads.clear()
    world.run(30)
    assert reads[running.id] >= 25
    assert [reads[job.id] for job in waiting] == [0, 0, 0]
    assert {world.state(job) for job in waiting} == {JobState.HELD}


def test_what_a_run_left_is_seen_before_it_is_judged(world: World) -> None:
    """Slurm says COMPLETED between two looks at the job's files: they are read once more."""
    world.settings = replace(world.settings, progress_interval=1e9)
    world.restart()
    job = world.submit(2_000, deadline=600.0)
    world.run_until(world.finished, 600)
    assert world.state(job) is JobState.COMPLETED
    assert world.training(job).generation == 1


def test_only_those_that_ended_just_now_are_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    plain = world.queue.jobs.ended

    def ended(states: object, *, since: float) -> tuple[QueueJob, ...]:
        asked.append(world.clock.now - since)
        return plain(states, since=since)  # type: ignore[arg-type]

    monkeypatch.setattr(world.queue.jobs, "ended", ended)
    rejected = [world.submit(10_000_000, deadline=100.0) for _ in range(4)]
    world.step()
    world.run(5)
    assert {world.training(job).slurm.state.value for job in rejected} == {"PENDING"}
    world.run(30)
    assert {world.training(job).slurm.state.value for job in rejected} == {"CANCELLED"}
    assert asked[-1] <= 90.0
    # After a start whatever was left for a day is seen to again.
    assert max(asked) <= ORPHAN_WINDOW_SECONDS


def test_old_jobs_are_forgotten_a_piece_at_a_time(world: World) -> None:
    world.settings = replace(world.settings, keep_ended=500.0)
    world.restart()
    first = world.submit(2_000, deadline=600.0)
    world.run_until(world.finished, 600)
    ended = world.row(first).ended_at
    assert ended is not None
    second = world.submit(400_000, deadline=None)
    world.clock.now = ended + 499.0
    world.step()
    assert world.state(first) is JobState.COMPLETED
    world.clock.now = ended + 501.0
    world.step()
    with pytest.raises(NoSuchRowError):
        world.row(first)
    assert world.row(second).state is not JobState.NEW
    assert not world.queue.events.all(job_id=first.id)


def test_the_site_says_how_long_ended_jobs_are_kept() -> None:
    assert settings_of(SiteConfig()).keep_ended == 90 * 86400.0
    week = SiteConfig(queue=QueueTable(keep_ended_days=7.0))
    assert settings_of(week).keep_ended == 7 * 86400.0
    ever = SiteConfig(queue=QueueTable(keep_ended_days=0.0))
    assert settings_of(ever).keep_ended == float("inf")


def test_old_rates_are_forgotten_as_the_site_says(world: World) -> None:
    key = ProfileKey("bert", 64, "bf16", "gpu")
    rate = MeasuredRate(key, 1, 1, 10.0, 30.0, "user1", "", world.clock.now, job_id=7)
    world.queue.profiles.add(rate)
    world.settings = replace(world.settings, keep_profiles=500.0)
    world.restart()
    world.clock.now += 499.0
    world.step()
    assert world.queue.profiles.list("user1") == (rate,)
    world.clock.now = rate.at + 501.0
    world.step()
    assert world.queue.profiles.list("user1") == ()
    assert settings_of(SiteConfig()).keep_profiles == 180 * 86400.0
    ever = SiteConfig(profiles=ProfilesTable(keep_days=0.0))
    assert settings_of(ever).keep_profiles == float("inf")


def test_a_plan_that_is_always_about_to_change_is_not_made_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one is where a job has reported so much that its rest would take milliseconds."""

    def about_to_change(now: float, *rest: Any) -> PlannedRound:
        made = plan_round(now, *rest)
        return made._replace(plan=replace(made.plan, next_change=now + 0.005))

    monkeypatch.setattr(planning, "plan_round", about_to_change)
    world.submit(200_000, deadline=None)
    world.run(2.0)
    before = world.ticks
    world.run(5.0)
    assert 4 * 5 <= world.ticks - before < 12 * 5
