"""From the site configuration to something that answers."""

from __future__ import annotations

import pwd

from ef_slurm.api.client import (
    Client,
    SocketClient,
    TcpEndpoint,
    UnixEndpoint,
    UnreachableError,
)
from ef_slurm.api.munge import MungeCommand
from ef_slurm.cli.common.local_client import QueueClient
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.slurm.commands.command_slurm import CommandSlurm
from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.errors import NoSuchJobError
from ef_slurm.slurm.interface import Slurm


def slurm_of(config: SiteConfig) -> CommandSlurm:
    """Slurm's commands where the configuration says they are, with its timeout."""
    return CommandSlurm(Runner(timeout=config.slurm.timeout, directory=config.slurm.commands))


def connect(config: SiteConfig, slurm: Slurm) -> Client:
    """The way to the queue that the configuration names. Nothing is opened yet.

    Raises:
        UnreachableError: the configuration names none that works from this host.
    """
    munge = MungeCommand()
    unix = SocketClient(UnixEndpoint(config.socket), munge, config.slurm.cluster)
    if config.daemon.serves is Serves.ME:
        return QueueClient(config.queue.path, unix, lambda job_id: _cancelled(slurm, job_id))
    if config.socket.exists() or not config.daemon.host:
        return unix
    try:
        trusted = frozenset({pwd.getpwnam(config.daemon.user).pw_uid})
    except KeyError:
        raise UnreachableError(
            f"this host has no user {config.daemon.user!r}, whose ef-schedd is to be trusted"
            f" ({config.path}: daemon.user)"
        ) from None
    endpoint = TcpEndpoint(config.daemon.host, config.daemon.port, trusted)
    return SocketClient(endpoint, munge, config.slurm.cluster)


def _cancelled(slurm: Slurm, job_id: int) -> bool:
    try:
        return slurm.job(job_id).may_be_cancelled
    except NoSuchJobError:
        return True
