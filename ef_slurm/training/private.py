"""Whether what lies in a state directory can only be of its owner.

Nothing that is read there is code, but what trains on from it should be nobody else's choice.
"""

import os
import stat
from pathlib import Path


class NotPrivateError(Exception):
    """Somebody else can write there; the text says who and what to do."""


def make_private(state_dir: Path, directory: Path) -> None:
    """Make the two directories, the second inside of the first, or check them.

    Those made are for their owner alone. Those that exist must be the caller's, and not writable by
    anybody else (a list of further users counts as the group). Above them a directory in which
    everybody may write must have its sticky bit, as `/tmp` does, so that nobody else can move them.

    Raises:
        NotPrivateError: they are not.
        OSError: they cannot be made.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    me = _owner_of_new(directory)
    for path in (directory, state_dir):
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) and path == directory:
            raise NotPrivateError(f"{path} is no directory of its own: remove it")
        found = path.stat()
        if found.st_uid not in me:
            raise NotPrivateError(
                f"{path} belongs to uid {found.st_uid}, not to uid {os.geteuid()}: what lies in it "
                "is not believed; give a state directory of your own"
            )
        others = [
            who
            for who, bit in (("its group", stat.S_IWGRP), ("everybody", stat.S_IWOTH))
            if found.st_mode & bit
        ]
        if others:
            raise NotPrivateError(
                f"{path} can be written by {' and '.join(others)}: what lies in it is not "
                f"believed; take the right away with chmod go-w '{path}'"
            )
    for path in state_dir.resolve().parents:
        mode = path.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise NotPrivateError(
                f"{path} can be written by everybody, who could put something else in the place of "
                f"{state_dir}: chmod o-w '{path}', or chmod +t '{path}'"
            )


def owner_problem(path: Path) -> str:
    """What is wrong with who owns a file or directory and what it is; nothing if all is well."""
    found, holder = path.lstat(), path.parent.lstat()
    if stat.S_ISLNK(found.st_mode):
        return f"{path.name} is a link"
    if found.st_uid != holder.st_uid:
        return f"{path.name} belongs to uid {found.st_uid}, not to uid {holder.st_uid}"
    return ""


def _owner_of_new(directory: Path) -> set[int]:
    """Who a new file belongs to: some file systems show another uid than the process has."""
    probe = directory / f".owner.{os.getpid()}.tmp"
    probe.unlink(missing_ok=True)
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    try:
        return {os.geteuid(), probe.stat().st_uid}
    finally:
        probe.unlink()
