"""What may be measured, and for how long."""

from __future__ import annotations

from ef_slurm.profiling.measuring import Bound, Need, wanted

SIZES = (1, 2, 4, 8, 16)
RATES = {1: 1.0, 4: 3.6}
HARD = Need(seconds_left=1000.0, iterations_left=7000.0)


def test_the_bounds_of_a_site_end_it() -> None:
    assert wanted(HARD, RATES, SIZES, 4) == (16,)
    assert wanted(HARD, RATES, SIZES, 4, Bound(gpu_seconds=16 * 30.0)) == (16,)
    assert wanted(HARD, RATES, SIZES, 4, Bound(gpu_seconds=16 * 30.0 - 1)) == ()
    late = Need(1000.0, 7000.0, trained_seconds=20.0)
    assert wanted(late, {4: 3.6}, SIZES, 4) == (1,)
    assert wanted(late, {4: 3.6}, SIZES, 4, Bound(seconds=20.0)) == ()
    # Without any rate there is nothing to judge it by.
    assert wanted(late, {}, SIZES, 4, Bound(seconds=20.0)) == (4, 1)
