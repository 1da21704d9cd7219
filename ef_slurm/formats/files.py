"""Result files: written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ef_slurm.formats.errors import FormatError


def write_whole(file: Path, content: str | bytes) -> None:
    """Writes a file beside its name first and renames it into place.

    What is there and is no plain file (/dev/null, a pipe) is written to: a rename would put a file
    in its place, for everybody where root does it.

    Raises:
        FormatError: it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary: Path | None = None
    try:
        if file.exists() and not file.is_file():
            file.write_bytes(data)
            return
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(file)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise FormatError(f"{file}: cannot be written: {error.strerror or error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
