"""Running commands as somebody else, as root may: the ordinary user of `ef-schedd check --try`."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.tables import Serves, SiteConfig

_KEPT = ("PATH", "LANG", "TZ", "SLURM_CONF", "EF_SLURM_CONFIG")


@dataclass(frozen=True, slots=True)
class Person:
    """The ordinary user who submits.

    Args:
        other: whether that is somebody else than who runs this (who then is root).
    """

    account: Account
    home: str
    other: bool

    def run(self, command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        """Run a command as this user, in a directory that every host has."""
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        name = self.account.name
        environment |= {"HOME": self.home, "USER": name, "LOGNAME": name}
        if self.other:
            environment.pop("EF_SLURM_CONFIG", None)  # what root was told, users are not
        return subprocess.run(  # noqa: S603 - words, no shell
            list(command),
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            user=self.account.uid if self.other else None,
            group=pwd.getpwuid(self.account.uid).pw_gid if self.other else None,
            extra_groups=sorted(self.account.gids) if self.other else None,
        )


def person(config: SiteConfig, name: str | None) -> Person:
    """Who is to submit.

    Args:
        name: None for who runs this.

    Raises:
        UsageError: there is no such user, or it is none that says anything about others.
    """
    own = Account.own()
    account = own if name is None else Account.named(name)
    if account is None:
        raise UsageError(f"--user={name}: this host has no such user")
    service = config.daemon.serves is Serves.EVERYONE
    if service and (account.uid == 0 or account.name == config.daemon.user):
        raise UsageError(
            f"--try as {account.name} says nothing about ordinary users: add --user=NAME of one "
            "who may submit"
        )
    if account.uid != own.uid and own.uid != 0:
        raise UsageError(f"--user={name}: only root can try it as somebody else")
    try:
        home = pwd.getpwuid(account.uid).pw_dir
    except KeyError:
        home = "/"
    return Person(account, home, account.uid != own.uid)


def daemon_of(config: SiteConfig) -> Person | None:
    """The daemon's user, where this process may act as it; None elsewhere."""
    account = Account.named(config.daemon.user)
    if account is None or os.geteuid() != 0 or config.daemon.serves is not Serves.EVERYONE:
        return None
    return Person(account, pwd.getpwuid(account.uid).pw_dir, other=True)
