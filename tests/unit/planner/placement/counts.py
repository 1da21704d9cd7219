"""How much fits into a node group: the left side of the fit theorem."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ef_slurm.model import Block, NodeGroup
from ef_slurm.planner.placement.free_blocks import FreeBlockCounts, count_free_blocks
from ef_slurm.planner.placement.occupancy import Occupancy, Tenant


def free_blocks(group: NodeGroup, at: float, pinned: Iterable[Block] = ()) -> FreeBlockCounts:
    """What is free at a time, apart from blocks that may not be moved."""
    occupancy = Occupancy(group, at)
    tenants = [Tenant(f"pinned {n}", block, math.inf) for n, block in enumerate(pinned)]
    assert not occupancy.keep_in_place(tenants)
    return count_free_blocks(np.array(occupancy.free), group.gpus_per_node)
