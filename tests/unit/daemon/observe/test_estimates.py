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
from ef_slurm.daemon.observe.change_costs import Decided, recalled, taken
from ef_slurm.daemon.observe.estimates import RATE_TOLERANCE, Estimates, Rates, calibrated
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.overheads import (
    LEAVING_SECONDS,
    MOST_TRAININGS_OF_OWNER,
    SAFETY_FACTOR,
    Overheads,
    Submitter,
    Taken,
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
from tests.fakes.new_queue import open_queue
from tests.unit.daemon.make import NOW, SCRIPT, TWO_NODES, launch, progress, row, running

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
    learned.add(2, submitter("ann"), "start", Taken(10.0))
    assert learned.estimate(1, of("ann")) == replace(STATED, start=12.0)
    learned.add(1, submitter("ann"), "start", Taken(50.0))
    assert learned.estimate(1, of("ann")).start == 55.0
    assert learned.estimate(2, of("ann")).start == 12.0


def test_what_an_ended_jobs_changes_took_counts_for_the_owners_others() -> None:
    learned = Overheads()
    for seconds in (10.0, 50.0):
        learned.add(1, submitter("ann"), "start", Taken(seconds))
    learned.forget(1)
    assert learned.estimate(1, of("ann")) == learned.estimate(2, of("ann"))
    learned.forget(1)


def test_the_same_training_tells_more_than_other_ones() -> None:
    learned = Overheads()
    learned.add(1, submitter("ann", "bert"), "start", Taken(100.0))
    learned.add(2, submitter("ann", "resnet"), "start", Taken(10.0))
    learned.add(3, submitter("ann"), "start", Taken(20.0))
    assert learned.estimate(None, of("ann", "bert")).start == 110.0
    assert learned.estimate(None, of("ann", "resnet")).start == 12.0
    assert learned.estimate(None, of("ann", "vgg")).start == 22.0


@given(st.lists(st.floats(0.0, 1e12), max_size=30), st.sampled_from(["bert", ""]))
def test_what_one_owner_reports_moves_nobody_elses_estimate(
    seconds: list[float], training: str
) -> None:
    learned = Overheads()
    for number, one in enumerate(seconds):
        learned.add(number, submitter("mallory", training), "start", Taken(one))
    assert learned.estimate(99, of("ann", training)) == STATED


def test_whoever_makes_up_trainings_pushes_out_their_own_only() -> None:
    learned = Overheads()
    learned.add(1, submitter("ann", "bert"), "start", Taken(100.0))
    learned.add(2, submitter("mallory", "first"), "start", Taken(200.0))
    for number in range(10 * MOST_TRAININGS_OF_OWNER):
        learned.add(3, submitter("mallory", f"m{number}"), "start", Taken(10.0))
    assert learned.estimate(None, of("ann", "bert")).start == 110.0
    # Theirs counts as one that was never seen: by what most of their jobs took.
    assert learned.estimate(None, of("mallory", "first")).start == 12.0
    assert len(learned._of_trainings) == MOST_TRAININGS_OF_OWNER + 2


def test_a_training_that_is_asked_for_is_not_forgotten() -> None:
    learned = Overheads()
    learned.add(1, submitter("ann", "bert"), "start", Taken(100.0))
    for number in range(2 * MOST_TRAININGS_OF_OWNER):
        learned.add(2, submitter("ann", f"m{number}"), "start", Taken(10.0))
        assert learned.estimate(None, of("ann", "bert")).start == 110.0


@given(st.lists(st.floats(0.1, 300.0), min_size=1, max_size=10))
def test_a_jobs_own_worst_lately_is_never_underestimated(seconds: list[float]) -> None:
    learned = Overheads()
    for one in seconds:
        learned.add(1, submitter("ann"), "restart", Taken(one))
    worst = max(seconds[-3:])
    least = max(SAFETY_FACTOR * worst, worst + LEAVING_SECONDS)
    assert learned.estimate(1, of("ann")).restart >= least - 1e-6


@pytest.mark.parametrize(
    ("overhead", "margin"),
    [("start", 2.0), ("grow", 2.0), ("move", 2.0), ("restart", 2.0), ("shrink", 1.0)],
)
def test_who_takes_gpus_over_waits_for_whoever_leaves(overhead: str, margin: float) -> None:
    """What was measured may have had free ones; a shrink takes nothing from anybody."""
    learned = Overheads()
    learned.add(1, submitter("ann"), overhead, Taken(6.0))
    for job in (1, 2):
        assert getattr(learned.estimate(job, of("ann")), overhead) == 6.0 + margin
    learned.add(1, submitter("ann"), overhead, Taken(60.0))
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
    with open_queue(tmp_path / "queue.sqlite") as queue:
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
        overhead = known.overheads.live(1, REQUEST, STATED, grows=True, shrinks=True)
        learned = {kind.value: math.ceil(SAFETY_FACTOR * cost)}
        assert overhead == replace(STATED, **{"grow": 33.0, "shrink": 3.0, **learned})
        closed = known.overheads.live(1, REQUEST, STATED, grows=False, shrinks=True)
        assert closed.grow == STATED.restart
        # A launch that stops for it is another matter.
        assert known.overheads.estimate(1, REQUEST) == STATED


# It trained elsewhere until 70 s after the decision, and trains here 94 s after it.
SINCE = NOW - 200.0
MOVED = {"slurm_started": SINCE + 80.0, "launched": SINCE + 82.0, "first": SINCE + 94.0}


def changed(slurm_started: float, launched: float, first: float, until: float | None) -> JobStatus:
    status = running(
        TWO_NODES,
        launch=launch(started_at=launched),
        progress=progress(first_iteration_at=first, trained_until=until),
    )
    return replace(status, slurm=replace(status.slurm, start_time=slurm_started))


@pytest.mark.parametrize(
    ("kind", "costs"),
    [
        # 24 s without training, and the margin; whoever trains faster afterwards loses more.
        (ChangeKind.MOVE, {"move": 27.0, "restart": 104.0}),
        (ChangeKind.RESTART, {"move": 27.0, "restart": 104.0}),
        (ChangeKind.START, {"start": 104.0}),
    ],
)
def test_a_change_costs_the_time_without_training(
    queue: Queue, kind: ChangeKind, costs: dict[str, float]
) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    calibration.expect(1, kind, SINCE)
    job = row(running=Running(TWO_NODES, SINCE, SINCE + 30.0))
    calibration.observe(job, changed(**MOVED, until=SINCE + 70.0), NOW)
    (event,) = queue.events.last(EventKind.MEASURED, 9)
    said = f"{kind.value} took 94.0 s until training (24.0 s of them without any) on 8 GPUs"
    assert event.message == said
    again = Estimates()
    Calibration(again, queue).recall()
    for known in (estimates, again):
        assert known.overheads.estimate(1, REQUEST) == replace(STATED, **costs)
        whole = dict.fromkeys(costs, 104.0)
        assert known.overheads.estimate(1, REQUEST, slower=True) == replace(STATED, **whole)


def test_a_relaunch_in_place_costs_what_is_not_trained_while_it_is_prepared(queue: Queue) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    calibration.expect(1, ChangeKind.RELAUNCH, SINCE)
    status = changed(SINCE - 900.0, SINCE + 11.0, SINCE + 14.0, until=SINCE + 10.0)
    calibration.observe(row(running=Running(TWO_NODES, SINCE, SINCE + 30.0)), status, NOW)
    assert estimates.overheads.estimate(1, REQUEST).shrink == 5.0
    assert estimates.overheads.estimate(1, REQUEST, slower=True).shrink == 16.0


@pytest.mark.parametrize(
    "until",
    [
        None,
        0.0,
        SINCE - 1.0,  # nothing was trained since the decision
        SINCE,
        SINCE + 81.0,  # Slurm had started it elsewhere by then
        SINCE + 83.0,  # its next launch had begun
        SINCE + 95.0,
        NOW,
        1e9,
        2.0**33,
    ],
)
def test_what_cannot_be_true_of_the_launch_before_is_not_believed(
    queue: Queue, until: float | None
) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    calibration.expect(1, ChangeKind.MOVE, SINCE)
    job = row(running=Running(TWO_NODES, SINCE, SINCE + 30.0))
    calibration.observe(job, changed(**MOVED, until=until), NOW)
    assert estimates.overheads.estimate(1, REQUEST).move == 104.0
    (event,) = queue.events.last(EventKind.MEASURED, 9)
    assert "still" not in event.data


moments = st.floats(0.0, 2.0**33)


@given(moments, moments, st.none() | moments, moments, moments, st.sampled_from(ChangeKind))
def test_whatever_a_job_says_and_the_clocks_do_a_change_takes_what_can_be(
    launched: float,
    first: float,
    until: float | None,
    since: float,
    now: float,
    kind: ChangeKind,
) -> None:
    for started in (since - 5.0, since + 5.0, now):
        status = changed(started, launched, first, until)
        took = taken(Decided(kind, since), status, first, now)
        assert 0.0 <= took.still <= took.seconds <= max(0.0, now - since)


@pytest.mark.parametrize("still", [-1.0, 21.0, 1e300, math.inf, "x", None, True, [1]])
def test_an_event_that_cannot_be_is_recalled_as_all_of_the_time(still: Json) -> None:
    assert recalled({"what": "move", "still": still}, 20.0).still == 20.0
    assert recalled({"what": "move", "still": 5}, 20.0).still == 5.0


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
