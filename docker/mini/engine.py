"""What the commands need of an engine; docker and native are the two."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mini.render import Wiring
from mini.settings import Cluster


@dataclass(frozen=True)
class Invocation:
    """A command line for `subprocess`, ready to run on this machine."""

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    clear_environment: bool = False
    directory: str | None = None
    user: str | None = None


class Engine(Protocol):
    def prepare(self, cluster: Cluster) -> Cluster:
        """Have images or packages ready; returns the cluster, now knowing its accounting."""

    def wiring(self, cluster: Cluster) -> Wiring:
        """Choose addresses, paths and ports."""

    def boot(self, cluster: Cluster) -> None:
        """Start every host (its daemons come up on their own)."""

    def destroy(self, cluster: Cluster) -> None:
        """Leave nothing of the cluster behind, however far `boot` came; may be repeated."""

    def kill_host(self, cluster: Cluster, host: str) -> None:
        """Pull the plug."""

    def start_host(self, cluster: Cluster, host: str) -> None:
        """Switch a host on again."""

    def is_up(self, cluster: Cluster, host: str) -> bool:
        """Whether the host runs, whatever its daemons do."""

    def invocation(
        self, cluster: Cluster, host: str, user: str, command: list[str], *, terminal: bool
    ) -> Invocation:
        """How to run a command on a host as a user."""
