"""Rates and slowdowns that the daemon learns from reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ef_slurm.daemon.observe.calibration import REMEMBER_SECONDS, Calibration, Learned
from ef_slurm.daemon.observe.estimates import Estimates, calibrated
from ef_slurm.model import (
    Block,
    EventKind,
    MeasuredRate,
    ProfileKey,
    QueueJob,
    Running,
    ThroughputCurve,
)
from ef_slurm.queue.store import Queue
from tests.fakes.new_queue import open_queue
from tests.unit.daemon.make import (
    ELSEWHERE,
    NOW,
    SCRIPT,
    TWO_NODES,
    launch,
    progress,
    row,
    running,
)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with open_queue(tmp_path / "queue.sqlite") as queue:
        queue.jobs.add(row().request, SCRIPT, actor="user1")
        yield queue


@dataclass
class Watched:
    """One job that reports every second, and who watches it."""

    queue: Queue
    job: QueueJob
    clock_ahead: float = 0.0

    def __post_init__(self) -> None:
        self.now = NOW
        self.iteration = 500.0
        self.generation = 0
        self.restart_daemon()

    def restart_daemon(self) -> None:
        self.estimates = Estimates()
        self.calibration = Calibration(self.estimates, self.queue)
        self.calibration.recall()

    def train(self, seconds: float, rate: float, block: Block = TWO_NODES) -> list[Learned]:
        """Launch on a block, or go on there; what was learned that is worth telling."""
        if self.job.running is None or self.job.running.block != block:
            self.generation += 1
            held = Running(block, self.now - 40.0, self.now - 10.0)
            self.job = replace(self.job, running=held, note="")
        told = []
        end = self.now + seconds
        while self.now < end:
            self.now += 1.0
            self.iteration += rate
            status = running(
                block,
                launch=launch(
                    generation=self.generation,
                    nodes=",".join(block.nodes),
                    gpus_per_node=block.gpus_per_node,
                ),
                progress=progress(
                    generation=self.generation,
                    iteration=int(self.iteration),
                    updated_at=self.now + self.clock_ahead,
                ),
            )
            learned = self.calibration.observe(self.job, status, self.now)
            if learned != Learned():
                told.append(learned)
            if learned.note is not None:
                self.job = replace(self.job, note=learned.note)
        return told

    def rates(self) -> dict[int, float]:
        rates = self.estimates.rates.of(self.job.id, "gpu")
        return {gpus: round(rate, 1) for gpus, rate in rates.items()}

    def story(self) -> list[str]:
        events = self.queue.events.last(EventKind.MEASURED, 100)
        return [event.message for event in events]


@pytest.fixture
def watched(queue: Queue) -> Watched:
    return Watched(queue, row())


@pytest.mark.parametrize(("rate", "told"), [(10.0, []), (5.0, [Learned(replan=True)])])
def test_a_rate_off_its_curve_is_for_a_plan_to_hear(
    watched: Watched, rate: float, told: list[Learned]
) -> None:
    assert watched.train(45.0, rate) == told
    assert watched.rates() == {8: rate}


@pytest.mark.parametrize("ahead", [-3600.0, 0.0, 1e11])
def test_a_jobs_clock_may_be_wrong(watched: Watched, ahead: float) -> None:
    watched.clock_ahead = ahead
    watched.train(45.0, 5.0)
    assert watched.rates() == {8: 5.0}


def test_a_job_that_lies_about_the_time_is_not_believed(watched: Watched) -> None:
    """Its clock runs at a tenth: it would seem ten times as fast."""
    for _ in range(60):
        watched.train(10.0, 10.0)
        watched.clock_ahead -= 9.0
    assert watched.rates()[8] < 12.0


def test_a_slowdown_is_named_and_counts_for_all_sizes(watched: Watched) -> None:
    watched.train(60.0, 7.0, Block("gpu", ("n1",), 4))
    watched.train(100.0, 10.0)
    (learned,) = watched.train(75.0, 6.0)
    assert learned.replan
    assert learned.note is not None
    assert learned.note.startswith("trains at 0.6 of its rate since ")
    assert learned.note.endswith(" on n[1-2]")
    assert watched.rates() == pytest.approx({4: 4.2, 8: 6.0}, rel=0.05)
    (back,) = watched.train(75.0, 10.0)
    assert back == Learned(True, "trains at its rate again on n[1-2]")
    assert watched.rates() == pytest.approx({4: 7.0, 8: 10.0}, rel=0.05)


def test_slow_nodes_are_told_from_a_slow_training(watched: Watched) -> None:
    watched.train(100.0, 10.0)
    watched.train(75.0, 6.0)
    (there,) = watched.train(60.0, 10.0, ELSEWHERE)
    assert there.note == "trains at its rate again on n[3-4]: it was slow on n[1-2] only"
    assert watched.rates() == {8: 10.0}

    slow = Watched(watched.queue, row())
    slow.train(100.0, 10.0)
    slow.train(75.0, 6.0)
    (too,) = slow.train(60.0, 6.0, ELSEWHERE)
    assert too.note is not None
    assert too.note.endswith(" on n[3-4] as on n[1-2]: it is the training, not the nodes")


def test_a_slow_job_that_is_launched_again_is_said_to_be_slow_again(watched: Watched) -> None:
    watched.train(100.0, 10.0)
    (named,) = watched.train(75.0, 6.0)
    watched.train(60.0, 4.0, Block("gpu", ("n1",), 4))
    assert watched.job.note == named.note
    assert sum("of its rate" in line for line in watched.story()) == 1


def test_a_slowdown_outlives_the_daemon(watched: Watched) -> None:
    watched.train(100.0, 10.0)
    watched.train(75.0, 6.0)
    watched.restart_daemon()
    assert watched.rates() == pytest.approx({8: 6.0}, rel=0.05)
    assert watched.train(60.0, 6.0) == []
    (back,) = watched.train(75.0, 10.0)
    assert back.note == "trains at its rate again on n[1-2]"
    assert sum("of its rate" in line for line in watched.story()) == 1


def test_a_slower_launch_on_the_same_size_is_a_slowdown(watched: Watched) -> None:
    watched.train(60.0, 10.0)
    (learned,) = watched.train(60.0, 5.0, ELSEWHERE)
    assert learned.note is not None
    assert learned.note.startswith("trains at 0.5 of its rate since ")


def test_a_rate_is_remembered_for_the_next_job_of_its_key(queue: Queue) -> None:
    Watched(queue, row()).train(60.0, 8.0)
    assert queue.profiles.list("user1") == ()  # without a name there is nothing to remember it by
    request = replace(row().request, model_name="bert", account="acct1")
    watched = Watched(queue, row(request=request))
    watched.train(40.0, 8.0)
    (rate,) = queue.profiles.list("user1")
    assert rate.rate == pytest.approx(8.0)
    assert 30.0 <= rate.seconds <= 40.0
    assert replace(rate, rate=8.0, seconds=30.0, at=NOW, software="") == MeasuredRate(
        ProfileKey("bert", 32, "unspecified", "gpu"),
        gpus=8,
        gpus_per_node=4,
        rate=8.0,
        seconds=30.0,
        owner="user1",
        account="acct1",
        at=NOW,
        job_id=7,
    )
    # What stays as it was is said again now and then: it is not old.
    watched.train(REMEMBER_SECONDS + 60.0, 8.0)
    (again,) = queue.profiles.list("user1")
    assert again.at >= rate.at + REMEMBER_SECONDS
    # A slowdown says that something is wrong, not how fast such trainings are.
    watched.train(200.0, 4.0)
    assert queue.profiles.list("user1") == (again,)


def test_a_rate_that_no_training_has_is_not_remembered(queue: Queue) -> None:
    watched = Watched(queue, row(request=replace(row().request, model_name="bert")))
    assert watched.train(100.0, 1e12) == []
    assert queue.profiles.list("user1") == ()
    assert watched.rates() == {}


def test_a_curve_that_got_worse_goes_on_getting_worse() -> None:
    told = ThroughputCurve.of({1: 10.0, 2: 18.0, 4: 32.0, 8: 56.0, 16: 90.0})
    learned = dict(calibrated(told, {4: 32.0, 8: 28.0}).points)
    assert learned[16] < learned[8] < learned[4]
    # Wrong by the same factor everywhere, it keeps its shape.
    half = dict(calibrated(told, {4: 16.0, 8: 28.0}).points)
    assert half[16] == 45.0
