"""Doing one step of a plan: whole or not at all, with what it replaces kept beside it."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC
from pathlib import Path

from ef_slurm.formats.times import format_stamp
from ef_slurm.installation.steps import (
    UNDECODABLE,
    InstallationError,
    MakeDirectory,
    RunCommand,
    Step,
    WriteFile,
    text_of,
)

COMMAND_SECONDS = 60.0
"""For one command to end."""


def apply(step: Step, clock: Callable[[], float] = time.time) -> str:
    """Do it.

    Returns:
        Where what it replaced is kept; "" where it replaced nothing.

    Raises:
        InstallationError: it failed; what was there is as it was.
    """
    try:
        match step:
            case WriteFile():
                return _write(step, clock)
            case MakeDirectory():
                _make(step)
            case RunCommand():
                run(step.command)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise InstallationError(f"{step.title}: {where}{error.strerror or error}") from None
    except KeyError as error:
        raise InstallationError(f"{step.title}: {error.args[0]!s}") from None
    return ""


def run(command: Sequence[str]) -> None:
    """Run a command with its output where ours goes.

    Raises:
        InstallationError: it failed, or did not end.
    """
    shown = " ".join(command)
    try:
        done = subprocess.run(  # noqa: S603 - words, no shell
            list(command), stdin=subprocess.DEVNULL, timeout=COMMAND_SECONDS, check=False
        )
    except OSError as error:
        raise InstallationError(
            f"{command[0]}: {error.strerror}: run it yourself: {shown}"
        ) from None
    except subprocess.TimeoutExpired:
        raise InstallationError(f"{shown}: did not end within {COMMAND_SECONDS:.0f} s") from None
    if done.returncode:
        raise InstallationError(f"{shown}: ended with {done.returncode}")


def _write(step: WriteFile, clock: Callable[[], float]) -> str:
    """Replace a file by one rename; a link is followed first, so that it stays one."""
    path = Path(os.path.realpath(step.path))
    _make_parents(path.parent)
    backup = ""
    owner: tuple[int, int] | None = None
    mode = step.mode
    with suppress(FileNotFoundError):
        found = path.stat()
        if text_of(path) != step.before:
            raise InstallationError(f"{path} was changed meanwhile: begin anew")
        owner, mode = (found.st_uid, found.st_gid), stat.S_IMODE(found.st_mode)
        backup = _keep(path, found, clock())
    if step.before is not None and not backup:
        raise InstallationError(f"{path} is gone: begin anew")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors=UNDECODABLE) as stream:
            stream.write(step.text)
            stream.flush()
            if owner is not None:
                os.fchown(handle, *owner)
            os.fchmod(handle, mode)
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync(path.parent)
    return backup


def _keep(path: Path, found: os.stat_result, now: float) -> str:
    """A copy beside it, under a name that says when; made under another name, as all else is."""
    place = path.with_name(f"{path.name}.before-ef-slurm-{format_stamp(now, UTC)}")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(path.read_bytes())
            stream.flush()
            os.fchown(handle, found.st_uid, found.st_gid)
            os.fchmod(handle, stat.S_IMODE(found.st_mode))
            os.fsync(handle)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return str(place)


def _make(step: MakeDirectory) -> None:
    """Make a directory, or set owner and mode of the one that is there; never through a link."""
    _make_parents(step.path.parent)
    uid, gid = pwd.getpwnam(step.owner).pw_uid, grp.getgrnam(step.group).gr_gid
    with suppress(FileExistsError):
        step.path.mkdir(mode=0o700)
    directory = os.open(step.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(directory, uid, gid)
        os.fchmod(directory, step.mode)  # after it: chown takes the set-group-id bit away
        os.fsync(directory)
    finally:
        os.close(directory)
    _sync(step.path.parent)


def _make_parents(path: Path) -> None:
    if not path.exists():
        _make_parents(path.parent)
        path.mkdir(mode=0o755, exist_ok=True)
        path.chmod(0o755)  # whatever the umask is
        _sync(path.parent)


def _sync(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
