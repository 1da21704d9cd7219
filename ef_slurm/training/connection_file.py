"""The file in which rank 0 tells the other ranks where it listens, and the secret they share."""

import json
import os
from pathlib import Path
from typing import Any


def path_of(directory: Path, name: bytes) -> Path:
    """Where the one of that name lies; the next launch takes away what a killed one left."""
    return directory / f".ranks.{name.hex()}.tmp"


def replace(path: Path, values: dict[str, Any]) -> None:
    """Write it, in place of what is there.

    Raises:
        OSError: it cannot be written.
    """
    path.unlink(missing_ok=True)
    write(path, values)


def write(path: Path, values: dict[str, Any]) -> None:
    """Write it, durably, for its owner alone.

    Raises:
        OSError: it cannot be written, or something is there.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(values, file)
        file.flush()
        os.fsync(descriptor)


def read(path: Path) -> str:
    """What is in it, behind no link.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read()
