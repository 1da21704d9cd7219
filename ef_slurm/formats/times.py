"""Points in time: the only place that prints them, and reads Slurm's. UTC epoch seconds inside.

What people write has `formats.when`. Pure: `now` and the zone come from the caller.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_EPOCH = re.compile(r"\d{1,12}", re.A)
_SLURM_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}", re.A)
_ZONED = re.compile(r"\d{4}-\d{2}-\d{2}[T ].*(?:Z|[+-]\d{2}:?\d{2})", re.I | re.A)
_UNKNOWN = frozenset({"", "unknown", "none", "n/a", "(null)"})

_LAST_YEAR = 2999
_LATEST = datetime(_LAST_YEAR, 12, 31, tzinfo=UTC).timestamp()
_FIRST_YEAR = 1000
_EARLIEST = datetime(_FIRST_YEAR, 1, 2, tzinfo=UTC).timestamp()


class InstantError(ValueError):
    """Not a point in time that can be used. The message says why and what could be."""


def parse_epoch(text: str) -> float | None:
    """UTC epoch seconds in digits, at most 12 of them; None where it is none.

    >>> parse_epoch("1784000000"), parse_epoch("2026-09-01")
    (1784000000.0, None)
    """
    stripped = text.strip()
    return float(stripped) if _EPOCH.fullmatch(stripped) else None


def parse_zoned(text: str) -> float | None:
    """UTC epoch seconds of an ISO 8601 time with its zone; None where it is none.

    >>> parse_zoned("1970-01-01T01:00:00+01:00"), parse_zoned("1970-01-01T01:00:00")
    (0.0, None)
    """
    if not _ZONED.fullmatch(text.strip()):
        return None
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        return None


def parse_slurm_time(text: str, zone: tzinfo) -> float | None:
    """UTC epoch seconds of a time as Slurm's commands print it; None for Unknown, None and N/A.

    Args:
        text: `2026-09-01T14:30:00`, or epoch seconds where SLURM_TIME_FORMAT is %s.
        zone: what Slurm's local times are local to. Of a time that its clocks show twice, the
            earlier is meant.

    Raises:
        InstantError: none of these.

    >>> parse_slurm_time("1970-01-02T00:00:00", UTC), parse_slurm_time("N/A", UTC)
    (86400.0, None)
    """
    stripped = text.strip()
    if stripped.lower() in _UNKNOWN:
        return None
    epoch = parse_epoch(stripped)
    if epoch is not None:
        return epoch
    try:
        if _SLURM_TIME.fullmatch(stripped):
            return datetime.fromisoformat(stripped).replace(tzinfo=zone).timestamp()
    except (ValueError, OverflowError):
        pass
    raise InstantError(
        f"{text!r} is not a time: 2026-09-01T14:30:00 or epoch seconds are "
        "(unset SLURM_TIME_FORMAT, or set it to %s)"
    )


def format_instant(instant: float, zone: tzinfo) -> str:
    """Local time with its zone, to the second: "2026-01-31 12:00:00 CET".

    >>> format_instant(0.0, UTC)
    '1970-01-01 00:00:00 UTC'
    """
    return _shown(instant, "%Y-%m-%d %H:%M:%S %Z", zone)


def format_host_instant(instant: float) -> str:
    """The same in the time zone of this process."""
    return _shown(instant, "%Y-%m-%d %H:%M:%S %Z", None)


def format_iso(instant: float, zone: tzinfo) -> str:
    """As an option to paste.

    >>> format_iso(0.0, UTC)
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(max(min(instant, _LATEST), _EARLIEST), zone).isoformat(
        timespec="seconds"
    )


def format_host_iso(instant: float) -> str:
    """The same in the time zone of this process."""
    return (
        datetime.fromtimestamp(max(min(instant, _LATEST), _EARLIEST))
        .astimezone()
        .isoformat(timespec="seconds")
    )


def to_datetime(instant: float, zone: tzinfo) -> datetime:
    """For programs, with its offset from UTC: a zone that is read from a file cannot be pickled.

    >>> to_datetime(0.0, UTC)
    datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    moment = datetime.fromtimestamp(instant, zone)
    return moment.replace(tzinfo=timezone(moment.utcoffset() or timedelta()))


def format_stamp(instant: float, zone: tzinfo) -> str:
    """For the name of a file.

    >>> format_stamp(0.0, UTC)
    '19700101-000000'
    """
    return _shown(instant, "%Y%m%d-%H%M%S", zone)


def format_for_table(instant: float, now: float, zone: tzinfo) -> str:
    """The shortest that is clear: the time of day today, month and day with it otherwise.

    Rounded down, to the second or to the minute (`formats.finishes` has the rule for finishes).

    >>> format_for_table(3600.0, 0.0, UTC), format_for_table(90000.0, 0.0, UTC)
    ('01:00:00', '01-02T01:00')
    """
    form = "%H:%M:%S" if is_same_day(instant, now, zone) else "%m-%dT%H:%M"
    return _shown(instant, form, zone)


def is_same_day(instant: float, now: float, zone: tzinfo) -> bool:
    """Whether two moments are on one day of the calendar of `zone`."""
    return _shown(instant, "%Y-%m-%d", zone) == _shown(now, "%Y-%m-%d", zone)


def format_date(instant: float, zone: tzinfo) -> str:
    """A day within a sentence.

    >>> format_date(0.0, UTC)
    '1970-01-01'
    """
    return _shown(instant, "%Y-%m-%d", zone)


def format_day(instant: float, zone: tzinfo) -> str:
    """A heading for times of that day.

    >>> format_day(0.0, UTC)
    'Thursday 1970-01-01 (UTC)'
    """
    return _shown(instant, "%A %Y-%m-%d (%Z)", zone)


def format_minute(instant: float, zone: tzinfo) -> str:
    """In a table of days gone by, rounded down to the minute.

    >>> format_minute(90000.5, UTC)
    '1970-01-02T01:00'
    """
    return _shown(instant, "%Y-%m-%dT%H:%M", zone)


def format_month(instant: float, zone: tzinfo) -> str:
    """A month.

    >>> format_month(0.0, UTC)
    '1970-01'
    """
    return _shown(instant, "%Y-%m", zone)


def format_time_of_day(instant: float, zone: tzinfo) -> str:
    """Under such a heading.

    >>> format_time_of_day(3600.0, UTC)
    '01:00:00'
    """
    return _shown(instant, "%H:%M:%S", zone)


def _shown(instant: float, form: str, zone: tzinfo | None) -> str:
    """In words where there is no calendar: the slowest of predictions ends no command."""
    if not instant <= _LATEST:
        return f"after the year {_LAST_YEAR}"
    if instant < _EARLIEST:
        return f"before the year {_FIRST_YEAR}"
    moment = datetime.fromtimestamp(instant, zone)
    return (moment.astimezone() if zone is None else moment).strftime(form)
