"""What is there before an installation: files, accounts, and what Slurm says."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import stat
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ef_slurm.installation.slurm_files import CALLED_PLUGIN
from ef_slurm.installation.steps import InstallationError, text_of
from ef_slurm.resources import find
from ef_slurm.slurm.commands.accounting import AdminLevel, admin_level, is_known
from ef_slurm.slurm.commands.command_slurm import CommandSlurm
from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.guard import Guard, guard_of
from ef_slurm.slurm.site_types import SlurmConfiguration, SlurmPartition
from ef_slurm.slurm.types import SlurmNode

UNIT = Path("/etc/systemd/system/ef-schedd.service")
PACKAGED_UNITS = tuple(
    Path(where) / "systemd/system/ef-schedd.service" for where in ("/usr/lib", "/lib")
)
SYSTEMD_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")
"""Where a service of systemd's looks for programs."""


@dataclass(frozen=True, slots=True)
class Slurm:
    """What slurmctld says, and its files as far as they are on this host.

    Args:
        conf: slurm.conf as Slurm names it.
        conf_text: its text; None where it is not this host's to change.
        plugin_text: of job_submit.lua beside it; None where there is none.
        called_text: of the copy of ours that a site's own job_submit.lua calls; None for none.
        guard: who refuses plain submissions to the partition.
        level: of the daemon's user; None where accounting does not tell.
        known: whether accounting knows the user, and an account of that name.
    """

    settings: SlurmConfiguration
    partitions: tuple[SlurmPartition, ...]
    nodes: tuple[SlurmNode, ...]
    conf: Path
    conf_text: str | None
    plugin_text: str | None
    called_text: str | None
    guard: Guard
    level: AdminLevel | None
    known: tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Host:
    """This host.

    Args:
        name: its own name.
        accounts: users that it has, of those asked for, with their own groups.
        program: ef-schedd's own path.
        units: texts of systemd units by their place, as far as they are there.
        environment: variables that say where Slurm is.
        commands: the directory of Slurm's commands, where systemd would not look; "" elsewhere.
    """

    name: str
    accounts: Mapping[str, str]
    program: str
    units: Mapping[Path, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    commands: str = ""


def site_document(path: Path) -> tuple[str | None, Mapping[str, Any]]:
    """Text and keys of the site's file; (None, {}) where there is none.

    Raises:
        InstallationError: it cannot be read, or is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return text, tomllib.loads(text)
    except FileNotFoundError:
        return None, {}
    except OSError as error:
        raise InstallationError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InstallationError(f"{path}: is no TOML: {error}") from None


def shipped(name: str) -> str:
    """A file of site-config/: the site's own, or else as it was installed."""
    return find(f"site-config/{name}").read_text(encoding="utf-8")


def survey_host(user: str) -> Host:
    """This host as it is.

    Args:
        user: who the daemon is to run as.
    """
    scontrol = shutil.which("scontrol")
    directory = "" if scontrol is None else str(Path(scontrol).parent)
    return Host(
        name=socket.gethostname(),
        accounts=_account(user),
        program=_own_program(),
        units={unit: text_of(unit) for unit in (UNIT, *PACKAGED_UNITS) if unit.is_file()},
        environment={name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ},
        commands="" if directory in SYSTEMD_PATH else directory,
    )


def _account(user: str) -> Mapping[str, str]:
    try:
        return {user: _group_name(pwd.getpwnam(user).pw_gid)}
    except KeyError:
        return {}


def _own_program() -> str:
    started = shutil.which(sys.argv[0])
    return str(Path(started).absolute()) if started else "/usr/bin/env ef-schedd"


def survey_slurm(runner: Runner, partition: str, user: str, host: str) -> Slurm:
    """Slurm as it is.

    Args:
        partition: that ef-slurm is to schedule.
        user: who the daemon is to run as.
        host: this host's name.

    Raises:
        InstallationError: it does not answer.
    """
    slurm = CommandSlurm(runner)
    try:
        settings, partitions = slurm.configuration(), slurm.partitions()
        nodes = slurm.observe().nodes
    except SlurmError as error:
        raise InstallationError(f"Slurm does not answer: {error.message}") from None
    conf = Path(os.path.realpath(settings.settings.get("SLURM_CONF", "/etc/slurm/slurm.conf")))
    mine = _runs_slurmctld(settings.settings, host) and conf.is_file()
    return Slurm(
        settings=settings,
        partitions=partitions,
        nodes=nodes,
        conf=conf,
        conf_text=text_of(conf) if mine else None,
        plugin_text=_text(conf.with_name("job_submit.lua")) if mine else None,
        called_text=_text(conf.with_name(CALLED_PLUGIN)) if mine else None,
        guard=guard_of(slurm, partition),
        level=admin_level(runner, user),
        known=(is_known(runner, "user", user), is_known(runner, "account", user)),
    )


def _runs_slurmctld(settings: Mapping[str, str], host: str) -> bool:
    """Whether slurmctld is said to run here: SlurmctldHost[0] = NAME(ADDRESS)."""
    names = (v.partition("(")[0] for k, v in settings.items() if k.startswith("SlurmctldHost"))
    return {host.partition(".")[0], "localhost"} & {
        name.partition(".")[0] for name in names
    } != set()


def _text(path: Path) -> str | None:
    try:
        return text_of(path)
    except FileNotFoundError:
        return None


def directory_state(path: Path, suits: Callable[[os.stat_result], bool]) -> str | None:
    """How a directory is, in words, where it does not suit; None where it does.

    Returns:
        "" where there is none.

    Raises:
        InstallationError: what is there is no directory, or is in the hands of somebody else.
    """
    _refuse_unsafe(path)
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InstallationError(f"{path}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise InstallationError(f"{path} is no directory: give another place, or move it away")
    if suits(found):
        return None
    mode = stat.S_IMODE(found.st_mode)
    return f"{_user_name(found.st_uid)}:{_group_name(found.st_gid)} {mode:04o}"


def _refuse_unsafe(path: Path) -> None:
    """Root makes nothing below a directory in which somebody else could put a link in its place."""
    for parent in reversed(path.parents):
        try:
            found = parent.lstat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise InstallationError(f"{parent}: {error.strerror}") from None
        others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        safe = found.st_uid == 0 and (not others_write or found.st_mode & stat.S_ISVTX)
        if not safe and not stat.S_ISLNK(found.st_mode):
            raise InstallationError(
                f"{parent} belongs to {_user_name(found.st_uid)} with mode "
                f"{stat.S_IMODE(found.st_mode):04o}: who may write it could take away what lies "
                "below; give a place below directories of root's"
            )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
