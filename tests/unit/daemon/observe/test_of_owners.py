"""What is remembered under names that owners make up."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.daemon.observe.of_owners import OfOwners

OWNERS = ("ann", "bob", "carl", "dora")
asked = st.lists(st.tuples(st.sampled_from(OWNERS), st.integers(0, 9).map(str)), max_size=60)


@given(asked, st.integers(1, 5), st.integers(1, 12))
def test_never_more_than_the_most_and_the_last_is_there(
    made: list[tuple[str, str]], most_of_owner: int, most: int
) -> None:
    kept: OfOwners[list[str]] = OfOwners(list, most_of_owner=most_of_owner, most=most)
    for owner, name in made:
        value = kept.made(owner, name)
        assert kept.get(owner, name) is value
        assert kept.made(owner, name) is value
        there = Counter(
            one for one in OWNERS for number in range(10) if kept.get(one, str(number)) is not None
        )
        assert there.total() == len(kept) <= most
        assert max(there.values()) <= most_of_owner


@given(st.integers(0, 50))
def test_a_flood_takes_nothing_from_those_who_have_less(floods: int) -> None:
    kept: OfOwners[list[str]] = OfOwners(list, most_of_owner=6, most=8)
    for owner in ("ann", "bob"):
        for name in ("x", "y"):
            kept.made(owner, name)
    for number in range(floods):
        kept.made("mallory", str(number))
    for owner in ("ann", "bob"):
        for name in ("x", "y"):
            assert kept.get(owner, name) is not None


def test_of_those_who_have_as_many_whoever_was_not_heard_of_for_longest_gives_way() -> None:
    kept: OfOwners[list[str]] = OfOwners(list, most_of_owner=2, most=3)
    for owner in ("ann", "bob", "carl"):
        kept.made(owner, "x")
    kept.get("ann", "x")
    kept.made("dora", "x")
    assert [owner for owner in OWNERS if kept.get(owner, "x") is not None] == [
        "ann",
        "carl",
        "dora",
    ]


def test_the_most_recently_used_names_of_an_owner_stay() -> None:
    kept: OfOwners[list[str]] = OfOwners(list, most_of_owner=2, most=9)
    first = kept.made("ann", "a")
    kept.made("ann", "b")
    assert kept.get("ann", "a") is first
    kept.made("ann", "c")
    assert kept.get("ann", "b") is None
    assert kept.get("ann", "a") is first
