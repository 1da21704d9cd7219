"""The kinds of faults: what each takes, how it is done, and how it is healed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from tests.campaign.hosts import Hosts
from tests.campaign.service import Service

SHORT = (0.5, 5.0)
SLURM_AWAY = (0.3, 2.5)
"""What takes Slurm away is over sooner: for most of the time there is somebody to ask."""
SLURM = "slurm"
"""Taken by each fault of the hosts ctl and db: one of them at a time."""
BLINK = (0.2, 1.0)
LONG_CUT = (40.0, 50.0)
"""Longer than SlurmdTimeout (30 s): Slurm gives the node up, and its jobs to others."""
CLOCK_STEPS = (-3600, -300, -60, -5, 5, 60, 300)
"""Seconds. Further forward every promise that is open would be over."""
FILL = (
    "fallocate -l $(df --output=avail -B1 {0} | tail -n 1) {0}/filled-by-the-campaign;"
    " head -c 1M /dev/zero > {0}/filled-by-the-campaign-2 || true"
)
EMPTY = "rm -f {0}/filled-by-the-campaign*"
STATE = "/shared/ef-slurm"
"""State directories and orders, as the hosts see them."""


@dataclass(frozen=True)
class Fault:
    """One fault, ready to be done.

    Args:
        kind: what the table calls it.
        where: host, or what was done to it.
        takes: what only one fault may have at a time.
        seconds: between doing and healing.
        stops: nodes whose trainings it stops; None where it touches none.
    """

    kind: str
    where: str
    takes: frozenset[str]
    seconds: float
    do: Callable[[], object]
    heal: Callable[[], object]
    stops: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Maker:
    """Makes the faults of a campaign."""

    hosts: Hosts
    service: Service
    dice: random.Random

    def faults(self, count: int) -> Iterable[Fault]:
        """The faults, in their order: the seed decides, and nothing that happens."""
        makers = [(make, weight) for make, weight in self._weights() if weight]
        for _ in range(count):
            (make,) = self.dice.choices(*zip(*makers, strict=True))
            yield make()

    def _weights(self) -> list[tuple[Callable[[], Fault], int]]:
        return [
            (self._daemon_killed, 8),
            (self._daemon_paused, 4),
            (self._clock_stepped, 6 if self.service.has_clock else 0),
            (lambda: self._of_slurm(self._killed, "slurmctld", "ctl"), 4),
            (lambda: self._of_slurm(self._paused, "slurmctld", "ctl"), 4),
            (lambda: self._of_slurm(self._killed, "slurmdbd", "db"), 3),
            (lambda: self._of_slurm(self._paused, "slurmdbd", "db"), 3),
            (lambda: self._of_slurm(self._killed, "munged", "ctl"), 2),
            (lambda: self._of_slurm(self._paused, "munged", "ctl"), 2),
            (self._service_cut, 3),
            (lambda: self._on_a_node(self._killed, "slurmd"), 12),
            (lambda: self._on_a_node(self._paused, "slurmd"), 12),
            (lambda: self._on_a_node(self._killed, "munged"), 8),
            (lambda: self._on_a_node(self._paused, "munged"), 8),
            (self._node_killed, 3),
            (self._node_paused, 6),
            (self._node_cut, 7),
            (self._node_cut_long, 1),
            (self._disk_full, 4),
            (self._shared_full, 4),
            (self._state_lost_on_ctl, 3),
            (self._state_lost_on_a_node, 7),
            (self._state_lost_everywhere, 2),
        ]

    def _node(self) -> str:
        return self.dice.choice(self.hosts.nodes)

    def _short(self) -> float:
        return self.dice.uniform(*SHORT)

    # --- the daemon --------------------------------------------------------------------

    def _daemon_killed(self) -> Fault:
        # Its supervisor starts it again after a second.
        seconds = self.dice.uniform(*BLINK)
        takes = frozenset({"daemon"})
        return Fault("daemon killed", "ctl", takes, seconds, self.service.kill, lambda: None)

    def _daemon_paused(self) -> Fault:
        signal = self.service.signal
        return Fault(
            "daemon paused",
            "ctl",
            frozenset({"daemon"}),
            self._short(),
            lambda: signal("STOP"),
            lambda: signal("CONT"),
        )

    def _clock_stepped(self) -> Fault:
        step = self.dice.choice(CLOCK_STEPS)
        return Fault(
            "daemon's clock stepped",
            f"{step:+d} s",
            frozenset({"clock"}),
            self._short(),
            lambda: self.service.set_clock(step),
            lambda: self.service.set_clock(0),
        )

    # --- Slurm's daemons, and munge ------------------------------------------------------

    def _on_a_node(self, act: Callable[[str, str, set[str]], Fault], daemon: str) -> Fault:
        node = self._node()
        return act(daemon, node, {node})

    def _of_slurm(
        self, act: Callable[[str, str, set[str]], Fault], daemon: str, host: str
    ) -> Fault:
        fault = act(daemon, host, {SLURM})
        return replace(fault, seconds=self.dice.uniform(*SLURM_AWAY))

    def _killed(self, daemon: str, host: str, takes: set[str]) -> Fault:
        return Fault(
            f"{daemon} killed",
            host,
            frozenset(takes),
            self._short(),
            lambda: self.hosts.signal(host, daemon, "KILL"),
            lambda: self.hosts.start_daemon(host, daemon),
        )

    def _paused(self, daemon: str, host: str, takes: set[str]) -> Fault:
        return Fault(
            f"{daemon} paused",
            host,
            frozenset(takes),
            self._short(),
            lambda: self.hosts.signal(host, daemon, "STOP"),
            lambda: self.hosts.signal(host, daemon, "CONT"),
        )

    # --- nodes and the network ------------------------------------------------------------

    def _node_fault(self, kind: str, verbs: tuple[str, str]) -> Fault:
        node = self._node()
        do, heal = verbs
        return Fault(
            kind,
            node,
            frozenset({node}),
            self._short(),
            lambda: self.hosts.docker(do, self.hosts.container(node)),
            lambda: self.hosts.docker(heal, self.hosts.container(node)),
            frozenset({node}),
        )

    def _node_killed(self) -> Fault:
        return self._node_fault("node killed", ("kill", "start"))

    def _node_paused(self) -> Fault:
        return self._node_fault("node paused", ("pause", "unpause"))

    def _cut(self, kind: str, host: str, takes: set[str], seconds: float) -> Fault:
        return Fault(
            kind,
            host,
            frozenset(takes),
            seconds,
            lambda: self.hosts.cut(host),
            lambda: self.hosts.join(host),
            frozenset({host} & set(self.hosts.nodes)),
        )

    def _node_cut(self) -> Fault:
        node = self._node()
        return self._cut("node cut off", node, {node}, self._short())

    def _node_cut_long(self) -> Fault:
        node = self._node()
        seconds = self.dice.uniform(*LONG_CUT)
        return self._cut("node cut off for long", node, {node}, seconds)

    def _service_cut(self) -> Fault:
        host, takes = self.dice.choice([("ctl", {SLURM}), ("db", {SLURM}), ("login", {"login"})])
        seconds = self.dice.uniform(*SLURM_AWAY)
        return self._cut("ctl, db or login cut off", host, takes, seconds)

    # --- disks ----------------------------------------------------------------------------

    def _disk_full(self) -> Fault:
        return self._full("daemon's disk full", "disk", "/var/lib/ef-slurm")

    def _shared_full(self) -> Fault:
        return self._full("shared disk full", "shared", STATE)

    def _full(self, kind: str, takes: str, path: str) -> Fault:
        return Fault(
            kind,
            path,
            frozenset({takes}),
            self._short(),
            lambda: self.hosts.run("ctl", FILL.format(path)),
            lambda: self.hosts.run("ctl", EMPTY.format(path)),
        )

    def _lost(self, where: str, hosts: list[str], takes: set[str]) -> Fault:
        def each(command: str) -> None:
            for host in hosts:
                self.hosts.privileged(host, command)

        return Fault(
            "state directories lost",
            where,
            frozenset(takes),
            self._short(),
            # An empty file system that nobody can write hides what is there.
            lambda: each(f"mount -t tmpfs -o ro,size=4k none {STATE}"),
            lambda: each(f"umount -l {STATE}"),
            frozenset(hosts) & frozenset(self.hosts.nodes),
        )

    def _state_lost_on_ctl(self) -> Fault:
        return self._lost("on ctl", ["ctl"], {"shared"})

    def _state_lost_on_a_node(self) -> Fault:
        node = self._node()
        return self._lost(f"on {node}", [node], {node})

    def _state_lost_everywhere(self) -> Fault:
        nodes = self.hosts.nodes
        return self._lost("everywhere", ["ctl", *nodes], {"shared", *nodes})
