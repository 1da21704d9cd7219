"""What the daemon learns from watching."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.daemon.observe.calibration import Calibration
from ef_slurm.daemon.observe.estimates import RATE_TOLERANCE, Estimates, Rates, calibrated
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.overheads import (
    HANDOVER_SECONDS,
    SAFETY_FACTOR,
    Overheads,
    Submitter,
)
from ef_slurm.model import (
    ACTOR,
    ChangeKind,
    Event,
    EventKind,
    JobRequest,
    Json,
    Overhead,
    Running,
    ThroughputCurve,
)
from ef_slurm.queue.store import Queue
from tests.unit.daemon.make import NOW, SCRIPT, TWO_NODES, progress, row, running

STATED = Overhead(start=30.0, grow=40.0, move=40.0, restart=40.0, shrink=20.0)
REQUEST = replace(row().request, overhead=STATED)


def of(owner: str, training: str = "") -> JobRequest:
    request = row().request
    return replace(request, owner=owner, model_name=training, overhead=STATED)


def submitter(owner: str, training: str = "") -> Submitter:
    return Submitter.of(of(owner, training))


def test_what_was_told_counts_until_something_was_seen() -> None:
    learned = Overheads()
    assert learned.estimate(1, of("ann")) == STATED
    learned.add(2, submitter("ann"), "start", 10.0)
    assert learned.estimate(1, of("ann")) == replace(STATED, start=12.0)
    learned.add(1, submitter("ann"), "start", 50.0)
    assert learned.estimate(1, of("ann")).start == 55.0
    assert learned.estimate(2, of("ann")).start == 12.0


def test_the_same_training_tells_more_than_other_ones() -> None:
    learned = Overheads()
    learned.add(1, submitter("ann", "bert"), "start", 100.0)
    learned.add(2, submitter("ann", "resnet"), "start", 10.0)
    learned.add(3, submitter("ann"), "start", 20.0)
    assert learned.estimate(None, of("ann", "bert")).start == 110.0
    assert learned.estimate(None, of("ann", "resnet")).start == 12.0
    assert learned.estimate(None, of("ann", "vgg")).start == 22.0


@given(st.lists(st.floats(0.0, 1e12), max_size=30), st.sampled_from(["bert", ""]))
def test_what_one_owner_reports_moves_nobody_elses_estimate(
    seconds: list[float], training: str
) -> None:
    learned = Overheads()
    for number, one in enumerate(seconds):
        learned.add(number, submitter("mallory", training), "start", one)
    assert learned.estimate(99, of("ann", training)) == STATED


@given(st.lists(st.floats(0.1, 300.0), min_size=1, max_size=10))
def test_a_jobs_own_worst_lately_is_never_underestimated(seconds: list[float]) -> None:
    learned = Overheads()
    for one in seconds:
        learned.add(1, submitter("ann"), "restart", one)
    worst = max(seconds[-3:])
    least = max(SAFETY_FACTOR * worst, worst + HANDOVER_SECONDS)
    assert learned.estimate(1, of("ann")).restart >= least - 1e-6


@pytest.mark.parametrize(
    ("overhead", "margin"),
    [("start", 2.0), ("grow", 2.0), ("move", 2.0), ("restart", 2.0), ("shrink", 1.0)],
)
def test_who_takes_gpus_over_waits_for_whoever_leaves(overhead: str, margin: float) -> None:
    """What was measured may have had free ones; a shrink takes nothing from anybody."""
    learned = Overheads()
    learned.add(1, submitter("ann"), overhead, 6.0)
    for job in (1, 2):
        assert getattr(learned.estimate(job, of("ann")), overhead) == 6.0 + margin
    learned.add(1, submitter("ann"), overhead, 60.0)
    assert getattr(learned.estimate(1, of("ann")), overhead) == 66.0


curves = st.dictionaries(st.sampled_from([1, 2, 4, 8]), st.floats(0.5, 100.0), min_size=1).map(
    ThroughputCurve.of
)


@given(curves, st.dictionaries(st.sampled_from([1, 2, 4, 8]), st.floats(0.5, 100.0)))
def test_a_calibrated_curve_promises_no_speed_that_was_not_seen(
    curve: ThroughputCurve, measured: dict[int, float]
) -> None:
    stated, now = dict(curve.points), dict(calibrated(curve, measured).points)
    assert now.keys() == stated.keys()
    for gpus, rate in now.items():
        if gpus in measured:
            assert rate <= max(measured[gpus], stated[gpus] * (1 + RATE_TOLERANCE))
        else:
            assert rate <= stated[gpus]


def test_noise_is_not_news() -> None:
    rates = Rates()
    assert rates.learn(1, "gpu", 4, 100.0)
    assert not rates.learn(1, "gpu", 4, 100.0 * (1 + RATE_TOLERANCE / 2))
    assert rates.learn(1, "gpu", 4, 80.0)
    rates.forget([1])
    assert not rates.of(1, "gpu")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue.open(tmp_path / "queue.sqlite") as queue:
        queue.jobs.add(row().request, SCRIPT, actor="user1")
        yield queue


def test_a_start_is_measured_and_known_after_a_restart(queue: Queue) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    since = NOW - 100.0
    job = row(running=Running(TWO_NODES, since, since + 30.0))
    calibration.expect(1, ChangeKind.START, since)
    calibration.observe(job, running(TWO_NODES), NOW)
    assert estimates.overheads.estimate(1, REQUEST).start == 8.0  # 6 s and the margin
    again = Estimates()
    Calibration(again, queue).recall()
    assert again.overheads.estimate(1, REQUEST).start == 8.0
    # So does the owner's next job, and nobody else's.
    assert again.overheads.estimate(None, REQUEST).start == 8.0
    assert again.overheads.estimate(None, replace(REQUEST, owner="ann")).start == 30.0


def test_an_older_launch_tells_nothing_about_a_reshape(queue: Queue) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    job = row(running=Running(TWO_NODES, NOW, NOW + 30.0))
    calibration.expect(1, ChangeKind.MOVE, NOW)
    calibration.observe(job, running(TWO_NODES), NOW)
    assert estimates.overheads.estimate(1, REQUEST) == STATED


def test_what_earlier_versions_measured_is_recalled(queue: Queue) -> None:
    for what, seconds in (("start", 10.0), ("reshape", 20.0), ("shrink", 5.0), ("folly", 99.0)):
        queue.events.log(
            Event(NOW, EventKind.MEASURED, ACTOR, what, 1, {"what": what, "value": seconds})
        )
    estimates = Estimates()
    Calibration(estimates, queue).recall()
    assert estimates.overheads.estimate(1, REQUEST) == Overhead(
        start=12.0, grow=22.0, move=22.0, restart=22.0, shrink=6.0
    )


@pytest.mark.parametrize("kind", [ChangeKind.MOVE, ChangeKind.RESTART])
def test_every_requeue_tells_what_a_requeue_costs(queue: Queue, kind: ChangeKind) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    since = NOW - 100.0
    calibration.expect(1, kind, since)
    job = row(running=Running(TWO_NODES, since, since + 30.0))
    calibration.observe(job, running(TWO_NODES), NOW)
    again = Estimates()
    Calibration(again, queue).recall()
    for learned in (estimates, again):
        assert learned.overheads.estimate(1, REQUEST) == replace(STATED, move=8.0, restart=8.0)


@pytest.mark.parametrize(
    ("slurm_started", "learned"),
    [(-1000.0, {}), (1.0, {"move": 8.0, "restart": 8.0})],
)
@pytest.mark.parametrize("kind", [ChangeKind.GROW, ChangeKind.SHRINK])
def test_what_keeps_nodes_and_took_a_requeue_tells_about_both(
    queue: Queue, kind: ChangeKind, slurm_started: float, learned: dict[str, float]
) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    since = NOW - 100.0
    calibration.expect(1, kind, since)
    status = running(TWO_NODES)
    status = replace(status, slurm=replace(status.slurm, start_time=since + slurm_started))
    calibration.observe(row(running=Running(TWO_NODES, since, since + 30.0)), status, NOW)
    again = Estimates()
    Calibration(again, queue).recall()
    for known in (estimates, again):
        assert known.overheads.estimate(1, REQUEST) == replace(
            STATED, **learned, **{kind.value: 7.0 if kind is ChangeKind.SHRINK else 8.0}
        )


def test_a_growth_that_earlier_versions_measured_was_a_requeue(queue: Queue) -> None:
    data: dict[str, Json] = {"what": "grow", "value": 20.0}
    queue.events.log(Event(NOW, EventKind.MEASURED, ACTOR, "grow", 1, data))
    estimates = Estimates()
    Calibration(estimates, queue).recall()
    known = estimates.overheads.estimate(1, REQUEST)
    assert known == replace(STATED, grow=22.0, move=22.0, restart=22.0)


def live(change: int, ranks: int, stood: float | None = None) -> JobStatus:
    told = progress(live=True, change=change, world_size=ranks, change_seconds=stood)
    return running(TWO_NODES, progress=told)


@pytest.mark.parametrize(
    ("kind", "ranks", "cost"),
    [
        # 20 s until the change was done, of which 2 s without training: 18 s at half the size.
        (ChangeKind.GROW, (4, 8), 11.0),
        # The same at a quarter of it.
        (ChangeKind.GROW, (2, 8), 15.5),
        (ChangeKind.SHRINK, (8, 4), 2.0),
    ],
)
def test_a_live_change_costs_what_was_not_trained_meanwhile(
    queue: Queue, kind: ChangeKind, ranks: tuple[int, int], cost: float
) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    since = NOW - 20.0
    job = row(running=Running(TWO_NODES, since, since + 30.0))
    calibration.observe(job, live(0, ranks[0]), since)
    calibration.expect(1, kind, since)
    calibration.observe(job, live(0, ranks[0]), NOW - 10.0)
    calibration.observe(job, live(1, ranks[1], stood=2.0), NOW)
    # What takes nodes from it later was not decided, and tells nothing.
    calibration.observe(job, live(2, 1, stood=9.0), NOW + 900.0)
    again = Estimates()
    Calibration(again, queue).recall()
    for known in (estimates, again):
        overhead = known.overheads.live(1, REQUEST, STATED, grows=True)
        learned = {kind.value: math.ceil(SAFETY_FACTOR * cost)}
        assert overhead == replace(STATED, **{"grow": 33.0, "shrink": 3.0, **learned})
        closed = known.overheads.live(1, REQUEST, STATED, grows=False)
        assert closed.grow == STATED.restart
        # A launch that stops for it is another matter.
        assert known.overheads.estimate(1, REQUEST) == STATED


def test_a_start_that_was_never_is_clipped_to_what_the_daemon_saw(queue: Queue) -> None:
    """A job's own word moves its estimates within what really passed, whatever it says."""
    for told in (1e11, -1e11, 0.0, NOW + 1.0, NOW - 99.5):
        estimates = Estimates()
        calibration = Calibration(estimates, queue)
        since = NOW - 100.0
        job = row(running=Running(TWO_NODES, since, since + 30.0))
        calibration.expect(1, ChangeKind.START, since)
        status = running(TWO_NODES, progress=progress(first_iteration_at=told))
        calibration.observe(job, status, NOW)
        assert 0.0 <= estimates.overheads.estimate(1, REQUEST).start <= SAFETY_FACTOR * 100.0
