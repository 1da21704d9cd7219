"""A GPU's fair share of its node, and how many GPUs of it a job can have that asks for more.

>>> from ef_slurm.formats.gres import GpuCount
>>> node = SlurmNode("n1", frozenset({"IDLE"}), (GpuCount("", 4),), cpus=64, memory=250_000.0)
>>> fair_share([node], memory_counts=True)
PerGpu(cpus=16.0, memory=62500.0)
>>> most_gpus(PerGpu(cpus=32), node, 4), most_gpus(PerGpu(cpus=65), node, 4)
(2, 0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ef_slurm.model import PerGpu
from ef_slurm.slurm.types import SlurmNode


def fair_share(nodes: Iterable[SlurmNode], *, memory_counts: bool) -> PerGpu:
    """What each GPU can have on every one of these nodes: whole cores, and whole MiB.

    Args:
        nodes: those that a job may use. What Slurm does not tell of one is not counted.
        memory_counts: whether Slurm gives memory to jobs; without, there is no share of it.
    """
    cpus, memory = [], []
    for node in nodes:
        if not node.gpu_total:
            continue
        if node.cpus:
            cores = node.cpus // node.threads_per_core // node.gpu_total
            cpus.append(float(cores * node.threads_per_core))
        if node.memory and memory_counts:
            memory.append(float(math.floor(node.memory / node.gpu_total)))
    return PerGpu(min(cpus, default=0.0), min(memory, default=0.0))


def most_gpus(asked: PerGpu, node: SlurmNode, count: int) -> int:
    """The largest size inside a node for a job that asks for so much with each of its GPUs.

    Args:
        count: GPUs of the type in question on the node.

    Returns:
        A power of two, or 0 where the node has too little for one.
    """
    for wanted, have in ((asked.cpus, float(node.cpus)), (asked.memory, node.memory)):
        if wanted > 0 and have > 0:
            count = min(count, int(have // wanted))
    return 1 << (count.bit_length() - 1) if count > 0 else 0
