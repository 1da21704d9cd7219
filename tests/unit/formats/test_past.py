"""Points in time that have been."""

from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.past import parse_past
from ef_slurm.formats.times import InstantError

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 26, 15, 0, tzinfo=BERLIN).timestamp()


def local(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("today", "2026-11-26", "2026-11-27"),
        ("Yesterday", "2026-11-25", "2026-11-26"),
        ("2026", "2026-01-01", "2027-01-01"),
        ("2026-11", "2026-11-01", "2026-12-01"),
        ("2025-12", "2025-12-01", "2026-01-01"),
        ("2026-11-25", "2026-11-25", "2026-11-26"),
        ("2026-1-2", "2026-01-02", "2026-01-03"),
        ("11/26", "2026-11-26", "2026-11-27"),
        ("11/27", "2025-11-27", "2025-11-28"),
        ("02/29", "2024-02-29", "2024-03-01"),
        ("02/28/25", "2025-02-28", "2025-03-01"),
        ("02/28/2025", "2025-02-28", "2025-03-01"),
        ("2026-03-29", "2026-03-29", "2026-03-30"),
        ("2026-11-25T14:30", "2026-11-25T14:30", "2026-11-25T14:30"),
        ("2026-11-25 14:30:05", "2026-11-25T14:30:05", "2026-11-25T14:30:05"),
        ("yesterday 9:00", "2026-11-25T09:00", "2026-11-25T09:00"),
        ("14:30", "2026-11-26T14:30", "2026-11-26T14:30"),
        ("16:00", "2026-11-25T16:00", "2026-11-25T16:00"),
        ("now", "2026-11-26T15:00", "2026-11-26T15:00"),
        ("2h", "2026-11-26T13:00", "2026-11-26T13:00"),
        ("-2h", "2026-11-26T13:00", "2026-11-26T13:00"),
        ("now-2hours", "2026-11-26T13:00", "2026-11-26T13:00"),
        ("7d", "2026-11-19T15:00", "2026-11-19T15:00"),
        ("1d12h", "2026-11-25T03:00", "2026-11-25T03:00"),
        ("2026-11-26T13:00:00Z", "2026-11-26T14:00", "2026-11-26T14:00"),
    ],
)
def test_what_people_write(text: str, first: str, last: str) -> None:
    assert parse_past(text, NOW, BERLIN) == local(first)
    assert parse_past(f" {text} ", NOW, BERLIN, end=True) == local(last)


def test_epoch_seconds() -> None:
    assert parse_past("@1700000000", NOW, UTC) == parse_past("uts1700000000", NOW, UTC) == 1.7e9
    assert parse_past("@1700000000.5", NOW, UTC) == 1_700_000_000.5


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "7", "7x", "tomorrow", "2026-13", "2026-02-30", "13/01", "25:00", "12:60"),
        *("2026-11-27", "@9999999999", "2026 14:30", "x 14:30", "0000", "now-", "--2h", "02/30"),
        *("2026-11-27T00:00:00Z", "\uff12\uff10\uff12\uff16", "now+2h"),
    ],
)
def test_what_is_no_time_that_has_been(text: str) -> None:
    with pytest.raises(InstantError):
        parse_past(text, NOW, BERLIN)


@given(st.text(max_size=30), st.booleans())
def test_any_text_is_a_time_or_an_error_with_words(text: str, end: bool) -> None:
    with suppress(InstantError):
        assert 0.0 <= parse_past(text, NOW, BERLIN, end=end) < NOW + 400 * 86400


def test_longer_ago_than_there_are_records() -> None:
    assert parse_past("9" * 400 + "d", NOW, BERLIN) == 0.0
