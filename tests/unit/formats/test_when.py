"""What people write for a moment. The present is Wednesday 2026-07-15 10:30:00 in Berlin."""

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.times import InstantError, format_instant, format_iso
from ef_slurm.formats.when import DayMeans, parse_begin, read_when
from ef_slurm.formats.when_forms import FORMS, RULES, help_lines, markdown_table
from ef_slurm.formats.when_hints import given as given_by
from ef_slurm.formats.when_hints import hint

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 7, 15, 10, 30, tzinfo=BERLIN).timestamp()


def is_valid(text: str, now: float = NOW, zone: ZoneInfo = BERLIN) -> bool:
    with contextlib.suppress(InstantError):
        return bool(read_when(text, now, zone))
    return False


def local(text: str, now: float = NOW) -> str:
    instant = read_when(text, now, BERLIN).instant
    return datetime.fromtimestamp(instant, BERLIN).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("16:00", "2026-07-15 16:00:00"),
        ("9:15", "2026-07-16 09:15:00"),
        ("10:30", "2026-07-16 10:30:00"),
        ("10:30:01", "2026-07-15 10:30:01"),
        ("6pm", "2026-07-15 18:00:00"),
        ("6 P.M.", "2026-07-15 18:00:00"),
        ("4:00 PM", "2026-07-15 16:00:00"),
        ("12:00am", "2026-07-16 00:00:00"),
        ("12am", "2026-07-16 00:00:00"),
        ("12pm", "2026-07-15 12:00:00"),
        ("12:30pm", "2026-07-15 12:30:00"),
        ("24:00", "2026-07-16 00:00:00"),
        ("midnight", "2026-07-16 00:00:00"),
        ("noon", "2026-07-15 12:00:00"),
        ("elevenses", "2026-07-15 11:00:00"),
        ("FIKA", "2026-07-15 15:00:00"),
        ("teatime", "2026-07-15 16:00:00"),
        ("today 23:00", "2026-07-15 23:00:00"),
        ("23:00 today", "2026-07-15 23:00:00"),
        ("todayT23:00", "2026-07-15 23:00:00"),
        ("tomorrow teatime", "2026-07-16 16:00:00"),
        ("tomorrowTteatime", "2026-07-16 16:00:00"),
        ("noon tomorrow", "2026-07-16 12:00:00"),
        ("tomorrow 9am", "2026-07-16 09:00:00"),
        ("6:00 pm tomorrow", "2026-07-16 18:00:00"),
        ("friday 18:00", "2026-07-17 18:00:00"),
        ("18:00 on Friday", "2026-07-17 18:00:00"),
        ("fri, 6pm", "2026-07-17 18:00:00"),
        ("wednesday 18:00", "2026-07-15 18:00:00"),
        ("wednesday 9:00", "2026-07-22 09:00:00"),
        ("this sunday at noon", "2026-07-19 12:00:00"),
        ("08/01-12:00", "2026-08-01 12:00:00"),
        ("0715-11:00", "2026-07-15 11:00:00"),
        ("0715-10:00", "2027-07-15 10:00:00"),
        ("24 Dec 18:00", "2026-12-24 18:00:00"),
        ("Dec 24th, 2027 at 6pm", "2027-12-24 18:00:00"),
        ("Thu Nov 26 22:41:57 UTC 2026", "2026-11-26 23:41:57"),
        ("Thu, 26 Nov 2026 22:41:57 +0000", "2026-11-26 23:41:57"),
        ("2026-08-01T12:30", "2026-08-01 12:30:00"),
        ("2026-08-01 12:30:15", "2026-08-01 12:30:15"),
        ("2026-08-01-12:30", "2026-08-01 12:30:00"),
        ("2026-08-01T24:00", "2026-08-02 00:00:00"),
        ("2026-08-01T12:30:15Z", "2026-08-01 14:30:15"),
        ("2026-08-01T12:30+05:30", "2026-08-01 09:00:00"),
        ("2026-08-01 12:30:00-0400", "2026-08-01 18:30:00"),
        ("18:00 UTC", "2026-07-15 20:00:00"),
        ("18:00Z", "2026-07-15 20:00:00"),
        ("18:00 UTC+1", "2026-07-15 19:00:00"),
        ("18:00 CEST", "2026-07-15 18:00:00"),
        ("2026-12-24 18:00 cet", "2026-12-24 18:00:00"),
        ("18:00 America/New_York", "2026-07-16 00:00:00"),
        ("18:00 america/new_york", "2026-07-16 00:00:00"),
        ("friday 18:00 Asia/Tokyo", "2026-07-17 11:00:00"),
        ("3h", "2026-07-15 13:30:00"),
        ("in 3 hours", "2026-07-15 13:30:00"),
        ("3 hours from now", "2026-07-15 13:30:00"),
        ("in an hour", "2026-07-15 11:30:00"),
        ("1h30m", "2026-07-15 12:00:00"),
        ("12 hrs", "2026-07-15 22:30:00"),
        ("2 days 3 hours", "2026-07-17 13:30:00"),
        ("now+60", "2026-07-15 10:31:00"),
        ("now+2hours", "2026-07-15 12:30:00"),
        ("now+3hours", "2026-07-15 13:30:00"),
        ("now + 1 day", "2026-07-16 10:30:00"),
        ("now+1week", "2026-07-22 10:30:00"),
        ("now+90minutes", "2026-07-15 12:00:00"),
        ("+6h", "2026-07-15 16:30:00"),
        ("+2 days 3 hours", "2026-07-17 13:30:00"),
        ("+1.5h", "2026-07-15 12:00:00"),
        ("+1-12:00:00", "2026-07-16 22:30:00"),
        ("+12:00:00", "2026-07-15 22:30:00"),
        ("@1800000000", "2027-01-15 09:00:00"),
        ("uts1800000000", "2027-01-15 09:00:00"),
    ],
)
def test_what_people_write(text: str, meaning: str) -> None:
    assert local(text) == meaning


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("today", "2026-07-15"),
        ("tomorrow", "2026-07-16"),
        ("wed", "2026-07-15"),
        ("friday", "2026-07-17"),
        ("tuesday", "2026-07-21"),
        ("0801", "2026-08-01"),
        ("0715", "2026-07-15"),
        ("0714", "2027-07-14"),
        ("030128", "2028-03-01"),
        ("8/1", "2026-08-01"),
        ("08/01/27", "2027-08-01"),
        ("08.01.27", "2027-08-01"),
        ("02/29", "2028-02-29"),
        ("2026-08-01", "2026-08-01"),
        ("2026-8-1", "2026-08-01"),
        ("1 August", "2026-08-01"),
        ("1st of Aug, 2027", "2027-08-01"),
        ("saturday 2026-08-01", "2026-08-01"),
        ("tomorrow 24:00", None),
        ("tomorrow midnight", None),
    ],
)
def test_a_day_alone_is_its_end_for_a_deadline_and_its_start_for_a_beginning(
    text: str, day: str | None
) -> None:
    if day is None:
        assert local(text) == "2026-07-17 00:00:00"
        begin = read_when(text, NOW, BERLIN, day=DayMeans.START).instant
        assert format_iso(begin, BERLIN) == "2026-07-16T00:00:00+02:00"
        return
    assert local(text) == f"{day} 23:59:59"
    begin = read_when(text, NOW, BERLIN, day=DayMeans.START, past=True).instant
    shown = datetime.fromtimestamp(begin, BERLIN)
    assert f"{shown:%H:%M:%S}" == "00:00:00"
    if begin > NOW:
        next_year = day.replace("2026-07-15", "2027-07-15")  # 0715 without a year
        assert f"{shown:%Y-%m-%d}" in (day, next_year, "2026-07-22")


def test_a_beginning_that_is_over_is_at_once() -> None:
    assert parse_begin("today", NOW, BERLIN) is None
    assert parse_begin("now", NOW, BERLIN) is None
    assert parse_begin("tomorrow", NOW, BERLIN) == NOW + 13.5 * 3600
    with pytest.raises(InstantError, match="give 18:30"):
        parse_begin("1830", NOW, BERLIN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("18h", "18 hours from now; for the time of day give 18:00"),
        ("1830h", "1830 hours from now; for the time of day give 18:30"),
        ("0930", "30 September, as in sbatch; for the time of day give 09:30"),
        ("01.02.27", "2 January, as in sbatch"),
        ("9.30", "30 September, as in sbatch; for the time of day give 09:30"),
    ],
)
def test_what_may_have_been_meant_otherwise_is_told(text: str, words: str) -> None:
    (note,) = read_when(text, NOW, BERLIN).notes
    assert words in note


@pytest.mark.parametrize("text", ["3h", "12h", "8/1", "122426", "0930 12:00", "2026-08-01", "6pm"])
def test_what_is_clear_needs_no_note(text: str) -> None:
    notes = read_when(text, NOW, BERLIN).notes
    assert not any("time of day" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "give"),
    [
        ("1830", ["18:30"]),
        ("930", ["09:30"]),
        ("183000", ["18:30:00"]),
        ("0230", ["02:30"]),
        ("18.30", ["18:30"]),
        ("tomorrow 18.30", ["tomorrow 18:30"]),
        ("18h30", ["18:30", "18h30m"]),
        ("18 Uhr", ["18:00"]),
        ("18:00 Uhr", ["18:00"]),
        ("6 o'clock", ["06:00"]),
        ("18", ["18:00", "18h", "18min"]),
        ("90", ["90h", "90min"]),
        ("1800000000", ["@1800000000"]),
        ("1800000000000", ["@1800000000"]),
        ("24.12.2026", ["2026-12-24"]),
        ("24.12.2026 18:00", ["2026-12-24 18:00"]),
        ("24/12/2026", ["2026-12-24"]),
        ("12/24/2026", ["2026-12-24"]),
        ("24-12-2026", ["2026-12-24"]),
        ("01.02.2027", ["2027-02-01", "2027-01-02"]),
        ("24.12.26", ["2026-12-24"]),
        ("24.12.", ["2026-12-24"]),
        ("24/12", ["2026-12-24"]),
        ("2026/12/24", ["2026-12-24"]),
        ("2026.12.24", ["2026-12-24"]),
        ("20261224", ["2026-12-24"]),
        ("20261224T1800", ["2026-12-24T18:00"]),
        ("2027", ["2027-12-31", "20:27"]),
        ("next week", ["2026-07-20", "2026-07-26", "7d"]),
        ("next friday", ["2026-07-17", "2026-07-24"]),
        ("next wed", ["2026-07-22", "2026-07-29"]),
        ("end of the month", ["2026-07-31", "2026-08-01", "30d"]),
        ("EOD", ["today", "18:00", "22:00"]),
        ("tomorrow morning", ["tomorrow 09:00"]),
        ("the day after tomorrow", ["2026-07-17"]),
        ("asap", ["3h", "18:00", "tomorrow"]),
        ("1-12:00:00", ["+1-12:00:00"]),
        ("2-12", ["2/12", "+2-12"]),
        ("12-24", ["12/24", "+12-24"]),
        ("12/24 2026", ["2026-12-24"]),
        ("24.12. 2026", ["2026-12-24"]),
        ("tonight 8pm", ["today 8pm"]),
        ("midnight tonight", ["midnight today"]),
        ("until friday 18:00", ["friday 18:00"]),
        ("end of friday", ["friday"]),
        ("friday night", ["friday 22:00"]),
        ("next monday 9am", ["2026-07-20 9am", "2026-07-27 9am"]),
        ("two days", ["2 days"]),
        ("1 day, 12 hours", ["1 day 12 hours"]),
        ("1 hour and 30 minutes", ["1 hour 30 minutes"]),
        ("tomorrow at 6", ["tomorrow at 06:00", "tomorrow at 18:00"]),
        ("tomorrow 1830", ["tomorrow 18:30"]),
        ("1830 tomorrow", ["18:30 tomorrow"]),
        ("2026-12-24T18", ["2026-12-24T18:00"]),
        ("2026-12-24T1830", ["2026-12-24T18:30"]),
        ("2026-12-24_18:00", ["2026-12-24 18:00"]),
        ("1224-1800", ["1224-18:00"]),
        ("24/dec/2026", ["24 dec 2026"]),
        ("6.30pm", ["6:30pm"]),
        ("6p", ["6pm"]),
        ("18,30", ["18:30"]),
        ("18 h 30", ["18:30", "18h30m"]),
        ("1:30h", ["01:30", "1h30m"]),
        ("8:5", ["8:05"]),
        ("COB", ["today", "18:00", "22:00"]),
        ("@1800000000.5", ["@1800000000"]),
        ("+2:30", ["2h30m", "2m30s"]),
        ("in 2:30", ["2h30m", "2m30s"]),
        ("1 month", ["30d"]),
        ("half an hour", ["30min"]),
        ("tommorow", ["tomorrow"]),
        ("fryday 18:00", ["friday 18:00"]),
        ("midnigth", ["midnight"]),
    ],
)
def test_near_misses_are_told_what_would_be_valid(text: str, give: list[str]) -> None:
    found = hint(text, NOW, BERLIN, is_valid)
    assert found is not None
    assert list(given_by(found)) == give
    for valid in give:
        assert read_when(valid, NOW, BERLIN).instant > NOW
    with pytest.raises(InstantError) as caught:
        read_when(text, NOW, BERLIN)
    assert repr(text) in str(caught.value)
    assert give[0] in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty.*give 18:00"),
        ("-", "give 18:00"),
        ("T", "give 18:00"),
        ("25:00", "hour"),
        ("12:60", "minute"),
        ("13:00pm", "no hour"),
        ("2026-13-01", "month"),
        ("2026-02-30", "day"),
        ("02/30", "day"),
        ("2026-08-01T12:30+25:00", "offset"),
        ("+6", "unit"),
        ("+", "unit"),
        ("now+", "unit"),
        ("now+3fortnights", "unit"),
        ("now*2", "give 18:00"),
        ("noon midnight", "two times"),
        ("today tomorrow", "two days"),
        ("friday tomorrow", "two days"),
        ("2026-08-01 2026-08-02", "two days"),
        ("friday 2026-08-01", "Saturday, no Friday"),
        ("12:00:00 extra", "zone"),
        ("friday extra", "neither a day nor a time of day"),
        ("tomorrow CET", "neither a day nor a time of day"),
        ("18:00 EST", "none of this zone's names .CET, CEST.: give UTC, an offset"),
        ("18:00 CET", "the clocks here show CEST then"),
        ("18:00 Mars/Phobos", "no zone of the tz database"),
        ("12:00-0801", "a day or a zone"),
        ("nowhere", "give 18:00"),
        ("+1h30", "30 of what"),
        ("+٣h", "no count"),
        ("١٢:00", "give 18:00"),
        ("9999-12-31", "after the year"),
        ("0001-01-01", "not in the future"),
        ("0001-01-01T00:00:00+23:59", "no point in time|not in the future"),
        ("+99999999999d", "after the year|no point in time"),
        ("now", "not in the future"),
        ("now-1hour", "not in the future"),
        ("today 9am", "not in the future"),
        ("2026-07-15T10:30", "not in the future"),
        ("2020-01-01", "not in the future"),
        ("2026-07-15T08:30:00Z", "not in the future"),
    ],
)
def test_what_cannot_be_a_deadline(text: str, why: str) -> None:
    with pytest.raises(InstantError, match=why):
        read_when(text, NOW, BERLIN)


def test_a_time_that_the_clocks_skip_is_the_moment_of_the_change() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=BERLIN).timestamp()
    for text in ("2026-03-29T02:30", "tomorrow 02:30", "02:30"):
        when = read_when(text, before, BERLIN)
        assert format_iso(when.instant, BERLIN) == "2026-03-29T03:00:00+02:00"
        assert "skip" in when.notes[0]
        assert "2026-03-29T03:00:00+02:00 is meant" in when.notes[0]
    # It passed at breakfast: tomorrow's is meant.
    after = datetime(2026, 3, 29, 9, tzinfo=BERLIN).timestamp()
    assert local("02:30", after) == "2026-03-30 02:30:00"


def test_of_a_time_that_the_clocks_show_twice_the_first_is_meant() -> None:
    before = datetime(2026, 10, 24, 12, tzinfo=BERLIN).timestamp()
    when = read_when("2026-10-25T02:30", before, BERLIN)
    assert format_iso(when.instant, BERLIN) == "2026-10-25T02:30:00+02:00"
    assert "twice" in when.notes[0]
    assert "2026-10-25T02:30:00+01:00" in when.notes[0]
    # Its zone says which, and once the first is over only the second is left.
    named = read_when("2026-10-25 02:30 CET", before, BERLIN)
    assert named.instant == when.instant + 3600
    assert named.notes == ()
    between = datetime(2026, 10, 25, 2, 45, tzinfo=BERLIN).timestamp()
    assert read_when("02:30", between, BERLIN).instant == when.instant + 3600


def test_days_end_and_begin_where_the_clocks_change_at_midnight() -> None:
    cairo, now = ZoneInfo("Africa/Cairo"), datetime(2026, 4, 1, tzinfo=UTC).timestamp()
    end = read_when("2026-04-23", now, cairo).instant
    assert format_iso(end, cairo) == "2026-04-23T23:59:59+02:00"
    start = read_when("2026-04-24", now, cairo, day=DayMeans.START).instant
    assert format_iso(start, cairo) == "2026-04-24T01:00:00+03:00"


def test_a_day_that_a_zone_leaves_out() -> None:
    apia, now = ZoneInfo("Pacific/Apia"), datetime(2011, 12, 20, tzinfo=UTC).timestamp()
    when = read_when("2011-12-30 12:00", now, apia)
    assert format_iso(when.instant, apia) == "2011-12-31T00:00:00+14:00"
    assert "skip" in when.notes[0]


def test_hours_from_now_count_through_a_clock_change() -> None:
    before = datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN).timestamp()
    assert local("+1h", before) == "2026-03-29 03:30:00"


@pytest.mark.parametrize("text", ["+" + "1" * 2000 + "!", "1" * 5000, "a" * 5000, "1:" * 3000])
def test_a_long_text_is_refused_at_once(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(InstantError):
        read_when(text, NOW, BERLIN)
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.written)
def test_every_form_of_the_table_is_valid(form: object) -> None:
    for text in form.examples:  # type: ignore[attr-defined]
        assert read_when(text, NOW, BERLIN).instant > NOW


def test_help_and_documentation_have_the_one_table() -> None:
    documented = Path("docs/times.md").read_text(encoding="utf-8")
    assert "\n".join(markdown_table()) in documented
    for rule in RULES:
        assert rule in " ".join(documented.split())
    shown = list(help_lines())
    assert max(map(len, shown)) <= 100
    for form in FORMS:
        assert any(form.written in line and form.meaning in line for line in shown)


ZONES = st.sampled_from(
    [
        *("Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu", "UTC"),
        *("Australia/Lord_Howe", "Africa/Cairo", "Europe/Dublin", "Pacific/Apia", "Asia/Kolkata"),
        *("America/St_Johns", "Africa/Casablanca", "Pacific/Chatham"),
    ]
).map(ZoneInfo)
LATER = st.integers(int(NOW) + 1, int(datetime(2090, 1, 1, tzinfo=UTC).timestamp()))
# Nights of clock changes, which a random moment rarely meets.
CHANGES = st.sampled_from(
    ["2026-10-25T00:00", "2026-11-01T04:00", "2027-03-28T00:00", "2027-04-03T14:00"]
).flatmap(
    lambda text: st.integers(0, 18000).map(
        lambda seconds: int(datetime.fromisoformat(text + "+00:00").timestamp()) + seconds
    )
)


@given(LATER | CHANGES, ZONES)
def test_what_is_printed_is_read_back(instant: int, zone: ZoneInfo) -> None:
    assert read_when(format_iso(instant, zone), NOW, zone).instant == instant
    assert read_when(format_instant(instant, zone), NOW, zone).instant == instant
    assert read_when(f"@{instant}", NOW, zone).instant == instant


@given(LATER | CHANGES, ZONES)
def test_a_time_without_its_zone_is_the_first_moment_at_which_the_clocks_show_it(
    instant: int, zone: ZoneInfo
) -> None:
    wall = datetime.fromtimestamp(instant, zone)
    read = read_when(wall.strftime("%Y-%m-%dT%H:%M:%S"), NOW, zone)
    assert datetime.fromtimestamp(read.instant, zone).replace(tzinfo=None, fold=0) == wall.replace(
        tzinfo=None, fold=0
    )
    assert read.instant <= instant
    assert bool(read.notes) == (wall.utcoffset() != wall.replace(fold=1 - wall.fold).utcoffset())


TEXTS = (
    st.text(max_size=20)
    | st.from_regex(r"[0-9:/.+-]{1,16}[a-zA-Z]{0,3}", fullmatch=True)
    | st.lists(
        st.sampled_from(
            [
                *("today", "tomorrow", "friday", "fri", "noon", "6pm", "18:00", "12/24", "2027"),
                *("2026-12-24", "24 Dec", "Dec 24", "UTC", "CET", "+01:00", "-0801", "T", "Z"),
                *("now", "+", "3h", "in", "next", "week", "24.12.", "1830", "at", "@", "1e9"),
            ]
        ),
        max_size=4,
    ).flatmap(lambda parts: st.sampled_from(["", " ", "-"]).map(lambda gap: gap.join(parts)))
)


@given(TEXTS, ZONES)
def test_any_text_is_a_future_instant_or_refused_with_what_is_valid(
    text: str, zone: ZoneInfo
) -> None:
    with contextlib.suppress(InstantError):
        instant = read_when(text, NOW, zone).instant
        assert instant > NOW
        assert format_instant(instant, zone)
    found = hint(text, NOW, zone, lambda other: is_valid(other, NOW, zone))
    for valid in () if found is None else given_by(found):
        assert read_when(valid, NOW, zone).instant > NOW
