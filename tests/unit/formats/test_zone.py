"""The process's zone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

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
