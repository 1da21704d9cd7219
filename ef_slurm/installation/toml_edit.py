"""Setting single keys of a TOML text that people wrote, so that all the rest stays as it is."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from ef_slurm.installation.steps import InstallationError

Keys = Mapping[tuple[str, str], str]
"""(table, key) → a text."""

_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]\s*(?:#.*)?$")
_ANY_HEADER = re.compile(r"\s*\[")
_VALUE = re.compile(r"""(\s*[\w-]+\s*=\s*)(?:"[^"]*"|'[^']*'|[^#"']*?)(\s*#.*)?$""")


def set_keys(text: str, keys: Keys) -> str:
    r"""The text with these keys set, comments and order kept.

    Raises:
        InstallationError: it is no TOML, or written so that only a person can change it.

    >>> set_keys('[a]\nx = "1"  # why\n', {("a", "x"): "2", ("b", "y"): "3"})
    '[a]\nx = "2"  # why\n\n[b]\ny = "3"\n'
    """
    wanted = _expected(text, keys)
    lines = text.splitlines()
    for (table, key), value in keys.items():
        _set(lines, table, key, json.dumps(value, ensure_ascii=False))
    changed = "\n".join(lines).strip("\n") + "\n"
    try:
        found: Any = tomllib.loads(changed)
    except tomllib.TOMLDecodeError:
        found = None
    if found != wanted:
        shown = "; ".join(f'[{table}] {key} = "{value}"' for (table, key), value in keys.items())
        raise InstallationError(f"it is written so that you have to change it yourself: {shown}")
    return changed


def _expected(text: str, keys: Keys) -> dict[str, Any]:
    try:
        document = copy.deepcopy(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InstallationError(f"is no TOML: {error}") from None
    for (table, key), value in keys.items():
        below = document.setdefault(table, {})
        if not isinstance(below, dict):
            raise InstallationError(f"{table} is no table: write [{table}]")
        below[key] = value
    return document


def _set(lines: list[str], table: str, key: str, value: str) -> None:
    header = next(
        (at for at, line in enumerate(lines) if (m := _HEADER.match(line)) and m[1] == table), None
    )
    if header is None:
        lines += ["", f"[{table}]", f"{key} = {value}"]
        return
    for at in range(header + 1, len(lines)):
        if _ANY_HEADER.match(lines[at]):
            break
        if re.match(rf"\s*{re.escape(key)}\s*=", lines[at]):
            lines[at] = _VALUE.sub(lambda m: f"{m[1]}{value}{m[2] or ''}", lines[at])
            return
    lines.insert(header + 1, f"{key} = {value}")
