"""Times that are shown never contradict the verdict."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.durations import format_duration
from ef_slurm.formats.finishes import (
    finish_for_table,
    format_finish,
    shown_finish,
    shown_slack,
)
from ef_slurm.formats.times import format_for_table, format_instant
from ef_slurm.model import is_in_time, slack_seconds

NOON = 1_700_049_600.0  # 2023-11-15 12:00 UTC
ZONES = st.sampled_from([UTC, ZoneInfo("Asia/Kathmandu")])
deadlines = st.floats(NOON - 200_000, NOON + 200_000)
# Near the deadline, where roundings matter, and far from it.
gaps = st.floats(-2.0, 2.0) | st.floats(-200_000.0, 200_000.0)


def read(text: str, now: float, zone: tzinfo) -> datetime:
    """What a person understands a cell of the table to mean."""
    today = datetime.fromtimestamp(now, zone)
    if match := re.fullmatch(r"(\d\d)-(\d\d)T(\d\d):(\d\d)", text):
        month, day, hour, minute = map(int, match.groups())
        return datetime(today.year, month, day, hour, minute)
    hour, minute, second = map(int, text.split(":"))
    return datetime(today.year, today.month, today.day, hour, minute, second)


@given(deadlines, gaps, st.floats(-90_000.0, 90_000.0), ZONES)
def test_in_a_table(deadline: float, gap: float, away: float, zone: tzinfo) -> None:
    finish, now = deadline + gap, deadline + away
    shown = read(finish_for_table(finish, deadline, now, zone), now, zone)
    due = read(format_for_table(deadline, now, zone), now, zone)
    assert (shown <= due) is is_in_time(finish, deadline)
    assert abs(shown - datetime.fromtimestamp(finish, zone).replace(tzinfo=None)) <= timedelta(
        minutes=1
    )


@given(deadlines, gaps)
def test_in_a_sentence(deadline: float, gap: float) -> None:
    finish = deadline + gap
    in_time = is_in_time(finish, deadline)
    assert (format_finish(finish, deadline, UTC) <= format_instant(deadline, UTC)) is in_time


@given(deadlines, gaps)
def test_the_slack(deadline: float, gap: float) -> None:
    finish = deadline + gap
    text = format_duration(shown_slack(slack_seconds(finish, deadline)))
    assert text.startswith("-") is not is_in_time(finish, deadline)


def test_the_finish_that_looked_late_and_was_kept() -> None:
    """A demo once showed 12:00:01 beside a deadline of 12:00:00, and slack 0:00."""
    deadline, finish = NOON + 0.9, NOON + 0.6
    assert finish_for_table(finish, deadline, NOON, UTC) == "12:00:00"
    assert format_for_table(deadline, NOON, UTC) == "12:00:00"
    late = finish_for_table(NOON + 1.2, deadline, NOON, UTC)
    assert late == "12:00:02"
    assert format_duration(shown_slack(slack_seconds(NOON + 1.2, deadline))) == "-0:01"


@pytest.mark.parametrize("deadline", [None, 5.0])
def test_without_end(deadline: float | None) -> None:
    assert shown_finish(math.inf, deadline) == math.inf
    assert shown_slack(-math.inf) == -math.inf
