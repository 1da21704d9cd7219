"""The step function of what is used, against the sum over everybody at every moment."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.planner.timeline.usage import UsageProfile

moments = st.integers(0, 12).map(float)
uses = st.tuples(
    st.sampled_from("abc"), moments, st.one_of(moments, st.just(math.inf)), st.integers(1, 5)
).filter(lambda use: use[1] < use[2])


@given(st.lists(uses, max_size=8), st.sampled_from(["a", "b", ""]), moments, moments)
def test_it_is_the_sum_over_everybody(
    added: list[tuple[str, float, float, int]], gone: str, start: float, end: float
) -> None:
    profile = UsageProfile()
    for name, first, last, amount in added:
        profile.add(name, first, last, float(amount))
    others = profile.without(gone)
    profile = profile.copy()
    profile.remove(gone)

    def level(at: float) -> float:
        return float(sum(use[3] for use in added if use[0] != gone and use[1] <= at < use[2]))

    if start < end:
        steps = [start, *(at / 2 for at in range(25) if start < at / 2 < end)]
        assert profile.peak(start, end) == others.peak(start, end) == max(map(level, steps))
    later = [at for at in (i / 2 for i in range(1, 60)) if at > start]
    falls = [at for at in later if level(at) < level(at - 0.5)]
    assert profile.next_fall(start) == (falls[0] if falls else math.inf)


def test_somebody_who_uses_for_ever_and_from_ever() -> None:
    profile = UsageProfile()
    profile.add("", -math.inf, math.inf, 2.0)
    profile.add("", -math.inf, 5.0, 1.0)
    assert (profile.peak(0.0, 9.0), profile.peak(5.0, 9.0), profile.next_fall(0.0)) == (3, 2, 5)
    assert profile.next_fall(5.0) == math.inf
