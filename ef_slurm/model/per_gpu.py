"""A GPU is never alone: the CPUs and the memory that come with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ef_slurm.model.checks import check_finite

_ROUNDING = 1e-9
_MOST = 2.0**20
"""More than any node has GPUs: nothing is large enough, whatever the number."""


@dataclass(frozen=True, slots=True)
class PerGpu:
    """CPUs, and MiB of memory, for one GPU; 0 for what is not asked for, or not known."""

    cpus: float = 0.0
    memory: float = 0.0

    def __post_init__(self) -> None:
        check_finite("CPUs per GPU", self.cpus, low=0.0, wanted="0 or more")
        check_finite("memory per GPU", self.memory, low=0.0, wanted="MiB, 0 or more")


def footprint(asked: PerGpu, fair: PerGpu) -> int:
    """How many GPUs' worth of a node one GPU of a job takes: its dominant resource.

    Args:
        asked: what the job asks for with each GPU.
        fair: what its node has for each of its GPUs.

    Returns:
        A power of two, 1 for a job that asks for no more than its GPU's fair share.

    >>> node = PerGpu(cpus=16, memory=64_000)
    >>> [footprint(asked, node) for asked in (PerGpu(16), PerGpu(24), PerGpu(8, 200_000))]
    [1, 2, 4]
    """
    shares = [
        wanted / have
        for wanted, have in ((asked.cpus, fair.cpus), (asked.memory, fair.memory))
        if have > 0
    ]
    most = min(max(shares, default=1.0), _MOST)
    return 1 << max(0, math.ceil(math.log2(most) - _ROUNDING)) if most > 1 else 1
