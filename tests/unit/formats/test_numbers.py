"""Counts as people write them: whole, or refused with what would be one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.numbers import MOST_OF_AN_AMOUNT, parse_amount


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("08", 8),
        (" 8 ", 8),
        ("20_000", 20_000),
        ("1_000_000", 1_000_000),
        ("1k", 1000),
        ("1K", 1000),
        ("1.5k", 1500),
        (".5k", 500),
        ("1.5M", 1_500_000),
        ("2G", 2 * 10**9),
        ("1T", 10**12),
        ("1e4", 10_000),
        ("1E+4", 10_000),
        ("2.5e3", 2500),
        ("10000.0", 10_000),
        ("1e3k", 10**6),
        ("1e18", MOST_OF_AN_AMOUNT),
    ],
)
def test_a_count(text: str, number: int) -> None:
    assert parse_amount(text) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "0k", "-1", "+1", "1.5", "1.0001k", "1e-3", "0.5", "2e18", "1e99", "9" * 19),
        *(
            "k",
            "1kk",
            "1 k",
            "20m",
            "1,000",
            "_1",
            "1_",
            "1__0",
            "1.",
            ".",
            "e4",
            "0x10",
            "nan",
            "inf",
        ),
        *("\u0661", "1\n2", "\x1b[1m", "1;rm", "9" * 10_000_000),
    ],
)
def test_what_is_none_says_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number of 1 or more") as error:
        parse_amount(text)
    assert len(str(error.value)) < 250


@given(st.integers(1, MOST_OF_AN_AMOUNT))
def test_every_count_is_read_as_python_writes_it(number: int) -> None:
    if number < 10**18:
        assert parse_amount(str(number)) == number
        assert parse_amount(f"{number:_}") == number
