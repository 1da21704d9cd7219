"""What accounting says of a user's rights (sacctmgr(1))."""

from __future__ import annotations

import enum
import os
import pwd
from dataclasses import dataclass

from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.errors import SlurmError


class AdminLevel(enum.Enum):
    """AdminLevel of a user, as sacctmgr spells it."""

    NONE = "None"
    OPERATOR = "Operator"
    ADMINISTRATOR = "Administrator"


@dataclass(frozen=True, slots=True)
class Rights:
    """What accounting lets a user do beyond their own jobs.

    Args:
        coordinates: accounts whose coordinator the user is.
    """

    level: AdminLevel
    coordinates: frozenset[str] = frozenset()


def rights(runner: Runner, user: str) -> Rights | None:
    """A user's rights; None where accounting does not tell (no slurmdbd, unknown user)."""
    command = ("sacctmgr", "--noheader", "--parsable2", "show", "user", user, "withcoord")
    try:
        answer = runner.query((*command, "format=AdminLevel,Coordinators")).stdout.strip()
    except SlurmError:
        return None
    level, _, accounts = answer.partition("|")
    try:
        return Rights(AdminLevel(level), frozenset(name for name in accounts.split(",") if name))
    except ValueError:
        return None


def admin_level(runner: Runner, user: str) -> AdminLevel | None:
    """The user's level; None where accounting does not tell (no slurmdbd).

    A user whom accounting does not know has none. Only root and the user see that for certain:
    others may not be shown who there is (PrivateData).
    """
    command = ("sacctmgr", "--noheader", "--parsable2", "show", "user", user, "format=AdminLevel")
    try:
        answer = runner.query(command).stdout.strip()
    except SlurmError:
        return None
    if not answer and os.geteuid() in (0, _uid(user)):
        return AdminLevel.NONE
    try:
        return AdminLevel(answer)
    except ValueError:
        return None


def is_known(runner: Runner, kind: str, name: str) -> bool:
    """Whether accounting has a user or an account of that name.

    Args:
        kind: "user" or "account".
    """
    command = ("sacctmgr", "--noheader", "--parsable2", "show", kind, name)
    try:
        return bool(runner.query(command).stdout.strip())
    except SlurmError:
        return False


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None
