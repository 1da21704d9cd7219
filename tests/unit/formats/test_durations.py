"""Lengths of time: Slurm's forms, what Slurm prints, counts with units, and words."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.durations import (
    DurationError,
    describe_duration,
    format_duration,
    format_minutes,
    parse_counts,
    parse_duration,
    parse_finite_duration,
    parse_minutes,
    parse_seconds,
    parse_setting,
    parse_time_limit,
    whole_minutes,
)

LONGEST = 0xFFFFFFFE * 60


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
        ("0-0:0:0", 0),
        (" 5 ", 300),
        ("4294967294", LONGEST),
        ("UNLIMITED", math.inf),
        ("infinite", math.inf),
        ("-1", math.inf),
    ],
)
def test_slurms_forms(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_time_limit(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("abc", "1:2:3:4", "1-", "-", "-5", "-0:05", "1.5", "0:30.5", "1h", "1-2:3:4:5", "1 2"),
        *("٣", "1:٣0", "٢-0", "4294967295", "9" * 12, "9" * 9000),
    ],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(DurationError, match="is no duration: give minutes, M:S|give UNLIMITED"):
        parse_duration(text)
    with pytest.raises(DurationError):
        parse_time_limit(text)


@pytest.mark.parametrize(
    "text",
    ["Partition_Limit", "INVALID", "NOT_SET", "Unknown", "N/A", "NONE", "None", "(null)", "", " "],
)
def test_limits_that_are_not_set(text: str) -> None:
    assert parse_time_limit(text) is None
    with pytest.raises(DurationError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("+1h30m", 5400.0),
        ("1.5 hours", 5400.0),
        ("2 DAYS 3 min", 172980.0),
        ("1w", 604800.0),
        ("0s", 0.0),
        ("0:45", 45.0),
        ("2", 120.0),
        ("1d", 86400.0),
        ("1-0", 86400.0),
    ],
)
def test_durations_that_end(text: str, seconds: float) -> None:
    assert parse_finite_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no duration: give minutes, .*, or 90s, 30m, 1h30m, 2d"),
        ("x", "or 90s, 30m, 1h30m, 2d"),
        ("-5m", "or 90s, 30m, 1h30m, 2d"),
        ("5 fortnights", "or 90s, 30m, 1h30m, 2d"),
        ("1h30", "or 90s, 30m, 1h30m, 2d"),
        ("٣h", "or 90s, 30m, 1h30m, 2d"),
        ("UNLIMITED", "'UNLIMITED': it must end"),
        ("-1", "'-1': it must end"),
        ("99999999999d", "longer than Slurm can keep"),
        ("9" * 400 + "s", "longer than Slurm can keep"),
    ],
)
def test_what_does_not_end_or_is_none(text: str, message: str) -> None:
    with pytest.raises(DurationError, match=message):
        parse_finite_duration(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a count and its unit is missing"),
        ("6", "6 of what"),
        ("1h30", "30 of what"),
        ("3fortnights", "unknown unit 'fortnights'"),
        ("x", "'x' is no count"),
        ("1h!", "'!' is no count"),
    ],
)
def test_counts_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(DurationError, match=message):
        parse_counts(text)


def test_a_bare_count_is_in_seconds_and_stands_alone() -> None:
    assert parse_counts("90", bare=True) == 90
    with pytest.raises(DurationError, match="of what"):
        parse_counts("1h 90", bare=True)


def test_a_long_row_of_digits_is_refused_at_once() -> None:
    began = time.perf_counter()
    with pytest.raises(DurationError):
        parse_counts("1" * 2000 + "!")
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("0.5", 0.5), (" 2e3 ", 2000.0)])
def test_plain_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e999", "1_0", "٣", "5x", "0x10"])
def test_no_plain_seconds(text: str) -> None:
    with pytest.raises(DurationError, match="is not a number of seconds, 0 or more"):
        parse_seconds(text)


def test_plain_seconds_within_bounds() -> None:
    assert parse_seconds("0.1", least=0.1, most=60) == 0.1
    for text in ("0.09", "60.1", "0"):
        with pytest.raises(DurationError, match=r"is not a number of seconds, 0\.1 to 60"):
            parse_seconds(text, least=0.1, most=60)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400.0), ("0", 0.0), ("", None), ("UNLIMITED", None), ("-1", None), ("٣", None)],
)
def test_minutes(text: str, seconds: float | None) -> None:
    assert parse_minutes(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30 sec", 30.0),
        ("0 sec", 0.0),
        ("5 min", 300.0),
        ("2 days", 172800.0),
        ("300", 300.0),
        ("(null)", None),
        ("INFINITE", None),
        ("3 parsecs", None),
        ("", None),
    ],
)
def test_settings(text: str, seconds: float | None) -> None:
    assert parse_setting(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "limit", "minutes"),
    [(0.0, 0.0, "0"), (0.1, 60.0, "1"), (60.0, 60.0, "1"), (61.0, 120.0, "2")],
)
def test_limits_are_whole_minutes(seconds: float, limit: float, minutes: str) -> None:
    assert whole_minutes(seconds) == limit
    assert format_minutes(seconds) == minutes
    assert parse_duration(minutes) == limit


def test_no_limit() -> None:
    assert whole_minutes(math.inf) == math.inf
    assert format_minutes(math.inf) == "UNLIMITED"
    assert format_duration(math.inf) == "UNLIMITED"
    assert describe_duration(math.inf) == "no end"


@given(st.integers(0, 10**8))
def test_what_is_printed_is_read_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
    assert format_duration(seconds) == format_duration(seconds + 0.4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (3600, "1:00:00"), (-61, "-1:01"), (-0.4, "0:00")],
)
def test_as_squeue_prints(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min"), (3661, "1 h 1 min"), (86401, "1 d"), (-0.4, "0 s"), (-5, "-5 s")],
)
def test_in_words(seconds: float, text: str) -> None:
    assert describe_duration(seconds) == text
