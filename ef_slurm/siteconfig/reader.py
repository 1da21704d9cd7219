"""TOML → the dataclasses of `tables`, with errors that name file, key, value and what is valid."""

from __future__ import annotations

import difflib
import enum
import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ef_slurm.model import ModelError
from ef_slurm.siteconfig.errors import SiteConfigError
from ef_slurm.siteconfig.tables import SiteConfig

_AT_LEAST: Mapping[str, float] = {
    "slurm.timeout": 1.0,
    "slurm.query_interval": 0.1,
    "queue.keep_plans": 1,
    "daemon.port": 1,
    "jobs.verdict_wait": 0.0,
    "timers.tick": 0.1,
    "timers.idle_tick": 0.1,
    "timers.acknowledge": 1.0,
    "timers.stop": 1.0,
    "timers.start": 1.0,
    "limits.jobs": 0,
    "limits.jobs_per_user": 0,
    "limits.gpus_per_job": 0,
}
_AT_MOST: Mapping[str, float] = {"daemon.port": 65535}
_NOT_EMPTY = frozenset({"slurm.partition", "nodes.gpu_type", "daemon.user"})


def read(path: Path) -> SiteConfig:
    """The configuration in one file.

    Raises:
        SiteConfigError: it cannot be read, is no TOML, or holds a wrong key or value.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SiteConfigError(path, "", f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SiteConfigError(path, "", f"is no TOML: {error}") from error
    types = {name: hint for name, hint in _hints(SiteConfig).items() if name != "path"}
    reader = _Reader(path)
    reader.refuse_unknown("", document, types)
    config = SiteConfig(
        path=path,
        **{name: reader.table(name, types[name], table) for name, table in document.items()},
    )
    _check_together(path, config)
    return config


def _check_together(path: Path, config: SiteConfig) -> None:
    slower = (
        ("timers.idle_tick", config.timers.idle_tick, "timers.tick", config.timers.tick),
        ("timers.tick", config.timers.tick, "slurm.query_interval", config.slurm.query_interval),
    )
    for key, value, other, least in slower:
        if value < least:
            raise SiteConfigError(
                path, key, f"{value:g} is shorter than {other} ({least:g}): give that or more"
            )


@dataclass(frozen=True)
class _Reader:
    path: Path

    def refuse_unknown(self, where: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
        """Raise for the first key that is not among `known`."""
        valid = sorted(known)
        for key in table:
            if key in valid:
                continue
            close = difflib.get_close_matches(key, valid, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            kind = "key" if where else "table"
            raise SiteConfigError(
                self.path,
                _dotted(where, key),
                f"unknown {kind}: {hint}valid ones are {', '.join(valid)}",
            )

    def table(self, where: str, cls: Any, table: object) -> Any:
        """A TOML table as the dataclass `cls`; what is not given keeps its default."""
        if not isinstance(table, dict):
            raise self._wrong(where, table, f"a table: [{where}]")
        hints = _hints(cls)
        self.refuse_unknown(where, table, hints)
        values = {
            key: self._value(_dotted(where, key), hints[key], value) for key, value in table.items()
        }
        try:
            return cls(**values)
        except ModelError as error:
            raise SiteConfigError(self.path, where, str(error)) from error
        except TypeError as error:
            missing = [field.name for field in fields(cls) if field.name not in values]
            raise SiteConfigError(
                self.path, where, f"{error}; keys not given: {', '.join(missing)}"
            ) from error

    def _value(self, key: str, hint: Any, value: object) -> Any:
        if get_origin(hint) is UnionType:
            # TOML has no null: what may be None is given, or left out, or "".
            if value == "":
                return None
            (hint,) = (choice for choice in get_args(hint) if choice is not NoneType)
        if get_origin(hint) is tuple:
            if not isinstance(value, list):
                raise self._wrong(key, value, "a list: [ … ]")
            inner = get_args(hint)[0]
            return tuple(
                self._value(f"{key}[{place}]", inner, item) for place, item in enumerate(value)
            )
        if get_origin(hint) is Mapping:
            if not isinstance(value, dict):
                raise self._wrong(key, value, "a table: { NAME = … }")
            inner = get_args(hint)[1]
            return {name: self._value(_dotted(key, name), inner, v) for name, v in value.items()}
        if is_dataclass(hint):
            return self.table(key, hint, value)
        return self._scalar(key, hint, value)

    def _scalar(self, key: str, hint: Any, value: object) -> Any:
        if hint is bool:
            if not isinstance(value, bool):
                raise self._wrong(key, value, "true or false")
            return value
        if hint in (int, float):
            return self._number(key, hint, value)
        if not isinstance(value, str):
            raise self._wrong(key, value, 'a text in quotes: "…"')
        if issubclass(hint, enum.Enum):
            valid = [member.value for member in hint]
            if value not in valid:
                raise self._wrong(key, value, "one of " + ", ".join(map(repr, valid)))
            return hint(value)
        if not value and (key in _NOT_EMPTY or key.endswith("]")):
            raise self._wrong(key, value, "a text that is not empty")
        return self._path(key, value) if hint is Path else value

    def _number(self, key: str, hint: Any, value: object) -> float | int:
        wanted = "a whole number" if hint is int else "a number"
        low, high = _AT_LEAST.get(key, -math.inf), _AT_MOST.get(key, math.inf)
        if low > -math.inf:
            wanted += f" of {low:g} or more"
        if high < math.inf:
            wanted += f", {high:g} at most"
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if hint is int:
            fits = fits and isinstance(value, int)
        if not fits or not isinstance(value, int | float) or not low <= value <= high:
            raise self._wrong(key, value, wanted)
        if not math.isfinite(value):
            raise self._wrong(key, value, wanted)
        return hint(value)  # type: ignore[no-any-return]

    def _path(self, key: str, value: str) -> Path:
        try:
            path = Path(os.path.expandvars(value)).expanduser()
        except RuntimeError as error:
            raise SiteConfigError(self.path, key, f"{_shown(value)}: {error}") from error
        if not path.is_absolute():
            raise self._wrong(key, value, 'an absolute path, or one that begins with "~"')
        return path

    def _wrong(self, key: str, value: object, wanted: str) -> SiteConfigError:
        return SiteConfigError(self.path, key, f"{_shown(value)} is not valid: give {wanted}")


def _hints(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _dotted(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
