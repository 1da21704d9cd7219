"""Actions give way to whoever waits, half of the time at most; the rest of a round comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ef_slurm.contract import Order
from ef_slurm.daemon.act.time_to_act import LEAST_SECONDS, MOST_SECONDS, TimeToAct
from ef_slurm.model import JobState, QueueJob, ThroughputCurve
from ef_slurm.slurm.errors import SlurmUnavailableError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import JobUpdate, SlurmJob
from tests.fakes.memory_slurm import MemorySlurm
from tests.fakes.slow_slurm import SlowSlurm
from tests.unit.daemon.world import Clock, World

SLACK = 1e-6
ON_ONE = ThroughputCurve.of({1: 10.0})
durations = st.floats(0.001, 12.0)


@dataclass
class Thread:
    """The scheduler's thread: it looks, acts, and answers when actions give way.

    Args:
        actions: seconds that each takes.
        asked: when somebody asks, and the seconds that the answer takes.
        look: seconds of a look and a plan, before actions begin or go on.
    """

    actions: list[float]
    asked: list[tuple[float, float]]
    look: float
    clock: Clock = field(default_factory=lambda: Clock(0.0))
    waited: list[tuple[float, float]] = field(default_factory=list)
    """Of each who asked: seconds of actions until these gave way, and of the last one of those."""
    windows: list[tuple[float, float]] = field(default_factory=list)
    """Seconds without actions that went before, and of the actions until they gave way again."""

    def waits(self) -> bool:
        return any(at <= self.clock.now for at, _ in self.asked)

    def run(self) -> None:
        time_to_act = TimeToAct(self.waits, self.clock)
        actions, goes_on, left_at = list(self.actions), False, 0.0
        while actions:
            self.clock.now += self.look
            theirs = self.clock.now - left_at if goes_on else 0.0
            time_to_act.begin(goes_on=goes_on)
            began, last = self.clock.now, 0.0
            while actions:
                last = actions.pop(0)
                self.clock.now += last
                if time_to_act.is_over():
                    break
            time_to_act.end()
            assert time_to_act.acted == pytest.approx(self.clock.now - began)
            goes_on, left_at = time_to_act.gave_way, self.clock.now
            if goes_on:
                self.windows.append((theirs, time_to_act.acted))
            for at, _ in self.asked:
                if at <= self.clock.now:
                    self.waited.append((self.clock.now - max(at, began), last))
            now = self.clock.now
            for at, seconds in list(self.asked):
                if at <= now:
                    self.clock.now += seconds
                    self.asked.remove((at, seconds))


@given(
    st.lists(durations, max_size=30),
    st.lists(st.tuples(st.floats(0.0, 60.0), durations), max_size=30),
    st.floats(0.0, 12.0),
)
@example([0.08] * 50, [(0.1 * number, 0.03) for number in range(60)], 0.02)
@example([0.08] * 200, [(0.0, 12.0), (1.0, 0.03)], 0.02)
def test_whatever_takes_how_long(
    actions: list[float], asked: list[tuple[float, float]], look: float
) -> None:
    thread = Thread(actions, sorted(asked), look)
    thread.run()
    for waited, last in thread.waited:
        assert waited <= MOST_SECONDS + last + SLACK  # however long answers take
    theirs = ours = 0.0
    for before, acted in thread.windows:
        theirs += min(before, MOST_SECONDS)
        ours += acted
        assert acted >= min(before, MOST_SECONDS) - SLACK
        assert theirs <= ours + SLACK  # half at most, of what is not longer than that


def test_whoever_asks_now_and_then_waits_for_one_action() -> None:
    thread = Thread([0.08] * 100, [(float(second), 0.05) for second in range(8)], 0.02)
    thread.run()
    assert len(thread.waited) == 8
    assert all(waited <= 0.08 + SLACK for waited, _ in thread.waited)


def test_nobody_waits_nothing_is_left() -> None:
    thread = Thread([1.0] * 20, [], 0.5)
    thread.run()
    assert thread.windows == []
    assert thread.clock.now == pytest.approx(20.5)


def test_a_round_that_takes_next_to_no_time_is_not_left() -> None:
    clock = Clock(0.0)
    time_to_act = TimeToAct(lambda: True, clock)
    time_to_act.begin(goes_on=False)
    clock.now += LEAST_SECONDS / 2
    assert not time_to_act.is_over()
    clock.now += LEAST_SECONDS
    assert time_to_act.is_over()
    assert time_to_act.gave_way


def test_nothing_is_owed_to_a_round_that_begins_anew() -> None:
    clock = Clock(0.0)
    time_to_act = TimeToAct(lambda: True, clock)
    time_to_act.begin(goes_on=False)
    clock.now += 1.0
    assert time_to_act.is_over()
    clock.now += 1000.0  # Slurm was silent
    time_to_act.begin(goes_on=False)
    clock.now += LEAST_SECONDS + SLACK
    assert time_to_act.is_over()


# In the whole daemon


class Impatient:
    """Somebody always waits, and each command takes some time that no other clock sees."""

    def __init__(self) -> None:
        self.waits = True
        self._clock = Clock(0.0)

    def time_to_act(self) -> TimeToAct:
        return TimeToAct(lambda: self.waits, self._clock)

    def take(self, commands: int) -> None:
        self._clock.now += 0.1 * commands


class Shapes(MemorySlurm):
    """Remembers which jobs got another shape, by their Slurm ids, in order."""

    def __init__(self, world: World) -> None:
        super().__init__(world.cluster, world.clock)
        self.ids: list[int] = []
        self.silent = False

    def update(self, job_id: int, update: JobUpdate) -> SlurmJob:
        if self.silent:
            raise SlurmUnavailableError("Unable to contact slurm controller (connect failure)")
        if update.shape is not None:
            self.ids.append(job_id)
        return super().update(job_id, update)


@pytest.fixture
def impatient() -> Impatient:
    return Impatient()


@pytest.fixture
def world(tmp_path: Path, impatient: Impatient) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite", nodes=8, time_to_act=impatient.time_to_act)
    yield world
    world.queue.close()


@pytest.fixture
def shapes(world: World, impatient: Impatient) -> Shapes:
    shapes = Shapes(world)
    world.restart(cast(Slurm, SlowSlurm(shapes, impatient.take)))
    return shapes


def submitted(world: World, count: int) -> list[QueueJob]:
    return [world.submit(30_000, deadline=20_000.0) for _ in range(count)]


def test_each_gets_its_turn_before_anybody_gets_a_second_one(world: World, shapes: Shapes) -> None:
    jobs = submitted(world, 6)
    for number in range(1, 6):
        assert world.scheduler.tick() == 0.0
        assert world.scheduler.gave_way
        assert len(shapes.ids) == number
    world.scheduler.tick()
    assert not world.scheduler.gave_way  # it was the last one
    assert sorted(shapes.ids) == [job.request.slurm_job_id for job in jobs]
    world.run_until(lambda: all(world.state(job) is JobState.RUNNING for job in jobs), 100)


def test_nobody_waits_and_all_get_theirs_at_once(
    world: World, shapes: Shapes, impatient: Impatient
) -> None:
    impatient.waits = False
    submitted(world, 6)
    assert world.scheduler.tick() > 0.0
    assert not world.scheduler.gave_way
    assert len(shapes.ids) == 6


def test_the_rest_of_a_round_knows_the_new_plan(world: World, shapes: Shapes) -> None:
    jobs = submitted(world, 4)
    world.scheduler.tick()
    (first,) = shapes.ids
    gone, *_ = (job for job in jobs if job.request.slurm_job_id != first)
    world.queue.jobs.move(
        gone.id, JobState.CANCELLED, at=world.clock.now, actor="user1", why="given up"
    )
    world.run(5.0)
    assert set(shapes.ids) == {job.request.slurm_job_id for job in jobs if job != gone}


def test_whoever_comes_meanwhile_is_judged_at_once_and_starts_after_the_rest(
    world: World, shapes: Shapes
) -> None:
    jobs = [world.submit(1000, deadline=5000.0, curve=ON_ONE) for _ in range(3)]
    world.scheduler.tick()
    late = world.submit(1000, deadline=5000.0, curve=ON_ONE)
    world.scheduler.tick()
    assert world.queue.promises.verdict(late.id) is not None
    world.run_until(lambda: late.request.slurm_job_id in shapes.ids, 100)
    assert sorted(shapes.ids[:3]) == [job.request.slurm_job_id for job in jobs]


def test_those_that_leave_gpus_come_before_those_that_wait_for_them(
    world: World, shapes: Shapes
) -> None:
    holders = [world.submit(300_000, deadline=None) for _ in range(4)]
    world.run_until(lambda: all(world.state(job) is JobState.RUNNING for job in holders), 100)
    world.run(40.0)
    ordered: list[int] = []
    plain = world.bench.order

    def order(job: QueueJob, order: Order) -> None:
        assert not shapes.ids, "somebody got a new shape before all were told to leave"
        ordered.append(job.id)
        plain(job, order)

    shapes.ids.clear()
    world.bench.order = order  # type: ignore[method-assign]
    late = [world.submit(60_000, deadline=1500.0) for _ in range(3)]
    world.scheduler.tick()
    assert ordered
    world.bench.order = plain  # type: ignore[method-assign]
    world.run_until(lambda: all(world.state(job) is JobState.RUNNING for job in late), 300)


def test_a_slurm_that_falls_silent_is_not_asked_at_once_again(world: World, shapes: Shapes) -> None:
    jobs = submitted(world, 4)
    world.scheduler.tick()
    shapes.silent = True
    assert world.scheduler.tick() == world.settings.retry_interval
    assert not world.scheduler.gave_way
    shapes.silent = False
    world.run_until(lambda: all(world.state(job) is JobState.RUNNING for job in jobs), 100)
