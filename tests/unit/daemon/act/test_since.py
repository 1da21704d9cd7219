"""What began stays begun, whatever the clock does."""

from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.daemon.act.since import Since

TIMES = st.floats(min_value=0.0, max_value=1e10)


@given(st.lists(TIMES, min_size=1))
def test_it_is_the_least_that_the_clock_said(times: list[float]) -> None:
    since = Since()
    for number, now in enumerate(times):
        assert since.of(1, "run", now) == min(times[: number + 1])


def test_something_else_begins_anew() -> None:
    since = Since()
    assert since.of(1, 0, 100.0) == 100.0
    assert since.of(1, 0, 105.0) == 100.0
    assert since.of(1, 1, 110.0) == 110.0
    assert since.of(2, 1, 120.0) == 120.0
    since.forget(1)
    since.forget(1)
    assert since.of(1, 1, 130.0) == 130.0


def test_when_it_began_may_be_known() -> None:
    since = Since()
    assert since.of(1, 0, 100.0, began=90.0) == 90.0
    assert since.of(1, 0, 101.0, began=95.0) == 90.0
    assert since.of(1, 1, 50.0, began=90.0) == 50.0  # by a clock that was an hour ahead
