"""What accounting says of a user's rights (sacctmgr(1))."""

from __future__ import annotations

import enum

from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.errors import SlurmError


class AdminLevel(enum.Enum):
    """AdminLevel of a user, as sacctmgr spells it."""

    NONE = "None"
    OPERATOR = "Operator"
    ADMINISTRATOR = "Administrator"


def admin_level(runner: Runner, user: str) -> AdminLevel | None:
    """The user's level; None where accounting does not tell (no slurmdbd, unknown user)."""
    command = ("sacctmgr", "--noheader", "--parsable2", "show", "user", user, "format=AdminLevel")
    try:
        answer = runner.query(command).stdout.strip()
    except SlurmError:
        return None
    try:
        return AdminLevel(answer)
    except ValueError:
        return None
