"""The time zone of this process, with its clock changes: a plain UTC offset knows none."""

from __future__ import annotations

import io
import os
import re
import struct
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from ef_slurm.formats.times import InstantError

_LOCALTIME = Path("/etc/localtime")
_RULE = re.compile(r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+\-]+>)[+-]?\d[\x20-\x7e]*", re.A)


def local_zone(environment: dict[str, str] | None = None, localtime: Path = _LOCALTIME) -> tzinfo:
    """The zone that the C library would use: `TZ`, else /etc/localtime, else UTC (tzset(3)).

    Args:
        environment: this process's own when None.

    Raises:
        InstantError: `TZ` names no zone of the tz database and is no rule (`CET-1CEST,M3.5.0,…`).
            The C library would silently take UTC, and a deadline would be hours off.
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
            ruled = _from_rule(name)
            if ruled is not None:
                return ruled
            why = (
                "names no zone of the tz database: set one such as Europe/Berlin"
                if available_timezones()
                else "cannot be looked up: this host has no tz database (package tzdata)"
            )
            raise InstantError(f"TZ={name} {why}, or unset TZ, or set TZ=UTC") from None
    try:
        return _from_file(localtime)
    except (OSError, ValueError):
        return UTC


def _from_file(path: Path) -> ZoneInfo:
    with path.open("rb") as file:
        return ZoneInfo.from_file(file)


def _from_rule(rule: str) -> ZoneInfo | None:
    """The zone of a rule as tzset(3) has it; None where it is none.

    It is what the last line of a zone's file is (RFC 8536, 3.3), so a file is made that has nothing
    else: version 2, no transitions, one type.
    """
    if not _RULE.fullmatch(rule):
        return None
    header = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    body = struct.pack(">lBB", 0, 0, 0) + b"UTC\0"
    file = io.BytesIO((header + body) * 2 + b"\n" + rule.encode("ascii") + b"\n")
    try:
        return ZoneInfo.from_file(file)
    except (ValueError, OSError):
        return None
