"""Points in time. The present is Wednesday 2026-07-15 10:30:00 in Berlin unless said otherwise."""

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from ef_slurm.formats.times import (
    InstantError,
    format_day,
    format_for_table,
    format_host_instant,
    format_instant,
    format_iso,
    format_stamp,
    format_time_of_day,
    parse_epoch,
    parse_slurm_time,
)

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 7, 15, 10, 30, tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-07-15T10:30:00", NOW),
        ("1800000000", 1.8e9),
        ("0", 0.0),
        (" 5 ", 5.0),
        ("Unknown", None),
        ("None", None),
        ("N/A", None),
        ("(null)", None),
        ("", None),
    ],
)
def test_what_slurm_prints(text: str, instant: float | None) -> None:
    assert parse_slurm_time(text, BERLIN) == instant


def test_the_earlier_of_two_is_meant_where_slurm_prints_no_zone() -> None:
    early = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN).timestamp()
    assert parse_slurm_time("2026-10-25T02:30:00", BERLIN) == early
    assert format_iso(early, BERLIN) == "2026-10-25T02:30:00+02:00"


@pytest.mark.parametrize(
    "text",
    [
        *("Sep 1 10:00", "2026-09-01", "2026-13-01T00:00:00", "2026-09-01T24:00:01", "10:00"),
        *("2026-09-01T10:00:00+02:00", "-5", "1.5", "٣", "9" * 13, "9" * 9000, "0000-01-01T0:0:0"),
    ],
)
def test_what_slurm_never_prints(text: str) -> None:
    with pytest.raises(InstantError, match="2026-09-01T14:30:00 or epoch seconds are"):
        parse_slurm_time(text, BERLIN)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "٣", "N/A", "9" * 13])
def test_what_is_no_epoch(text: str) -> None:
    assert parse_epoch(text) is None


def test_how_times_are_shown() -> None:
    assert format_instant(NOW, BERLIN) == "2026-07-15 10:30:00 CEST"
    assert format_iso(NOW, BERLIN) == "2026-07-15T10:30:00+02:00"
    assert format_stamp(NOW, BERLIN) == "20260715-103000"
    assert format_day(NOW, BERLIN) == "Wednesday 2026-07-15 (CEST)"
    assert format_time_of_day(NOW, BERLIN) == "10:30:00"


@pytest.mark.parametrize(
    ("later", "text"),
    [(0, "10:30:00"), (0.6, "10:30:00"), (13 * 3600, "23:30:00"), (14 * 3600, "07-16T00:30")],
)
def test_a_table_shows_the_day_only_where_it_is_another(later: float, text: str) -> None:
    assert format_for_table(NOW + later, NOW, BERLIN) == text


def test_a_time_on_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert format_host_instant(NOW) == "2026-07-15 14:00:00 IST"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("instant", [1e12, 1e300, float("inf"), float("nan")])
def test_a_prediction_without_a_calendar(instant: float) -> None:
    assert format_instant(instant, BERLIN) == "after the year 2999"
    assert format_host_instant(instant) == "after the year 2999"
    assert format_day(instant, BERLIN) == "after the year 2999"
    assert format_time_of_day(instant, BERLIN) == "after the year 2999"


@pytest.mark.parametrize("instant", [-1e18, -7e10, float("-inf")])
def test_a_moment_before_the_calendar(instant: float) -> None:
    assert format_instant(instant, BERLIN) == "before the year 1000"
    assert format_iso(instant, UTC) == "1000-01-02T00:00:00+00:00"


def test_a_table_shows_times_beyond_the_calendar() -> None:
    assert format_for_table(1e300, NOW, BERLIN) == "after the year 2999"
    assert format_for_table(float("inf"), NOW, BERLIN) == "after the year 2999"
