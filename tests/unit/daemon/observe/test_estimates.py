"""What the daemon learns from watching."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.daemon.observe.calibration import FIRST_WINDOW_SECONDS, Calibration
from ef_slurm.daemon.observe.estimates import (
    RATE_TOLERANCE,
    SAFETY_FACTOR,
    Estimates,
    Overheads,
    Rates,
    calibrated,
)
from ef_slurm.model import (
    ACTOR,
    ChangeKind,
    Event,
    EventKind,
    MeasuredRate,
    Overhead,
    ProfileKey,
    Running,
    ThroughputCurve,
)
from ef_slurm.queue.store import Queue
from tests.unit.daemon.make import NOW, SCRIPT, TWO_NODES, launch, progress, row, running

STATED = Overhead(start=30.0, reshape=40.0, shrink=20.0)


def test_what_was_told_counts_until_something_was_seen() -> None:
    learned = Overheads()
    assert learned.estimate(1, STATED) == STATED
    learned.add(2, "start", 10.0)
    assert learned.estimate(1, STATED) == replace(STATED, start=11.0)
    learned.add(1, "start", 50.0)
    assert learned.estimate(1, STATED).start == 55.0
    assert learned.estimate(2, STATED).start == 11.0


@given(st.lists(st.floats(0.1, 300.0), min_size=1, max_size=10))
def test_a_jobs_own_worst_lately_is_never_underestimated(seconds: list[float]) -> None:
    learned = Overheads()
    for one in seconds:
        learned.add(1, "reshape", one)
    assert learned.estimate(1, STATED).reshape >= SAFETY_FACTOR * max(seconds[-3:]) - 1e-6


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
    assert rates.learn(1, 4, 100.0)
    assert not rates.learn(1, 4, 100.0 * (1 + RATE_TOLERANCE / 2))
    assert rates.learn(1, 4, 80.0)
    rates.forget([1])
    assert not rates.of(1)


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
    assert estimates.overheads.estimate(1, STATED).start == 7.0  # 6 s and the margin
    again = Estimates()
    Calibration(again, queue).recall()
    assert again.overheads.estimate(1, STATED).start == 7.0


def test_an_older_launch_tells_nothing_about_a_reshape(queue: Queue) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    job = row(running=Running(TWO_NODES, NOW, NOW + 30.0))
    calibration.expect(1, ChangeKind.MOVE, NOW)
    calibration.observe(job, running(TWO_NODES), NOW)
    assert estimates.overheads.estimate(1, STATED) == STATED


def test_what_earlier_versions_measured_is_recalled(queue: Queue) -> None:
    for what, seconds in (("start", 10.0), ("reshape", 20.0), ("shrink", 5.0), ("folly", 99.0)):
        queue.events.log(
            Event(NOW, EventKind.MEASURED, ACTOR, what, 1, {"what": what, "value": seconds})
        )
    estimates = Estimates()
    Calibration(estimates, queue).recall()
    assert estimates.overheads.estimate(1, STATED) == Overhead(start=11.0, reshape=22.0, shrink=6.0)


@pytest.mark.parametrize("kind", [ChangeKind.GROW, ChangeKind.MOVE, ChangeKind.RESTART])
def test_every_requeue_tells_what_a_reshape_costs(queue: Queue, kind: ChangeKind) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    since = NOW - 100.0
    calibration.expect(1, kind, since)
    job = row(running=Running(TWO_NODES, since, since + 30.0))
    calibration.observe(job, running(TWO_NODES), NOW)
    again = Estimates()
    Calibration(again, queue).recall()
    for learned in (estimates, again):
        assert learned.overheads.estimate(1, STATED) == replace(STATED, reshape=7.0)


@pytest.mark.parametrize(
    ("slurm_started", "learned"),
    [(-1000.0, {"shrink": 7.0}), (1.0, {"shrink": 7.0, "reshape": 7.0})],
)
def test_a_shrink_that_took_a_requeue_tells_about_both(
    queue: Queue, slurm_started: float, learned: dict[str, float]
) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    since = NOW - 100.0
    calibration.expect(1, ChangeKind.SHRINK, since)
    status = running(TWO_NODES)
    status = replace(status, slurm=replace(status.slurm, start_time=since + slurm_started))
    calibration.observe(row(running=Running(TWO_NODES, since, since + 30.0)), status, NOW)
    again = Estimates()
    Calibration(again, queue).recall()
    for known in (estimates, again):
        assert known.overheads.estimate(1, STATED) == replace(STATED, **learned)


def test_a_rate_is_taken_over_a_window(queue: Queue) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    job = row(running=Running(TWO_NODES, NOW - 100, NOW - 70))
    at = NOW + FIRST_WINDOW_SECONDS
    assert not calibration.observe(job, running(TWO_NODES), NOW)
    later = running(TWO_NODES, progress=progress(iteration=650, updated_at=at))
    assert calibration.observe(job, later, at)  # 5 a second where the curve says 10
    assert estimates.rates.of(1) == {8: 5.0}
    relaunched = running(
        TWO_NODES,
        launch=launch(generation=2),
        progress=progress(generation=2, iteration=700, updated_at=at + 500),
    )
    assert not calibration.observe(job, relaunched, at + 500)


def test_a_rate_is_remembered_for_the_next_job_of_its_key(queue: Queue) -> None:
    calibration = Calibration(Estimates(), queue)
    since = NOW - 100.0
    job = row(running=Running(TWO_NODES, since, since + 30.0))
    named = replace(job, request=replace(job.request, model_name="bert", account="acct1"))
    seconds = FIRST_WINDOW_SECONDS
    later = running(TWO_NODES, progress=progress(iteration=740, updated_at=NOW + seconds))
    for each in (job, named):  # without a name there is nothing to remember it by
        calibration.forget(job.id)
        assert queue.profiles.list("user1") == ()
        calibration.observe(each, running(TWO_NODES), NOW)
        calibration.observe(each, later, NOW + seconds)
        calibration = Calibration(Estimates(), queue)
    (rate,) = queue.profiles.list("user1")
    assert rate == MeasuredRate(
        ProfileKey("bert", 32, "unspecified", "gpu"),
        gpus=8,
        gpus_per_node=4,
        rate=240 / seconds,
        seconds=seconds,
        owner="user1",
        account="acct1",
        at=NOW + seconds,
        job_id=7,
    )


def test_a_rate_that_no_training_has_is_not_remembered(queue: Queue) -> None:
    calibration = Calibration(Estimates(), queue)
    job = row(running=Running(TWO_NODES, NOW - 100.0, NOW - 70.0))
    job = replace(job, request=replace(job.request, model_name="bert"))
    calibration.observe(job, running(TWO_NODES), NOW)
    mad = progress(iteration=10**15, updated_at=NOW + FIRST_WINDOW_SECONDS)
    calibration.observe(job, running(TWO_NODES, progress=mad), NOW + FIRST_WINDOW_SECONDS)
    assert queue.profiles.list("user1") == ()
