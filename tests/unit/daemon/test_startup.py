"""What a daemon refuses to start with: it would promise and be denied, or serve nobody."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon.startup import StartRefusedError, refuse_wrong_combinations
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.tables import DaemonTable, Serves, SiteConfig
from ef_slurm.slurm.commands.command_slurm import CommandSlurm
from ef_slurm.slurm.commands.runner import Runner

GUARDED = "sbatch: error: partition ef is scheduled by ef-slurm. Submit with: ef-sbatch …"


class Commands:
    """Slurm's commands, as scripts that say what a test wants."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.says("sbatch", "")
        self.says("sacctmgr", "Operator")
        self.says("scontrol", "SLURM_VERSION = 24.11.5\nSlurmUser = slurm(64030)")

    def says(self, name: str, output: str, error: str = "", code: int = 0) -> None:
        script = self._directory / name
        script.write_text(
            f"#!/bin/sh\ncat <<'END'\n{output}\nEND\ncat >&2 <<'END'\n{error}\nEND\nexit {code}\n"
        )
        script.chmod(stat.S_IRWXU)

    def start(self, config: SiteConfig, *, advisory: bool = False) -> None:
        runner = Runner(directory=self._directory)
        refuse_wrong_combinations(config, CommandSlurm(runner), runner, advisory=advisory)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """This process is one of user alice's."""
    monkeypatch.setattr(Account, "own", lambda: Account("alice", 1234, frozenset({1234})))
    return Commands(tmp_path)


def config(serves: Serves, user: str = "ef-slurm") -> SiteConfig:
    return replace(
        SiteConfig(), daemon=DaemonTable(serves=serves, user=user), path=Path("/etc/x.toml")
    )


def test_a_persons_own_daemon_in_an_ordinary_partition(commands: Commands) -> None:
    commands.start(config(Serves.ME))
    commands.says("sbatch", "", "sbatch: error: Invalid account", 1)
    commands.start(config(Serves.ME))


def test_in_a_guarded_partition_it_would_be_denied(commands: Commands) -> None:
    commands.says("sbatch", "", GUARDED, 1)
    with pytest.raises(StartRefusedError, match=r'daemon.serves: .*write partition = "NAME"') as e:
        commands.start(replace(config(Serves.ME)))
    assert "/etc/x.toml" in str(e.value)
    commands.start(config(Serves.ME), advisory=True)


def test_a_services_daemon_that_serves_itself_alone(commands: Commands) -> None:
    with pytest.raises(StartRefusedError, match=r'daemon.serves: .*serves = "everyone"'):
        commands.start(config(Serves.ME, user="alice"), advisory=True)


def test_a_services_daemon_of_somebody_else(commands: Commands) -> None:
    with pytest.raises(StartRefusedError, match=r"daemon.user: .*this is 'alice'"):
        commands.start(config(Serves.EVERYONE))


def test_a_service_without_rights(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = config(Serves.EVERYONE, user="alice")
    commands.start(mine)
    commands.says("sacctmgr", "None")
    with pytest.raises(StartRefusedError, match="set adminlevel=Operator"):
        commands.start(mine)
    commands.start(mine, advisory=True)
    commands.says("scontrol", "SLURM_VERSION = 24.11.5\nSlurmUser = alice(1234)")
    commands.start(mine)
    commands.says("scontrol", "SLURM_VERSION = 24.11.5\nSlurmUser = slurm(1)")
    # Whom accounting does not know is no operator either, where one is shown who there is.
    commands.says("sacctmgr", "")
    me = pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(Account, "own", lambda: Account(me, 1234, frozenset()))
    with pytest.raises(StartRefusedError, match=f"sacctmgr -i add user {me}"):
        commands.start(config(Serves.EVERYONE, user=me))


def test_what_accounting_does_not_tell_now_keeps_nobody_from_starting(commands: Commands) -> None:
    commands.says("sacctmgr", "", "sacctmgr: error: Connection refused", 1)
    commands.start(config(Serves.EVERYONE, user="alice"))
