"""Slurm's durations."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.durations import DurationError, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("30", 1800),
        ("1:30", 90),
        ("100:00", 6000),
        ("2:00:01", 7201),
        ("1-0", 86400),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-12:30:05", 131405),
        (" 5 ", 300),
        ("UNLIMITED", math.inf),
        ("infinite", math.inf),
        ("-1", math.inf),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "abc", "1:2:3:4", "1-", "-", "-5", "1.5", "1h", "1-2:3:4:5", "٣", "9" * 12, "9" * 9000],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(DurationError):
        parse_duration(text)


@given(st.integers(0, 10**8))
def test_what_is_printed_is_read_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_late_is_negative() -> None:
    assert format_duration(-61) == "-00:01:01"
