"""Points in time. The present is Wednesday 2026-07-15 10:30:00 in Berlin unless said otherwise."""

import contextlib
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    parse_instant,
    parse_slurm_time,
)

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 7, 15, 10, 30, tzinfo=BERLIN).timestamp()


def local(text: str, now: float = NOW) -> str:
    instant = parse_instant(text, now, BERLIN)
    return datetime.fromtimestamp(instant, BERLIN).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("16:00", "2026-07-15 16:00:00"),
        ("9:15", "2026-07-16 09:15:00"),
        ("10:30", "2026-07-16 10:30:00"),
        ("10:30:01", "2026-07-15 10:30:01"),
        ("4:00 PM", "2026-07-15 16:00:00"),
        ("12:00am", "2026-07-16 00:00:00"),
        ("12:30pm", "2026-07-15 12:30:00"),
        ("midnight", "2026-07-16 00:00:00"),
        ("noon", "2026-07-15 12:00:00"),
        ("elevenses", "2026-07-15 11:00:00"),
        ("FIKA", "2026-07-15 15:00:00"),
        ("teatime", "2026-07-15 16:00:00"),
        ("tomorrow", "2026-07-16 00:00:00"),
        ("today 23:00", "2026-07-15 23:00:00"),
        ("23:00 today", "2026-07-15 23:00:00"),
        ("todayT23:00", "2026-07-15 23:00:00"),
        ("tomorrow teatime", "2026-07-16 16:00:00"),
        ("noon tomorrow", "2026-07-16 12:00:00"),
        ("0801", "2026-08-01 00:00:00"),
        ("0301", "2027-03-01 00:00:00"),
        ("030128", "2028-03-01 00:00:00"),
        ("8/1", "2026-08-01 00:00:00"),
        ("08/01/27", "2027-08-01 00:00:00"),
        ("08.01.27", "2027-08-01 00:00:00"),
        ("08/01-12:00", "2026-08-01 12:00:00"),
        ("0715-11:00", "2026-07-15 11:00:00"),
        ("0715-10:00", "2027-07-15 10:00:00"),
        ("02/29", "2028-02-29 00:00:00"),
        ("2026-08-01", "2026-08-01 00:00:00"),
        ("2026-8-1", "2026-08-01 00:00:00"),
        ("2026-08-01T12:30", "2026-08-01 12:30:00"),
        ("2026-08-01 12:30:15", "2026-08-01 12:30:15"),
        ("2026-08-01T12:30:15Z", "2026-08-01 14:30:15"),
        ("2026-08-01T12:30+05:30", "2026-08-01 09:00:00"),
        ("2026-08-01 12:30:00-0400", "2026-08-01 18:30:00"),
        ("now+60", "2026-07-15 10:31:00"),
        ("now+2hours", "2026-07-15 12:30:00"),
        ("now + 1 day", "2026-07-16 10:30:00"),
        ("now+1week", "2026-07-22 10:30:00"),
        ("now+90minutes", "2026-07-15 12:00:00"),
        ("+6h", "2026-07-15 16:30:00"),
        ("+1h30m", "2026-07-15 12:00:00"),
        ("+2 days 3 hours", "2026-07-17 13:30:00"),
        ("+1.5h", "2026-07-15 12:00:00"),
    ],
)
def test_what_people_write(text: str, meaning: str) -> None:
    assert local(text) == meaning


def test_epoch_seconds() -> None:
    assert parse_instant("uts1800000000", NOW, BERLIN) == 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("soon", "give HH:MM"),
        ("-", "no point in time"),
        ("T", "no point in time"),
        ("25:00", "hour"),
        ("12:60", "minute"),
        ("13:00pm", "no hour"),
        ("0230", "day"),
        ("2026-13-01", "month"),
        ("2026-02-30", "day"),
        ("02/30", "day"),
        ("20260801", "no point in time"),
        ("08/01/2027", "no point in time"),
        ("2026-08-01T12:30+25:00", "ISO 8601"),
        ("+6", "unit"),
        ("+", "no point in time"),
        ("now+", "no point in time"),
        ("now+3fortnights", "unit"),
        ("now*2", "no point in time"),
        ("noon midnight", "two times"),
        ("today tomorrow", "two days"),
        ("12:00:00 extra", "no point in time"),
        ("nowhere", "no point in time"),
        ("+1h30", "30 of what"),
        ("+٣h", "no count"),
        ("١٢:00", "no point in time"),
        ("9999-12-31", "after the year"),
        ("0001-01-01", "no point in time: year 0"),
        ("0001-01-01T00:00:00+23:59", "before the year 1000: not in"),
        ("+99999999999d", "after the year"),
    ],
)
def test_what_nobody_understands(text: str, why: str) -> None:
    with pytest.raises(InstantError, match=why):
        parse_instant(text, NOW, BERLIN)


@pytest.mark.parametrize(
    "text", ["now", "today", "now-1hour", "2026-07-15T10:30", "2020-01-01", "2026-07-15T08:30:00Z"]
)
def test_the_past_is_refused(text: str) -> None:
    with pytest.raises(InstantError, match="not in the future"):
        parse_instant(text, NOW, BERLIN)


def test_a_time_that_the_clocks_skip() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=BERLIN).timestamp()
    with pytest.raises(InstantError, match="skip"):
        parse_instant("2026-03-29T02:30", before, BERLIN)
    with pytest.raises(InstantError, match="skip"):
        parse_instant("tomorrow 02:30", before, BERLIN)
    assert local("2026-03-29T03:00", before) == "2026-03-29 03:00:00"
    # It passed at breakfast: tomorrow's is meant.
    after = datetime(2026, 3, 29, 9, tzinfo=BERLIN).timestamp()
    assert local("02:30", after) == "2026-03-30 02:30:00"


def test_a_time_that_the_clocks_show_twice() -> None:
    before = datetime(2026, 10, 24, 12, tzinfo=BERLIN).timestamp()
    with pytest.raises(InstantError, match=r"\+02:00 or .*\+01:00"):
        parse_instant("2026-10-25T02:30", before, BERLIN)
    assert parse_instant("2026-10-25T02:30+01:00", before, BERLIN) > before
    between = datetime(2026, 10, 25, 2, 45, tzinfo=BERLIN).timestamp()
    with pytest.raises(InstantError, match="twice"):
        parse_instant("02:30", between, BERLIN)


def test_hours_from_now_count_through_a_clock_change() -> None:
    before = datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN).timestamp()
    assert local("+1h", before) == "2026-03-29 03:30:00"


def test_a_long_row_of_digits_is_refused_at_once() -> None:
    began = time.perf_counter()
    with pytest.raises(InstantError):
        parse_instant("+" + "1" * 2000 + "!", NOW, BERLIN)
    assert time.perf_counter() - began < 1


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
    assert early == parse_instant("2026-10-25T02:30+02:00", NOW, BERLIN)


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


instants = st.datetimes(datetime(2026, 7, 16), datetime(2090, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)


@given(instants)
def test_what_slurm_prints_is_read_back(moment: datetime) -> None:
    text = moment.isoformat()
    assert parse_instant(text, NOW, UTC) == moment.replace(tzinfo=UTC).timestamp()


@given(st.text(max_size=20) | st.from_regex(r"[0-9:/.+-]{1,16}[a-zA-Z]{0,3}", fullmatch=True))
def test_any_text_is_a_future_instant_or_refused(text: str) -> None:
    with contextlib.suppress(InstantError):
        instant = parse_instant(text, NOW, BERLIN)
        assert instant > NOW
        assert format_instant(instant, BERLIN)
