"""TOML → the dataclasses of `tables`, with errors that name file, key, value and what is valid."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from ef_slurm.formats.codec import DecodeError, from_plain, to_plain
from ef_slurm.model import LONGEST_OVERHEAD, OVERHEAD_FIELDS, Overhead
from ef_slurm.siteconfig.errors import SiteConfigError
from ef_slurm.siteconfig.tables import NotifyBy, Serves, SiteConfig, Tables
from ef_slurm.siteconfig.web import check_web

_AT_LEAST: Mapping[str, float] = {
    "slurm.timeout": 1.0,
    "slurm.query_interval": 0.1,
    "queue.keep_plans": 1,
    "queue.keep_ended_days": 0.0,
    "queue.keep_never_run_days": 0.0,
    "daemon.port": 1,
    "web.port": 1,
    "api.connections": 1,
    "api.connections_per_user": 4,
    "api.request_seconds": 0.1,
    "api.requests_per_second": 0.1,
    "api.what_ifs_per_minute": 0.1,
    "metrics.port": 0,
    "jobs.verdict_wait": 0.0,
    "jobs.keep_state_days": 0.0,
    "jobs.cpus_per_gpu": 1,
    "jobs.memory_per_gpu": 1,
    "profiles.keep_days": 0.0,
    "timers.tick": 0.1,
    "timers.idle_tick": 0.1,
    "timers.acknowledge": 1.0,
    "timers.stop": 1.0,
    "timers.start": 1.0,
    "timers.prepare": 0.0,
    "timers.gather": 0.0,
    "timers.resize": 0.0,
    "timers.ready": 0.0,
    "timers.first_iteration": 0.0,
    "timers.stalled": 0.0,
    "timers.evaluation": 0.0,
    "notify.timeout": 1.0,
    "limits.jobs": 0,
    "limits.jobs_per_user": 0,
    "limits.jobs_per_account": 0,
    "limits.submissions_per_hour": 0,
    "limits.gpus_per_job": 0,
    "limits.gpus_per_user": 0,
    "limits.gpus_per_account": 0,
    "limits.gpu_hours_per_user": 0.0,
    "limits.gpu_hours_per_account": 0.0,
}
# What is waited for in seconds ends within a year: Python's clocks overflow at some 292 of them.
_YEAR = 366 * 86400.0
_AT_MOST: Mapping[str, float] = {
    "slurm.timeout": _YEAR,
    "slurm.query_interval": _YEAR,
    "queue.keep_ended_days": 36600,
    "queue.keep_never_run_days": 36600,
    "daemon.port": 65535,
    "web.port": 65535,
    "api.connections": 100_000,
    "api.connections_per_user": 100_000,
    "api.request_seconds": 3600.0,
    "api.requests_per_second": 1e6,
    "api.what_ifs_per_minute": 1e6,
    "metrics.port": 65535,
    "jobs.verdict_wait": _YEAR,
    "jobs.keep_state_days": 36600,
    "timers.tick": _YEAR,
    "timers.idle_tick": _YEAR,
    "timers.acknowledge": _YEAR,
    "timers.stop": _YEAR,
    "timers.start": _YEAR,
    "notify.timeout": 600.0,
}
_NOT_EMPTY = frozenset({"slurm.partition", "nodes.gpu_type", "daemon.user"})


def read(path: Path) -> SiteConfig:
    """The configuration in one file.

    Raises:
        SiteConfigError: it cannot be read, is no TOML, or holds a wrong key or value.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SiteConfigError(path, "", f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SiteConfigError(path, "", f"is no TOML: {error}") from error
    return parse(text, path)


def parse(text: str, path: Path) -> SiteConfig:
    """The configuration in a text that is, or is to be, in a file.

    Raises:
        SiteConfigError: it is no TOML, or holds a wrong key or value.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # Python reads no number of 4,301 digits either
        raise SiteConfigError(path, "", f"is no TOML: {error}") from error
    try:
        given = _with_site_overheads(_without_unset(Tables, document))
        tables = from_plain(Tables, given, refuse_unknown=True)
        tables = _checked("", tables)
    except DecodeError as error:
        raise SiteConfigError(path, error.place, error.problem) from error
    _check_together(path, tables)
    check_web(path, tables.web)
    _check_service(path, tables, document)
    read = {each.name: getattr(tables, each.name) for each in fields(tables)}
    return SiteConfig(**read, path=path)


def _without_unset(hint: Any, value: Any) -> Any:
    """The document without the options that are given as "": TOML has no null."""
    if get_origin(hint) is tuple and isinstance(value, list):
        return [_without_unset(get_args(hint)[0], item) for item in value]
    if not is_dataclass(hint) or not isinstance(value, dict):
        return value
    hints = get_type_hints(hint)
    return {
        key: _without_unset(hints.get(key), item)
        for key, item in value.items()
        if item != "" or NoneType not in get_args(hints.get(key))
    }


def _with_site_overheads(document: Any) -> Any:
    """The document, in which [overhead] states every cost: what is left out is as by default.

    Raises:
        DecodeError: a cost is outside its bounds.
    """
    table = document.get("overhead")
    if not isinstance(table, dict):
        return document
    for key in (*OVERHEAD_FIELDS, *Overhead.FORMER_FIELDS):
        value = table.get(key)
        if isinstance(value, int | float):
            _check_within(f"overhead.{key}", value, 0.0, LONGEST_OVERHEAD)
    former = Overhead.FORMER_FIELDS.items()
    named = {name for key, names in former if key in table for name in names}
    usual = {name: cost for name, cost in to_plain(Tables().overhead).items() if name not in named}
    return {**document, "overhead": {**usual, **table}}


def _checked(place: str, table: Any) -> Any:
    """A table with absolute paths, and every value within its bounds.

    Raises:
        DecodeError: one is not.
    """
    paths: dict[str, Any] = {}
    for field in fields(table):
        key, value = f"{place}.{field.name}" if place else field.name, getattr(table, field.name)
        if is_dataclass(value):
            paths[field.name] = _checked(key, value)
        elif isinstance(value, Path):
            paths[field.name] = _absolute(key, value)
        elif isinstance(value, tuple):
            paths[field.name] = tuple(
                _absolute(f"{key}[{number}]", item) if isinstance(item, Path) else item
                for number, item in enumerate(value)
            )
            if "" in value:
                raise DecodeError(f"{key}[{value.index('')}]", "expected a text that is not empty")
        elif key in _NOT_EMPTY and not value:
            raise DecodeError(key, "expected a text that is not empty")
        elif isinstance(value, str) and not value.isprintable():  # no command takes all of these
            raise DecodeError(key, f"expected a text without control characters, got {value!r}")
        elif key in _AT_LEAST and isinstance(value, int | float):
            _check_bounds(key, value)
    return replace(table, **paths)


def _check_bounds(key: str, value: float) -> None:
    _check_within(key, value, _AT_LEAST[key], _AT_MOST.get(key, math.inf))


def _check_within(key: str, value: float, low: float, high: float) -> None:
    if not (low <= value <= high and math.isfinite(value)):
        most = f", {high:.0f} at most" if high < math.inf else ""
        raise DecodeError(key, f"{value:g} is not valid: give {low:g} or more{most}")


def _absolute(key: str, given: Path) -> Path:
    if not str(given).isprintable():
        raise DecodeError(key, f"expected a path without control characters, got {str(given)!r}")
    try:
        path = Path(os.path.expandvars(given)).expanduser()
    except RuntimeError as error:
        raise DecodeError(key, f"{str(given)!r}: {error}") from error
    if not path.is_absolute():
        wanted = 'expected an absolute path, or one that begins with "~"'
        raise DecodeError(key, f"{wanted}, got {str(given)!r}")
    return path


def _check_together(path: Path, config: Tables) -> None:
    notify = config.notify
    if notify.by is NotifyBy.COMMAND and not notify.command:
        example = 'command = ["/usr/local/sbin/ef-notify"]'
        raise SiteConfigError(path, "notify.command", f'with by = "command" write {example}')
    if notify.command and not notify.command[0].startswith("/"):
        told = f"expected an absolute path first, got {notify.command[0]!r}"
        raise SiteConfigError(path, "notify.command", told)
    if notify.by is NotifyBy.WEBHOOK and notify.webhook is None:
        example = 'webhook = "/etc/ef-slurm/webhook"'
        raise SiteConfigError(path, "notify.webhook", f'with by = "webhook" write {example}')
    slower = (
        ("timers.idle_tick", config.timers.idle_tick, "timers.tick", config.timers.tick),
        ("timers.tick", config.timers.tick, "slurm.query_interval", config.slurm.query_interval),
    )
    for key, value, other, least in slower:
        if value < least:
            raise SiteConfigError(
                path, key, f"{value:g} is shorter than {other} ({least:g}): give that or more"
            )


_HOME = re.compile(r"~(?:/|$)|\$\{?HOME\b")
_PERSONAL = re.compile(rf"{_HOME.pattern}|\$\{{?(?:USER|LOGNAME|UID|XDG_\w+)\b")


def _check_service(path: Path, config: Tables, document: Mapping[str, Any]) -> None:
    """A service and all its users mean the same places: none in the home of whoever reads this.

    Raises:
        SiteConfigError: one is; it names the line to write.
    """
    if config.daemon.serves is not Serves.EVERYONE:
        return

    def given(table: str, key: str) -> str | None:
        return document.get(table, {}).get(key) or None

    root = given("jobs", "state_root")
    orders = given("jobs", "order_root") or root
    places = [
        ("jobs", "state_root", "/SHARED/ef-slurm/jobs", _HOME, root),
        ("jobs", "order_root", "/SHARED/ef-slurm/orders", _PERSONAL, orders),
    ]
    if not config.daemon.host:  # where it has one, that is how it is found
        socket = given("daemon", "socket") or given("queue", "path")
        places.append(("daemon", "socket", "/run/ef-slurm/ef-schedd.sock", _PERSONAL, socket))
    for table, key, example, wrong, value in places:
        if value is None or wrong.search(value):
            what = f"{value!r} is" if value else "it is not given, and so"
            raise SiteConfigError(
                path,
                f"{table}.{key}",
                f'{what} a place in each user\'s own home, and with serves = "everyone" it must be '
                f'one for all: write {key} = "{example}" under [{table}] '
                "(`ef-schedd setup --service` does)",
            )
