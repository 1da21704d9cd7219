"""The way to the queue that the site's configuration names."""

import os
import pwd
from pathlib import Path

import pytest

from ef_slurm.api.client import TcpEndpoint, UnixEndpoint, UnreachableError
from ef_slurm.api.http_client import HttpClient
from ef_slurm.cli.common.connect import connect
from ef_slurm.cli.common.local_client import QueueClient
from ef_slurm.siteconfig.tables import DaemonTable, QueueTable, Serves, SiteConfig
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm

ME = pwd.getpwuid(os.getuid()).pw_name


def endpoint(daemon: DaemonTable, tmp_path: Path) -> object:
    """Where requests go; the client itself where they go to the file."""
    config = SiteConfig(queue=QueueTable(path=tmp_path / "queue.sqlite"), daemon=daemon)
    slurm = MemorySlurm(MemoryCluster({"n1": 4}), lambda: 0.0, user=ME, operator=False)
    client = connect(config, lambda: slurm)
    return client._endpoint if isinstance(client, HttpClient) else client


def test_ones_own_queue_is_a_file(tmp_path: Path) -> None:
    assert isinstance(endpoint(DaemonTable(serves=Serves.ME, host="ctl"), tmp_path), QueueClient)


def test_elsewhere_the_daemon_is_asked_over_tcp(tmp_path: Path) -> None:
    daemon = DaemonTable(serves=Serves.EVERYONE, host="ctl", port=7000, user=ME)
    assert endpoint(daemon, tmp_path) == TcpEndpoint("ctl", 7000, frozenset({os.getuid()}))


def test_on_its_own_host_by_the_socket(tmp_path: Path) -> None:
    (tmp_path / "ef-schedd.sock").touch()
    daemon = DaemonTable(serves=Serves.EVERYONE, host="ctl", user=ME)
    where = UnixEndpoint(tmp_path / "ef-schedd.sock", frozenset({os.getuid()}))
    assert endpoint(daemon, tmp_path) == where


def test_without_a_host_by_the_socket_that_is_not_there(tmp_path: Path) -> None:
    daemon = DaemonTable(serves=Serves.EVERYONE, user="no-such-user")
    assert endpoint(daemon, tmp_path) == UnixEndpoint(tmp_path / "ef-schedd.sock")


def test_a_daemon_of_nobody_is_not_trusted(tmp_path: Path) -> None:
    daemon = DaemonTable(serves=Serves.EVERYONE, host="ctl", user="no-such-user")
    with pytest.raises(UnreachableError, match=r"no user 'no-such-user'.*daemon\.user"):
        endpoint(daemon, tmp_path)
