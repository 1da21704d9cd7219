"""What a daemon refuses to start with: it would promise, and then be denied, or serve nobody."""

from __future__ import annotations

from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.siteconfig.wrong_combinations import serves_itself, somebody_elses_partition
from ef_slurm.slurm.commands.accounting import AdminLevel, admin_level
from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.guard import guard_of
from ef_slurm.slurm.interface import Slurm


class StartRefusedError(Exception):
    """The daemon must not be started so; the text names the line to change."""


def refuse_wrong_combinations(
    config: SiteConfig, slurm: Slurm, runner: Runner, *, advisory: bool
) -> None:
    """Look whether this user's daemon can do what the configuration says.

    What Slurm does not tell now is no reason not to start.

    Args:
        advisory: it will act on nothing, and so needs no rights.

    Raises:
        StartRefusedError: it cannot.
    """
    user = Account.own()
    if config.daemon.serves is Serves.ME:
        if user.name == config.daemon.user:
            raise StartRefusedError(serves_itself(config))
        if not (advisory or user.uid == 0) and guard_of(slurm, config.slurm.partition).is_ours:
            raise StartRefusedError(somebody_elses_partition(config))
        return
    if user.uid == 0:
        return
    if user.name != config.daemon.user:
        raise StartRefusedError(
            f"{config.path}: daemon.user: is {config.daemon.user!r}, whose daemon alone the "
            f"commands believe, and this is {user.name!r}: start it as {config.daemon.user} "
            f'(systemd: User=), or write user = "{user.name}" under [daemon]'
        )
    powerless = not advisory and admin_level(runner, user.name) is AdminLevel.NONE
    if powerless and user.name != _slurm_user(slurm):
        raise StartRefusedError(no_operator(user.name))


def no_operator(user: str) -> str:
    """The sentence for a service's user that may act on its own jobs only."""
    return (
        f"{user} is no Slurm operator and may act on its own jobs only: "
        f"sacctmgr -i add account {user}; sacctmgr -i add user {user} account={user}; "
        f"sacctmgr -i modify user {user} set adminlevel=Operator"
    )


def _slurm_user(slurm: Slurm) -> str:
    """SlurmUser, who needs no rights; "" where Slurm does not say."""
    try:
        return slurm_user(slurm.configuration().settings.get("SlurmUser", ""))
    except SlurmError:
        return ""


def slurm_user(setting: str) -> str:
    """The name in `SlurmUser = slurm(64030)`.

    >>> slurm_user("slurm(64030)")
    'slurm'
    """
    return setting.partition("(")[0]
