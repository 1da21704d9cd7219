"""`ef-schedd check`, what a service needs so that everybody is served.

By mode bits and by asking, so that it says the same to root, to the daemon's user and to an
ordinary user. What none of them can see from outside, `ef-schedd check --try` tries.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from ef_slurm.api.client import Client, FailureError, UnreachableError, expect
from ef_slurm.api.messages import Ping, Pong
from ef_slurm.daemon.findings import Finding, Level
from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.daemon.observe.own_directory import DIRECTORY_MODE
from ef_slurm.daemon.startup import no_operator, slurm_user
from ef_slurm.queue.errors import QueueError
from ef_slurm.queue.filesystem import refuse_network_filesystem
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.errors import SiteConfigError
from ef_slurm.siteconfig.load import SYSTEM
from ef_slurm.siteconfig.reader import read
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.siteconfig.wrong_combinations import serves_itself, somebody_elses_partition
from ef_slurm.slurm.commands.accounting import AdminLevel
from ef_slurm.slurm.guard import Guard
from ef_slurm.slurm.site_types import SlurmConfiguration

_ANYBODY = Account("an ordinary user", -1, frozenset())
_SILENT_SECONDS = 120.0
"""A daemon that has not looked at Slurm for longer serves nobody."""


def check_site_file(config: SiteConfig, user: Account, system: Path = SYSTEM) -> Iterator[Finding]:
    """Whether every command on this host reads the same configuration.

    Args:
        user: who runs the check.
        system: the site's file.
    """
    subject, path = "configuration", config.path
    service = config.daemon.serves is Serves.EVERYONE
    if not service and (user.name == config.daemon.user or (user.uid == 0 and path == system)):
        yield Finding(Level.ERROR, subject, serves_itself(config))
        return
    if path is None or (not service and path == system):
        yield Finding(Level.OK, subject, f"{path}: each runs a daemon of their own")
        return
    try:
        others = _replaced(read(system)) if path != system and system.exists() else None
    except (SiteConfigError, OSError) as error:
        yield Finding(Level.ERROR, subject, f"other users' commands fail: {error}")
        return
    if not service:
        if others is not None and others.daemon.serves is Serves.EVERYONE:
            yield Finding(
                Level.WARNING,
                subject,
                f"{path}: a queue of your own, which the site's ef-schedd ({system}) does not see",
            )
        else:
            yield Finding(Level.OK, subject, f"{path}")
        return
    if path != system and others is None:
        yield Finding(
            Level.ERROR,
            subject,
            f"{path} is read here, but the commands of others look for {system}, which is not "
            f"there: install -D -m 0644 {path} {system}",
        )
    elif path != system and others != _replaced(config):
        yield Finding(
            Level.ERROR,
            subject,
            f"{path} is read here, and {system}, which the commands of others read, says something "
            f"else: install -D -m 0644 {path} {system}, or remove {path}",
        )
    elif (stopped := _unreadable(system)) is not None:
        yield Finding(
            Level.ERROR, subject, f"{system}: not everybody may read it: chmod a+rX {stopped}"
        )
    else:
        yield Finding(Level.OK, subject, f"{system}: every command on this host reads it")


def _replaced(config: SiteConfig) -> SiteConfig:
    return replace(config, path=None)


def _unreadable(path: Path) -> Path | None:
    try:
        stopped = _ANYBODY.stopped_at(path)
        return stopped or (None if _ANYBODY.may(path.stat(), os.R_OK) else path)
    except OSError:
        return path


def check_daemon(
    config: SiteConfig, connect: Callable[[], Client], now: float
) -> Iterator[Finding]:
    """Whether a daemon answers, and whether it would answer everybody.

    Args:
        connect: the way to the daemon.
        now: UTC epoch seconds.
    """
    service = config.daemon.serves is Serves.EVERYONE
    try:
        with closing(connect()) as client:
            pong = expect(Pong, client.ask(Ping()))
    except (UnreachableError, FailureError, QueueError) as error:
        if service:
            yield Finding(
                Level.ERROR,
                "daemon",
                f"nobody is served: {error}: systemctl enable --now ef-schedd (where it runs: "
                "journalctl -u ef-schedd)",
            )
        else:
            yield Finding(Level.WARNING, "daemon", "none of yours runs: start it: ef-schedd run")
        return
    where = f"ef-schedd {pong.version} of {pong.user} answers"
    if pong.advisory:
        yield Finding(
            Level.WARNING, "daemon", f"{where}, and is advisory: it acts on nothing (--advisory)"
        )
    elif pong.last_tick is None or now - pong.last_tick > _SILENT_SECONDS:
        yield Finding(
            Level.ERROR, "daemon", f"{where}, but does not get to its work: journalctl -u ef-schedd"
        )
    else:
        yield Finding(Level.OK, "daemon", where)
    if service:
        yield from _check_socket(config.socket)


def check_address(config: SiteConfig) -> Iterator[Finding]:
    """Whether other login hosts can reach the name under which the daemon listens."""
    name = config.daemon.host
    if config.daemon.serves is Serves.ME or not name:
        return
    line = 'under [daemon] write host = "NAME", as other hosts know this one ("": no other hosts)'
    try:
        found = {ip_address(entry[4][0]) for entry in socket.getaddrinfo(name, config.daemon.port)}
    except OSError as error:
        text = f"{name!r} is not known on this host ({error.strerror}): {line}"
        yield Finding(Level.ERROR, "daemon.host", text)
        return
    if all(address.is_loopback for address in found):
        text = f"{name!r} is this host alone (in /etc/hosts, mostly): {line}"
        yield Finding(Level.ERROR, "daemon.host", text)


def _check_socket(path: Path) -> Iterator[Finding]:
    """Whether everybody on this host gets to the socket, where it is on this host."""
    try:
        found = path.stat()
        stopped = _ANYBODY.stopped_at(path)
    except FileNotFoundError:
        return
    except OSError:
        stopped, found = path, None
    if found is not None and stopped is None and _ANYBODY.may(found, os.R_OK | os.W_OK):
        yield Finding(Level.OK, "daemon.socket", f"{path}: everybody on this host gets to it")
        return
    yield Finding(
        Level.ERROR,
        "daemon.socket",
        f"{path}: an ordinary user does not get through {stopped or path}: under [daemon] "
        'write socket = "/run/ef-slurm/ef-schedd.sock" (the systemd unit makes that directory)',
    )


def check_rights(
    config: SiteConfig, level: AdminLevel | None, settings: SlurmConfiguration | None
) -> Iterator[Finding]:
    """Whether the daemon's user may do what the daemon does to other people's jobs.

    Args:
        level: of the daemon's user, as accounting says; None where it does not tell.
        settings: Slurm's; None where it does not answer.
    """
    name = config.daemon.user
    if config.daemon.serves is Serves.ME:
        yield Finding(Level.OK, "rights", "serves one person alone: no special rights are needed")
        return
    if Account.named(name) is None:
        yield Finding(
            Level.ERROR,
            "daemon.user",
            f"this host has no user {name!r}: useradd --system --home-dir /var/lib/ef-slurm {name} "
            "(with the same number on all hosts)",
        )
        return
    said = settings.settings if settings is not None else {}
    if name in ("root", slurm_user(said.get("SlurmUser", ""))):
        yield Finding(Level.OK, "rights", f"{name} may do everything in Slurm")
    elif level is None and "none" in said.get("AccountingStorageType", ""):
        yield Finding(
            Level.ERROR,
            "rights",
            "Slurm has no accounting (AccountingStorageType), and without it no operators: set up "
            f'slurmdbd, or write user = "{slurm_user(said.get("SlurmUser", "slurm"))}" (SlurmUser) '
            "under [daemon]",
        )
    elif level is None:
        yield Finding(
            Level.WARNING,
            "rights",
            f"accounting does not tell whether {name} is an operator; without that it can act on "
            "its own jobs only",
        )
    elif level is AdminLevel.NONE:
        yield Finding(Level.ERROR, "rights", no_operator(name))
    else:
        yield Finding(
            Level.OK,
            "rights",
            f"{name} is {level.value}: it may update, hold, release, requeue and cancel the jobs "
            "of others",
        )


def check_guard(config: SiteConfig, settings: SlurmConfiguration, guard: Guard) -> Finding:
    """Whether `job_submit.lua` keeps others' hands off the partition.

    Args:
        guard: who refuses a plain submission there.
    """
    subject, partition = "JobSubmitPlugins", config.slurm.partition
    if guard.is_ours and config.daemon.serves is Serves.ME:
        return Finding(Level.ERROR, subject, somebody_elses_partition(config))
    if guard is Guard.OLDER:
        text = (
            f"job_submit.lua guards {partition}, but it is an older release's: what that let users "
            "do this one refuses; `ef-schedd setup --service --only=slurm` renews it"
        )
        return Finding(Level.WARNING, subject, text)
    if guard is Guard.CURRENT:
        text = f"job_submit.lua guards {partition}: nothing starts behind ef-slurm's back"
        return Finding(Level.OK, subject, text)
    listed = "lua" in settings.job_submit_plugins
    if guard is Guard.UNKNOWN and listed:
        return Finding(
            Level.WARNING,
            subject,
            f"lua, but whether job_submit.lua guards {partition} could not be seen: Slurm refuses "
            "a plain `sbatch --test-only` there for another reason",
        )
    what = "PARTITIONS and SERVICE_USER in job_submit.lua" if listed else "JobSubmitPlugins=lua"
    return Finding(
        Level.WARNING,
        subject,
        f"without site-config/slurm/job_submit.lua nothing keeps users from a plain sbatch into "
        f"partition {partition}, nor owners from changing a held job's nodes, GPUs "
        f"and time limit (set {what}); ef-slurm plans around such jobs and sets its own values "
        "before each start",
    )


def check_queue(config: SiteConfig, user: Account) -> Iterator[Finding]:
    """Whether the queue may be where it is; said to whom it is open.

    Args:
        user: who runs the check.
    """
    path = config.queue.path
    service = config.daemon.serves is Serves.EVERYONE
    daemon = Account.named(config.daemon.user) if service else user
    if daemon is None or user.uid not in (0, daemon.uid):
        return  # nobody else's business, and nobody else may look
    if service and not is_daemons_host(config):
        return
    try:
        refuse_network_filesystem(path)
    except QueueError as error:
        yield Finding(Level.ERROR, "queue.path", str(error))
        return
    place = next(one for one in (path, *path.parents) if one.exists())
    stopped = daemon.stopped_at(place)
    if stopped is not None or not daemon.may(place.stat(), os.R_OK | os.W_OK):
        made = f": install -d -o {daemon.name} -m 0700 {path.parent}" if service else ""
        text = f"{stopped or place} cannot be written by {daemon.name}{made}"
        yield Finding(Level.ERROR, "queue.path", text)
    else:
        yield Finding(Level.OK, "queue.path", f"{path}, on a local file system")


def is_daemons_host(config: SiteConfig) -> bool:
    """Whether the daemon is to run here, as far as the configuration tells."""
    here = socket.gethostname().partition(".")[0]
    return config.daemon.host.partition(".")[0] in ("", here) or config.socket.exists()


def check_state_root(config: SiteConfig) -> Iterator[Finding]:
    """Whether users can make their jobs' state directories, and the daemon read the reports."""
    root, subject = config.jobs.state_root, "jobs.state_root"
    if config.daemon.serves is Serves.ME:
        yield Finding(Level.OK, subject, f"{root} (must be seen by the compute nodes as well)")
        return
    name = config.daemon.user
    daemon = Account.named(name)
    if daemon is None:
        return  # said under daemon.user
    make = f"install -d -o root -g {name} -m 3777 {root}"
    try:
        found = root.stat()
        stopped = _ANYBODY.stopped_at(root) or daemon.stopped_at(root)
    except OSError as error:
        yield Finding(Level.ERROR, subject, f"{root}: {error.strerror}: {make}")
        return
    if not stat.S_ISDIR(found.st_mode):
        yield Finding(Level.ERROR, subject, f"{root} is no directory: {make}")
    elif stopped is not None:
        yield Finding(
            Level.ERROR, subject, f"{root}: not everybody gets there: chmod a+x {stopped}"
        )
    elif not _ANYBODY.may(found, os.W_OK | os.X_OK):
        yield Finding(
            Level.ERROR, subject, f"{root}: users cannot make their jobs' directories there: {make}"
        )
    elif daemon.uid != 0 and not (found.st_mode & stat.S_ISGID and found.st_gid in daemon.gids):
        yield Finding(
            Level.ERROR,
            subject,
            f"{root} does not pass a group of {name}'s on to what is made in it, so ef-slurm "
            f"cannot read the reports of jobs and does not see them train: {make}",
        )
    else:
        yield Finding(
            Level.OK, subject, f"{root}: users write it, and ef-slurm reads the reports of jobs"
        )


def check_order_root(config: SiteConfig) -> Finding:
    """Whether orders can be left, and by nobody else."""
    root, subject = config.order_root, "jobs.order_root"
    service = config.daemon.serves is Serves.EVERYONE
    try:
        if service:
            _verify_order_root(root, Account.named(config.daemon.user))
        else:
            OrderFiles(root).verify()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not service:
            return Finding(Level.OK, subject, f"{root} (ef-schedd makes it)")
        return Finding(
            Level.ERROR,
            subject,
            f"{error.strerror or error}: each reshape will be a requeue without warning: "
            f"install -d -o {config.daemon.user} -m {DIRECTORY_MODE:04o} {root}",
        )
    return Finding(Level.OK, subject, f"{root}: orders reach the jobs")


def _verify_order_root(root: Path, daemon: Account | None) -> None:
    """What `OrderFiles.verify` says to the daemon, from outside; and whether jobs get there."""
    found = root.lstat()
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if daemon is None or found.st_uid != daemon.uid or others_write:
        raise PermissionError(
            f"{root} belongs to uid {found.st_uid} with mode {stat.S_IMODE(found.st_mode):o}, and "
            "nobody but the daemon's user may write it"
        )
    stopped = _ANYBODY.stopped_at(root / "any")
    if stopped is not None:
        raise PermissionError(f"jobs do not get through {stopped}")
