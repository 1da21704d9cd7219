"""Constraints that can be said of each node alone, and none of the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.slurm.features import FeaturesError, parse_features


@pytest.mark.parametrize(
    ("text", "features", "allowed"),
    [
        ("a", ("a", "b"), True),
        ("a", (), False),
        ("a&b", ("a",), False),
        ("a,b", ("a", "b"), True),
        ("a|b", ("b",), True),
        ("(a|b)&c", ("b", "c"), True),
        ("(a|b)&c", ("b",), False),
        ("a|(b&c)", ("a",), True),
        ("((a))", ("a",), True),
        ("gpu-a100.80g", ("gpu-a100.80g",), True),
    ],
)
def test_nodes_are_allowed_by_their_features(
    text: str, features: tuple[str, ...], allowed: bool
) -> None:
    assert parse_features(text).allows(features) is allowed


@given(st.text(alphabet="ab&|(),[]* \n", max_size=30))
def test_any_text_is_a_constraint_or_refused(text: str) -> None:
    try:
        found = parse_features(text)
    except FeaturesError:
        return
    assert str(parse_features(str(found))) == str(found)
    assert parse_features(str(found)).names == found.names
