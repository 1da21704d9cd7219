"""The simulated cluster: one or more groups of equal nodes, a GPU type each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ef_slurm.model import is_power_of_two
from ef_slurm.simulator.errors import SimulatorError

GPU_TYPE = "gpu"
"""What the simulated cluster calls its GPUs where it has one type."""

WANTED = "TYPE:NODESxGPUS, as a100:4x8, with a power of two of GPUs on each node"


@dataclass(frozen=True, slots=True)
class GpuGroup:
    """Equal nodes of one GPU type.

    Args:
        first_node: number of its first node; they are called n<number>.
    """

    gpu_type: str
    nodes: int
    gpus_per_node: int
    first_node: int = 1

    @property
    def gpus(self) -> int:
        """Of all its nodes."""
        return self.nodes * self.gpus_per_node

    @property
    def names(self) -> tuple[str, ...]:
        """Of its nodes."""
        return tuple(f"n{self.first_node + number}" for number in range(self.nodes))

    def __str__(self) -> str:
        return f"{self.gpu_type}:{self.nodes}x{self.gpus_per_node}"


def parse_group(text: str) -> GpuGroup:
    """The group that `--group` names.

    Raises:
        SimulatorError: it is none.

    >>> parse_group("a100:4x8")
    GpuGroup(gpu_type='a100', nodes=4, gpus_per_node=8, first_node=1)
    """
    match = re.fullmatch(r"([^\s:=,]+):([1-9]\d{0,5})x([1-9]\d{0,3})", text, re.A)
    if match is None or not is_power_of_two(int(match[3])):
        raise SimulatorError(f"group {text!r} is not valid: {WANTED}")
    return GpuGroup(match[1], int(match[2]), int(match[3]))


def side_by_side(groups: Sequence[GpuGroup]) -> tuple[GpuGroup, ...]:
    """The groups as one cluster, its nodes numbered through.

    Raises:
        SimulatorError: two of one GPU type.
    """
    numbered: list[GpuGroup] = []
    first = 1
    for group in groups:
        if group.gpu_type in [other.gpu_type for other in numbered]:
            raise SimulatorError(f"group {group}: there is one of type {group.gpu_type} already")
        numbered.append(GpuGroup(group.gpu_type, group.nodes, group.gpus_per_node, first))
        first += group.nodes
    return tuple(numbered)


def uniform(nodes: int, gpus_per_node: int) -> tuple[GpuGroup, ...]:
    """A cluster of equal nodes, n1 to n`nodes`."""
    return (GpuGroup(GPU_TYPE, nodes, gpus_per_node),)


def describe(groups: Sequence[GpuGroup]) -> str:
    """The cluster in words.

    >>> describe([GpuGroup("gpu", 4, 8)]), describe([GpuGroup("a", 1, 8), GpuGroup("b", 2, 4)])
    ('4 nodes of 8 GPUs', '1 nodes of 8 a GPUs, 2 nodes of 4 b GPUs')
    """
    if len(groups) == 1:
        return f"{groups[0].nodes} nodes of {groups[0].gpus_per_node} GPUs"
    return ", ".join(
        f"{one.nodes} nodes of {one.gpus_per_node} {one.gpu_type} GPUs" for one in groups
    )


def first_rows(groups: Sequence[GpuGroup]) -> Mapping[str, int]:
    """Node → number of its first GPU, counted through the cluster."""
    rows: dict[str, int] = {}
    row = 0
    for group in groups:
        for name in group.names:
            rows[name] = row
            row += group.gpus_per_node
    return rows
