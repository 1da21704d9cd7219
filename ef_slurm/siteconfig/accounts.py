"""What an account of this host may do with a path, by its mode bits."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this host with the groups that it is in."""

    name: str
    uid: int
    gids: frozenset[int]

    @classmethod
    def named(cls, name: str) -> Self | None:
        """The account of that name; None where this host has none."""
        try:
            found = pwd.getpwnam(name)
        except (KeyError, ValueError):
            return None
        return cls(name, found.pw_uid, frozenset(os.getgrouplist(name, found.pw_gid)))

    @classmethod
    def own(cls) -> Self:
        """Whoever runs this."""
        uid = os.geteuid()
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = str(uid)
        return cls(name, uid, frozenset({os.getegid(), *os.getgroups()}))

    def may(self, found: os.stat_result, wanted: int) -> bool:
        """Whether the mode bits let it do all of `wanted` (of `os.R_OK`, `W_OK` and `X_OK`).

        Access lists and the file system may say otherwise; so may it that root is asked for.
        """
        if self.uid == 0:
            return True
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid == self.uid:
            mode >>= 6
        elif found.st_gid in self.gids:
            mode >>= 3
        return mode & wanted == wanted

    def stopped_at(self, path: Path) -> Path | None:
        """The first directory above a path that it may not go through; None where it gets there.

        Raises:
            OSError: this process itself may not look, or something is missing.
        """
        for parent in reversed(path.parents):
            if not self.may(parent.stat(), os.X_OK):
                return parent
        return None
