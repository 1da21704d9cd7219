"""The hosts of a mini-Slurm, and what can be done to them: from outside, without its leave."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass

from mini import lifecycle, settings, variants
from mini.docker_engine import DockerEngine, container, project
from mini.settings import Cluster, UserError

TIMEOUT_SECONDS = 60.0

MEND = """\
pkill -CONT -x 'munged|slurmd|slurmctld|slurmdbd'
pkill -KILL -f '[c]ampaign: ef-schedd'
pkill -KILL -f '[e]f-schedd run$'
while umount -l /shared/ef-slurm; do :; done 2>/dev/null
rm -f /shared/ef-slurm/filled-* /var/lib/ef-slurm/filled-*
"""


class HostError(Exception):
    """A command on a host failed, or did not end."""


@dataclass(frozen=True)
class Hosts:
    """One cluster's hosts.

    Args:
        addresses: of each host in the cluster's network.
    """

    cluster: Cluster
    engine: DockerEngine
    addresses: dict[str, str]

    @classmethod
    def of(cls, name: str) -> Hosts:
        """Those of a cluster that is up.

        Raises:
            UserError: there is none of that name, or faults cannot be done to it.
        """
        cluster = settings.find(name)
        engine = lifecycle.engine_of(cluster)
        if os.geteuid() != 0:
            raise UserError("the campaign mounts and unmounts file systems of hosts: use sudo")
        if not isinstance(engine, DockerEngine) or not variants.has_small_disks(cluster):
            raise UserError(
                f"{name}: the campaign fills disks and cuts networks: bring it up with "
                "--engine docker --variant small-disks"
            )
        services = json.loads((cluster.directory / "compose.json").read_text())["services"]
        addresses = {
            host: service["networks"]["cluster"]["ipv4_address"]
            for host, service in services.items()
        }
        return cls(cluster, engine, addresses)

    @property
    def nodes(self) -> list[str]:
        return self.cluster.node_names

    def run(
        self,
        host: str,
        command: str,
        *,
        user: str = "root",
        check: bool = True,
        timeout: float = TIMEOUT_SECONDS,
    ) -> str:
        """What a shell command on a host prints.

        Raises:
            HostError: it fails and `check` is set, or it does not end in time.
        """
        words = ["bash", "-c", command]
        call = self.engine.invocation(self.cluster, host, user, words, terminal=False)
        return self._do(call.command, f"{user}@{host}: {command}", check, timeout)

    def privileged(self, host: str, command: str, *, check: bool = True) -> None:
        """A shell command among a host's processes and files, with this machine's rights.

        Raises:
            HostError: it fails and `check` is set.
        """
        pid = self.docker("inspect", "--format", "{{.State.Pid}}", self.container(host)).strip()
        words = ["nsenter", "--target", pid, "--mount", "--pid", "bash", "-c", command]
        self._do(words, f"{host}: {command}", check)

    def docker(self, *words: str, check: bool = True) -> str:
        """A command of the Docker engine."""
        return self._do(["docker", *words], " ".join(words), check)

    def container(self, host: str) -> str:
        return container(self.cluster, host)

    def signal(self, host: str, process: str, name: str) -> None:
        """Send a signal to all processes of that name on a host, if there are any."""
        self.run(host, f"pkill -{name} -x {shlex.quote(process)}", check=False)

    def start_daemon(self, host: str, daemon: str) -> None:
        """Start one of the cluster's daemons.

        Raises:
            HostError: it cannot be started.
        """
        done = lifecycle.guest(self.cluster, self.engine, host, "start", daemon)
        if done.returncode:
            raise HostError(f"{daemon} on {host}: {done.stderr.strip()}")

    def cut(self, host: str) -> None:
        """Take a host off the network."""
        self.docker("network", "disconnect", self._network, self.container(host))

    def join(self, host: str) -> None:
        """Give it its address back."""
        address = ("--ip", self.addresses[host])
        self.docker("network", "connect", *address, self._network, self.container(host))

    def mend(self) -> None:
        """Undo what a campaign that was cut short has left."""
        for host in self.cluster.hosts:
            name = self.container(host)
            self.docker("unpause", name, check=False)
            self.docker("start", name, check=False)
            networks = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
            if not self.docker("inspect", "--format", networks, name).strip():
                self.join(host)
            self.privileged(host, MEND, check=False)

    @property
    def _network(self) -> str:
        return f"{project(self.cluster)}_cluster"

    def _do(
        self, words: list[str], told: str, check: bool, timeout: float = TIMEOUT_SECONDS
    ) -> str:
        try:
            done = subprocess.run(
                words,
                env=os.environ | dict(self.engine.docker.environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise HostError(f"{told}: did not end within {timeout:g} s") from None
        if check and done.returncode:
            raise HostError(f"{told}: {done.returncode}: {done.stdout}{done.stderr}".strip())
        return done.stdout
