"""The time zone of this process, with its clock changes: a plain UTC offset knows none."""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ef_slurm.formats.times import InstantError

_LOCALTIME = Path("/etc/localtime")


def local_zone(environment: dict[str, str] | None = None, localtime: Path = _LOCALTIME) -> tzinfo:
    """The zone that the C library would use: `TZ`, else /etc/localtime, else UTC (tzset(3)).

    Args:
        environment: this process's own when None.

    Raises:
        InstantError: `TZ` names no zone of the tz database.
    """
    name = (os.environ if environment is None else environment).get("TZ")
    if name is not None:
        name = name.removeprefix(":")
        if name in ("", "UTC", "UTC0"):
            return UTC
        try:
            if name.startswith("/"):
                return _from_file(Path(name))
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, OSError, ValueError):
            raise InstantError(
                f"TZ={name} names no zone of the tz database: set one such as Europe/Berlin, "
                "or give times in ISO 8601 with a zone"
            ) from None
    try:
        return _from_file(localtime)
    except (OSError, ValueError):
        return UTC


def _from_file(path: Path) -> ZoneInfo:
    with path.open("rb") as file:
        return ZoneInfo.from_file(file)
