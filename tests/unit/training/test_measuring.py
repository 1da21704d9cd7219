"""What one size tells, and which comes next."""

import pytest

from ef_slurm.contract import Point
from ef_slurm.training.measuring import Pace, Round


def run(pace: Pace, rate: float, seconds: float, start: float = 0.0, iteration: int = 0) -> Point:
    """Until a point is known; iterations end at this rate and are looked at every 0.1 s."""
    looked = start
    while looked < start + seconds:
        looked += 0.1
        done = int((looked - start) * rate + 1e-9)
        pace.see(iteration + done, start + done / rate, False)
        point = pace.point(4)
        if point is not None:
            return point
    raise AssertionError("no point")


@pytest.mark.parametrize(
    ("rate", "least", "most"),
    [(1000.0, 1.0, 1.2), (20.0, 1.0, 1.3), (2.0, 2.0, 2.6), (0.3, 13.0, 13.4), (0.02, 49.0, 51.0)],
)
def test_a_rate_is_known_after_a_second_or_a_few_iterations(
    rate: float, least: float, most: float
) -> None:
    point = run(Pace(0, 0.0), rate, 200.0)
    assert point.iterations / point.seconds == pytest.approx(rate)
    assert least <= point.seconds <= most


def test_what_is_slow_at_first_does_not_count() -> None:
    pace = Pace(10, 0.0)
    for iteration, at in ((10, 0.0), (11, 5.0), (12, 5.2)):
        pace.see(iteration, at, False)
    point = run(pace, 20.0, 10.0, start=5.2, iteration=12)
    assert point.iterations / point.seconds == pytest.approx(20.0)


def test_one_that_is_not_steady_takes_two_seconds() -> None:
    pace, looked, at, iteration = Pace(0, 0.0), 0.0, 0.0, 0
    while (point := pace.point(4)) is None:
        looked += 0.1
        while at + (0.01 if at < 1.2 else 0.02) <= looked:
            at, iteration = at + (0.01 if at < 1.2 else 0.02), iteration + 1
        pace.see(iteration, at, False)
    assert 2.0 <= point.seconds < 2.2


def test_a_checkpoint_in_between_is_left_out() -> None:
    pace = Pace(0, 0.0)
    for tenth in range(1, 12):
        pace.see(tenth * 2, tenth / 10, False)
    pace.see(23, 4.0, True)
    assert pace.point(4) is None
    point = run(pace, 20.0, 10.0, start=4.0, iteration=23)
    assert point.iterations / point.seconds == pytest.approx(20.0)


def test_what_comes_all_the_time_belongs_to_it() -> None:
    pace, tenth = Pace(0, 0.0), 0
    while (point := pace.point(4)) is None:
        tenth += 1
        assert tenth < 100
        pace.see(tenth, tenth / 10, tenth % 6 == 0)
    assert point.iterations / point.seconds == pytest.approx(10.0)


def test_a_round_goes_from_size_to_size_and_back() -> None:
    now = Round(3, "4,2,1", (0, 1, 5, 6), [4, 2, 1])
    at, iteration = 0.0, 0
    trained = []
    while not now.is_over:
        size = now.next
        trained.append(size)
        now.changed()
        assert not now.see(8, iteration, at, False)  # others train still
        while not now.see(size, iteration, at, False):
            at, iteration = at + 0.1, iteration + size
    assert trained == [4, 2, 1]
    assert now.next == 4
    rates = {one.gpus: one.iterations / one.seconds for one in now.points}
    assert rates == {size: pytest.approx(10.0 * size) for size in (4, 2, 1)}
