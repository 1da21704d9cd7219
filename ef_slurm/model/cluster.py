"""Nodes, and when they may not be used."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ef_slurm.model.budget import Budget
from ef_slurm.model.checks import check_finite, is_power_of_two
from ef_slurm.model.errors import ModelError
from ef_slurm.model.per_gpu import PerGpu

FOREVER = math.inf


@dataclass(frozen=True, slots=True)
class Outage:
    """GPUs of a node that ef-slurm may not use from `start` to `end`.

    A drained or dead node, a maintenance reservation, or somebody else's job until its time limit.
    `gpus` is how many; None for the whole node.
    """

    start: float
    end: float = FOREVER
    gpus: int | None = None

    def __post_init__(self) -> None:
        if math.isnan(self.start) or math.isnan(self.end) or not self.start < self.end:
            raise ModelError("outage end", self.end, f"later than its start {self.start!r}")
        if self.gpus is not None and self.gpus < 1:
            raise ModelError("outage GPUs", self.gpus, "1 or more, or none given for all")


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Args:
        outages: what is known of them.
        wake_seconds: how long it takes until a job that is put on it can start there; 0 for a node
            that is up. Powered down, or on its way, it is capacity that starts late.
        per_gpu: each of its GPUs' share of its CPUs and memory, as far as they are known.
    """

    name: str
    outages: tuple[Outage, ...] = ()
    wake_seconds: float = 0.0
    per_gpu: PerGpu = field(default_factory=PerGpu)

    def __post_init__(self) -> None:
        check_finite("seconds to wake", self.wake_seconds, low=0.0, wanted="seconds, 0 or more")


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Equal nodes of one GPU type, in the site's order (switch by switch)."""

    gpu_type: str
    gpus_per_node: int
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if not is_power_of_two(self.gpus_per_node):
            raise ModelError(
                f"GPUs per node of {self.gpu_type}", self.gpus_per_node, "a power of two"
            )
        if not self.nodes:
            raise ModelError(f"nodes of {self.gpu_type}", (), "at least one")
        names: set[str] = set()
        for node in self.nodes:
            if node.name in names:
                raise ModelError(f"node of {self.gpu_type}", node.name, "listed once")
            names.add(node.name)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The node groups that ef-slurm may use; one group per GPU type.

    A node that has GPUs of several types is in the group of each. `budgets` are what jobs may use
    together beside GPUs of nodes: limits of users and accounts, licences.

    >>> Cluster.uniform(nodes=4, gpus_per_node=8).gpus
    32
    """

    groups: tuple[NodeGroup, ...]
    budgets: tuple[Budget, ...] = ()

    def __post_init__(self) -> None:
        types: set[str] = set()
        for group in self.groups:
            if group.gpu_type in types:
                raise ModelError("GPU type", group.gpu_type, "one node group per GPU type")
            types.add(group.gpu_type)

    @classmethod
    def uniform(cls, nodes: int, gpus_per_node: int, gpu_type: str = "gpu") -> Cluster:
        """A cluster of equal nodes n1, n2, … without outages."""
        if nodes < 1:
            raise ModelError("nodes", nodes, "1 or more")
        members = tuple(Node(f"n{number}") for number in range(1, nodes + 1))
        return cls((NodeGroup(gpu_type, gpus_per_node, members),))

    @property
    def gpus(self) -> int:
        """GPUs of all groups, outages not counted off."""
        return sum(group.gpus_per_node * len(group.nodes) for group in self.groups)

    def group(self, gpu_type: str) -> NodeGroup:
        """The group of a GPU type.

        Raises:
            ModelError: the cluster has no such type.
        """
        for group in self.groups:
            if group.gpu_type == gpu_type:
                return group
        known = ", ".join(group.gpu_type for group in self.groups)
        raise ModelError("GPU type", gpu_type, f"one of {known or '(the cluster has none)'}")
