"""The process's zone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

import pytest

from ef_slurm.formats.times import InstantError
from ef_slurm.formats.zone import local_zone


def test_tz_names_it() -> None:
    zone = local_zone({"TZ": ":Europe/Berlin"})
    assert zone.utcoffset(datetime(2026, 7, 1)) == timedelta(hours=2)
    assert zone.utcoffset(datetime(2026, 1, 1)) == timedelta(hours=1)
    assert local_zone({"TZ": ""}) is UTC


def test_without_any_it_is_utc(tmp_path: Path) -> None:
    assert local_zone({}, tmp_path / "none") is UTC
    (tmp_path / "broken").write_text("no zone")
    assert local_zone({}, tmp_path / "broken") is UTC


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(InstantError, match="TZ=Mars/Phobos"):
        local_zone({"TZ": "Mars/Phobos"})


def test_a_rule_instead_of_a_name() -> None:
    zone = local_zone({"TZ": "CET-1CEST,M3.5.0,M10.5.0/3"})
    assert datetime(2026, 7, 1, tzinfo=zone).isoformat() == "2026-07-01T00:00:00+02:00"
    assert datetime(2026, 1, 1, tzinfo=zone).tzname() == "CET"
    assert local_zone({"TZ": "<+03>-3"}).utcoffset(datetime(2026, 1, 1)) == timedelta(hours=3)


@pytest.mark.parametrize("text", ["CET-1CEST,soon", "../../etc/passwd", "/etc/passwd", "JST-9\n"])
def test_what_is_neither_is_told_what_to_set(text: str) -> None:
    with pytest.raises(InstantError, match="set one such as Europe/Berlin, or unset TZ"):
        local_zone({"TZ": text})


def test_a_host_without_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(key: str) -> None:
        raise ZoneInfoNotFoundError(key)

    monkeypatch.setattr("ef_slurm.formats.zone.ZoneInfo", missing)
    monkeypatch.setattr("ef_slurm.formats.zone.available_timezones", set)
    with pytest.raises(InstantError, match="this host has no tz database .package tzdata."):
        local_zone({"TZ": "Europe/Berlin"})
