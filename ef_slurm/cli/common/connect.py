"""From the site configuration to something that answers.

What only one of the ways needs is imported when that way is taken: a command shall start fast.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from typing import TYPE_CHECKING

from ef_slurm.api.client import Client, Endpoint, TcpEndpoint, UnixEndpoint, UnreachableError
from ef_slurm.api.messages import Request, Response
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.slurm.errors import NoSuchJobError

if TYPE_CHECKING:
    from ef_slurm.slurm.commands.command_slurm import CommandSlurm
    from ef_slurm.slurm.interface import Slurm


def slurm_of(config: SiteConfig) -> CommandSlurm:
    """Slurm's commands where the configuration says they are, with its timeout."""
    from ef_slurm.slurm.commands.command_slurm import CommandSlurm
    from ef_slurm.slurm.commands.runner import Runner

    return CommandSlurm(Runner(timeout=config.slurm.timeout, directory=config.slurm.commands))


def connect(config: SiteConfig, slurm: Callable[[], Slurm]) -> Client:
    """The way to the queue that the configuration names. Nothing is opened yet.

    Args:
        slurm: asked for where the owner's own queue file is the way.

    Raises:
        UnreachableError: the configuration names none that works from this host.
    """
    if config.daemon.serves is Serves.ME:
        from ef_slurm.cli.common.local_client import QueueClient

        own = frozenset({os.getuid()})
        daemon = _Later(UnixEndpoint(config.socket, own), config.slurm.cluster)
        return QueueClient(config.queue.path, daemon, lambda job_id: _cancelled(slurm(), job_id))
    if config.socket.exists() or not config.daemon.host:
        return _asking(UnixEndpoint(config.socket, _trusted(config)), config.slurm.cluster)
    trusted = _trusted(config)
    if not trusted:
        raise UnreachableError(
            f"this host has no user {config.daemon.user!r}, whose ef-schedd is to be trusted"
            f" ({config.path}: daemon.user)"
        )
    endpoint = TcpEndpoint(config.daemon.host, config.daemon.port, trusted)
    return _asking(endpoint, config.slurm.cluster)


class _Later:
    """A daemon that may never be asked."""

    def __init__(self, endpoint: Endpoint, cluster: str) -> None:
        self._endpoint = endpoint
        self._cluster = cluster
        self._client: Client | None = None

    def ask(self, request: Request) -> Response:
        """As `Client` says."""
        if self._client is None:
            self._client = _asking(self._endpoint, self._cluster)
        return self._client.ask(request)

    def close(self) -> None:
        """As `Client` says."""
        if self._client is not None:
            self._client.close()


def _asking(endpoint: Endpoint, cluster: str) -> Client:
    from ef_slurm.api.http_client import HttpClient
    from ef_slurm.api.munge import MungeCommand

    return HttpClient(endpoint, MungeCommand(), cluster)


def _trusted(config: SiteConfig) -> frozenset[int]:
    """Whose daemon is believed, beside root's."""
    try:
        return frozenset({pwd.getpwnam(config.daemon.user).pw_uid})
    except KeyError:
        return frozenset()


def _cancelled(slurm: Slurm, job_id: int) -> bool:
    try:
        return slurm.job(job_id).may_be_cancelled
    except NoSuchJobError:
        return True
