"""What the ranks of a launch had imported, kept in the state directory for the next one.

Only what is installed is kept, and imported early: a module of the user's own may have changed
since, and do anything when it is imported.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import pathlib
import secrets
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

_FILE = "imports.json"
_VERSION = 1
_MOST_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Learned:
    """What is known of earlier launches.

    Args:
        modules: name of each module -> its file.
        left: packages that the server must not import -> why.
        obstacle: why torchrun has to start the ranks; "" for no reason.
    """

    modules: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    obstacle: str = ""


def load(directory: str) -> Learned:
    """What the state directory has; nothing where it has no such file, or a wrong one."""
    if not directory:
        return Learned()
    try:
        with open(os.path.join(directory, _FILE), "rb") as file:  # noqa: PTH123, PTH118
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return Learned()
            data: Any = json.loads(file.read(_MOST_BYTES))
        if data["version"] != _VERSION or data["python"] != sys.version:
            return Learned()
        return Learned(
            {str(name): str(place) for name, place in data["modules"].items()},
            {str(name): str(why) for name, why in data["left"].items()},
            str(data["obstacle"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Learned()


def save(directory: str, learned: Learned) -> None:
    """Replace the file atomically. What cannot be kept is learned again another time."""
    data = {
        "version": _VERSION,
        "python": sys.version,
        "modules": dict(learned.modules),
        "left": dict(learned.left),
        "obstacle": learned.obstacle,
    }
    temporary = os.path.join(directory, f".{_FILE}.{secrets.token_hex(8)}.tmp")  # noqa: PTH118
    with suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "w") as file:
            json.dump(data, file, indent=0)
        os.replace(temporary, os.path.join(directory, _FILE))  # noqa: PTH105, PTH118


def installed_modules() -> dict[str, str]:
    """What this process has imported of what is installed, in the order of its imports."""
    found: dict[str, str] = {}
    for name, module in [*sys.modules.items()]:
        spec = getattr(module, "__spec__", None)
        place = getattr(spec, "origin", None)
        if spec is None or spec.name != name or not isinstance(place, str):
            continue
        if is_installed(place) or name.partition(".")[0] == "ef_slurm":
            found[name] = place
    return found


def is_installed(place: str) -> bool:
    """Whether a module's file is of Python's library or of an installed package."""
    parts = pathlib.PurePath(place).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    library = sysconfig.get_path("stdlib")
    return bool(library) and place.startswith(library + os.sep)


def other_place(names: Mapping[str, str]) -> str:
    """Of the imported modules, one that the script itself would have got from elsewhere.

    It may have changed where modules are looked for.

    Args:
        names: what the server imported -> its file.

    Returns:
        A sentence, or "".
    """
    for name, place in names.items():
        if "." in name:
            continue
        spec = importlib.machinery.PathFinder.find_spec(name)
        if spec is not None and spec.origin not in (None, place):
            return f"the script finds {name} in {spec.origin}, not in {place}"
    return ""
