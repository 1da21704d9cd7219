"""Whose measurements count for whom, and what is made of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.model import MeasuredRate, Node, NodeGroup, ProfileKey, ProfileLevel
from ef_slurm.profiling.freshness import AGREEMENT
from ef_slurm.profiling.library import known_curve, known_rates

NOW = 1200.0
KEY = ProfileKey("bert", 256, "bf16", "a100")
GROUP = NodeGroup("a100", 4, tuple(Node(f"n{number}") for number in range(4)))


def rate(
    gpus: int,
    value: float,
    owner: str = "me",
    *,
    account: str = "",
    at: float = 1000.0,
    job_id: int | None = 7,
) -> MeasuredRate:
    node = min(gpus, 4)
    return MeasuredRate(KEY, gpus, node, value, 30.0, owner, account, at, job_id=job_id)


def test_nothing_is_known_of_what_nobody_measured() -> None:
    assert known_rates([], "me", ["a"], NOW) is None
    assert known_curve([], "me", ["a"], GROUP, NOW) is None


def test_ones_own_count_before_the_accounts_and_those_before_the_sites() -> None:
    own = rate(4, 40.0)
    account = [rate(1, 9.0, "you", account="a"), rate(4, 33.0, "you", account="a", at=1100.0)]
    site = [rate(1, 12.0, "x", account="b"), rate(1, 12.1, "y", account="c")]
    everybody = [own, *account, *site]
    known = known_rates(everybody, "me", ["a"], NOW)
    assert known is not None
    assert (known.level, known.rates, known.last) == (ProfileLevel.OWN, {4: 40.0}, 1000.0)
    known = known_rates(everybody, "somebody", ["a"], NOW)
    assert known is not None
    assert (known.level, known.rates) == (ProfileLevel.ACCOUNT, {1: 9.0, 4: 33.0})
    assert known.last == 1100.0
    known = known_rates(everybody, "somebody", [], NOW)
    assert known is not None
    assert (known.level, known.rates) == (ProfileLevel.SITE, {1: 12.0})


def test_the_latest_of_an_account_counts() -> None:
    older, newer = rate(1, 5.0, "x", account="a"), rate(1, 6.0, "y", account="a", at=1001.0)
    known = known_rates([newer, older], "me", ["a"], NOW)
    assert known is not None
    assert known.rates == {1: 6.0}


def test_one_owner_alone_decides_nothing_for_others() -> None:
    lie = [rate(1, 900.0, "liar", account="b"), rate(1, 950.0, "liar", account="c")]
    assert known_rates(lie, "me", ["a"], NOW) is None
    honest = [rate(1, 10.0, "x"), rate(1, 10.5, "y")]
    known = known_rates([*lie, *honest], "me", ["a"], NOW)
    assert known is not None
    assert known.rates == {1: 10.0}


def test_an_account_without_a_name_is_nobodys() -> None:
    assert known_rates([rate(1, 10.0, "x")], "me", [""], NOW) is None


def test_what_others_imported_is_not_counted_on() -> None:
    imports = [rate(1, 10.0, owner, account="a", job_id=None) for owner in ("x", "y")]
    assert known_rates(imports, "me", ["a"], NOW) is None
    known = known_rates(imports, "x", [], NOW)
    assert known is not None
    assert known.level is ProfileLevel.OWN


positive = st.floats(0.01, 1000.0)


@given(st.lists(st.tuples(st.sampled_from("abcde"), positive), max_size=8))
def test_the_site_promises_no_more_than_two_owners_saw(seen: list[tuple[str, float]]) -> None:
    known = known_rates([rate(2, value, owner) for owner, value in seen], "me", [], NOW)
    if known is None:
        return
    value = known.rates[2]
    near = {owner for owner, other in seen if value <= other <= value * (1 + AGREEMENT)}
    assert len(near) >= 2


def test_one_size_is_a_curve_of_one_point() -> None:
    curve = known_curve([rate(4, 40.0)], "me", [], GROUP, NOW)
    assert curve is not None
    assert curve.promised == curve.expected
    assert curve.promised.points == curve.measured == ((4, 40.0),)


def test_two_sizes_tell_about_all_that_the_partition_has() -> None:
    curve = known_curve([rate(1, 10.0), rate(4, 36.0)], "me", [], GROUP, NOW)
    assert curve is not None
    promised, expected = dict(curve.promised.points), dict(curve.expected.points)
    assert list(promised) == list(expected) == [1, 2, 4, 8, 16]
    assert promised[4] == expected[4] == 36.0
    assert promised[16] <= 36.0 < expected[16]  # a network that nobody has seen


@given(
    st.dictionaries(
        st.sampled_from([1, 2, 4, 8, 16]), st.floats(1e-9, 1e9, allow_subnormal=False), min_size=1
    )
)
def test_whatever_was_reported_gives_a_valid_curve_or_none(rates: dict[int, float]) -> None:
    measured = [rate(gpus, value) for gpus, value in rates.items()]
    curve = known_curve(measured, "me", [], GROUP, NOW)
    if curve is not None:
        expected = dict(curve.expected.points)
        assert all(value <= expected[gpus] * (1 + 1e-9) for gpus, value in curve.promised.points)


@pytest.mark.parametrize("gpus", [1, 4])
def test_sizes_that_the_partition_has_not_are_kept_as_measured(gpus: int) -> None:
    one = NodeGroup("a100", gpus, (Node("n1"),))
    curve = known_curve([rate(1, 10.0), rate(8, 60.0)], "me", [], one, NOW)
    assert curve is not None
    assert dict(curve.promised.points)[8] == 60.0
    assert replace(curve, level=ProfileLevel.SITE).measured == curve.measured
