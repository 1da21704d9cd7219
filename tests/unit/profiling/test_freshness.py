"""What is believed of rates that were measured long ago, or with other software."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.model import MeasuredRate, ProfileKey
from ef_slurm.profiling.freshness import FRESH_SECONDS, believed

KEY = ProfileKey("bert", 256, "bf16", "a100")
NOW = 1e9
OLD = NOW - FRESH_SECONDS - 1.0


def rate(gpus: int, value: float, at: float = NOW, software: str = "") -> MeasuredRate:
    return MeasuredRate(
        KEY, gpus, min(gpus, 4), value, 30.0, "me", "", at, job_id=7, software=software
    )


def test_a_curve_that_is_old_counts_for_nothing_until_something_fresh_speaks_for_it() -> None:
    old = [rate(1, 10.0, OLD), rate(8, 60.0, OLD)]
    assert believed(old, NOW) == {}
    assert believed(old, NOW - 2.0) == {1: 10.0, 8: 60.0}
    # 4 GPUs are as fast as that curve says: all of it counts again.
    as_before = believed([*old, rate(4, 35.0)], NOW)
    assert as_before == pytest.approx({1: 10.0, 4: 35.0, 8: 60.0}, rel=0.05)
    # They are half as fast: its shape counts, at half its height.
    slower = believed([*old, rate(4, 17.0)], NOW)
    assert slower == pytest.approx({1: 5.0, 4: 17.0, 8: 30.0}, rel=0.05)
    # They are faster: nobody has seen that of the others.
    assert believed([*old, rate(4, 70.0)], NOW) == {1: 10.0, 4: 70.0, 8: 60.0}


def test_other_software_makes_what_was_measured_before_stale() -> None:
    before = [rate(1, 10.0, NOW - 100.0, "torch 2.4"), rate(8, 60.0, NOW - 90.0, "torch 2.4")]
    assert believed(before, NOW) == {1: 10.0, 8: 60.0}
    since = rate(4, 17.0, NOW, "torch 2.5")
    assert believed([*before, since], NOW)[8] == pytest.approx(30.0, rel=0.05)
    # Who does not say what they train with is believed.
    unknown = [replace(one, software="") for one in before]
    assert believed([*unknown, since], NOW)[8] == 60.0


def test_a_single_old_rate_counts_where_fresh_ones_agree() -> None:
    fresh = [rate(1, 10.0), rate(8, 60.0)]
    assert believed([*fresh, rate(4, 35.0, OLD)], NOW) == {1: 10.0, 4: 35.0, 8: 60.0}
    assert believed([*fresh, rate(4, 20.0, OLD)], NOW) == {1: 10.0, 8: 60.0}
    assert believed([rate(1, 10.0), rate(4, 35.0, OLD)], NOW) == {1: 10.0}


sizes = st.sampled_from([1, 2, 4, 8, 16])
values = st.floats(1e-3, 1e6)


@given(st.dictionaries(sizes, values), st.dictionaries(sizes, values))
def test_what_is_stale_is_never_counted_on_for_more_than_it_was(
    old: dict[int, float], new: dict[int, float]
) -> None:
    measured = [rate(gpus, value, OLD) for gpus, value in old.items()]
    measured += [rate(gpus, value) for gpus, value in new.items()]
    result = believed(measured, NOW)
    assert bool(result) == bool(new)
    for gpus, value in result.items():
        assert value > 0.0
        assert value == new[gpus] if gpus in new else value <= old[gpus]
