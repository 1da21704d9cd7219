"""Placement: which GPUs a share gets (paper section 4.3, buddy allocation).

A block is 2^k GPUs inside one node, or 2^k whole nodes whose position in the site's node order is a
multiple of 2^k. Nodes that may not be used are holes. Inside a node only the number of GPUs counts,
because Slurm picks the indices: `Block.first_gpu` keeps the books, and may change for a job that
stays where it is.

**Fit theorem.** Let F(s) be the GPUs in aligned free blocks of at least s GPUs (`FreeBlockCounts`).
A multiset of powers of two can be placed if and only if, for every size s, its members of size s or
more sum to at most F(s). Only if: such members occupy disjoint blocks of that kind. If: place the
largest first; every block cut so far was of the present size or more, so it left a multiple of that
size, and as long as the sum stays below F(s) an uncut piece of size s remains. Without holes, on
2^k nodes, F(s) is the whole cluster for every s: whatever sums to no more than the GPUs fits.

The choices, in this order: running jobs stay; a new job takes the smallest free block that holds
it, and among equals the one in the most crowded neighbourhood, so that large blocks survive; jobs
move (`placement.migration`) only for a job that must be placed and cannot be otherwise.

Four nodes of 4 GPUs; `a` and `b` hold half of n1 and n3. A 2-GPU job fills up n1. An 8-GPU job then
has no two free nodes n1 n2 or n3 n4, so `b`, the cheapest to move, moves:

>>> from ef_slurm.model import Cluster
>>> group = Cluster.uniform(nodes=4, gpus_per_node=4).groups[0]
>>> a = Tenant("a", Block("gpu", ("n1",), 2), move_cost=30.0)
>>> b = Tenant("b", Block("gpu", ("n3",), 2), move_cost=20.0)
>>> placement = place(group, 0.0, [a, b], [Request("c", 2), Request("d", 8)])
>>> placement.blocks["d"].nodes, placement.blocks["c"].nodes, placement.blocks["b"].nodes
(('n3', 'n4'), ('n1',), ('n2',))
>>> placement.migrated
('b',)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ef_slurm.model import Block, ModelError, NodeGroup, same_place
from ef_slurm.planner.placement.free_blocks import count_free_blocks
from ef_slurm.planner.placement.migration import victims
from ef_slurm.planner.placement.occupancy import Occupancy, Request, Tenant


@dataclass(frozen=True, slots=True)
class Placement:
    """The answer: a block for every job that has one, and what it took.

    `migrated` are tenants that were given another place, `unplaced` the jobs without one; both in
    the order of ids.
    """

    blocks: Mapping[str, Block]
    migrated: tuple[str, ...]
    unplaced: tuple[str, ...]


def place(
    group: NodeGroup, now: float, tenants: Iterable[Tenant], requests: Sequence[Request]
) -> Placement:
    """Blocks for all tenants and for as many requests as fit.

    Tenants keep their nodes, unless these are no longer usable (they are then placed anew, before
    any request) or a `must` request needs them. When not all `must` requests fit, the earlier in
    the sequence win; the same goes for the other requests, which never move anybody. The order of
    the tenants does not matter.

    Raises:
        ModelError: a job comes twice, or a block is of another GPU type.
    """
    present = sorted(tenants, key=lambda tenant: tenant.job_id)
    ids = Counter([tenant.job_id for tenant in present])
    ids.update(request.job_id for request in requests)
    if len(ids) < len(present) + len(requests):
        raise ModelError("job", ids.most_common(1)[0][0], "placed once: it comes twice")
    occupancy = Occupancy(group, now)
    displaced = occupancy.keep_in_place(present)
    # Who cannot stay is served before any newcomer, and may move others as a newcomer may.
    musts = [Request(tenant.job_id, tenant.block.gpus) for tenant in displaced]
    musts += [request for request in requests if request.must]
    accepted, moved = _accept_requests(occupancy, musts)
    for job_id in moved:
        tenant = occupancy.remove(job_id)
        accepted.append(Request(job_id, tenant.block.gpus))
    occupancy.allot(accepted)
    # The rest takes what is left over, as far as it goes.
    others = [request for request in requests if not request.must]
    left = count_free_blocks(np.array(occupancy.free), occupancy.gpus)
    occupancy.allot([others[n] for n in left.accept([request.gpus for request in others])])
    blocks = occupancy.blocks()
    return Placement(
        blocks=blocks,
        migrated=tuple(
            tenant.job_id
            for tenant in present
            if tenant.job_id in blocks and not same_place(tenant.block, blocks[tenant.job_id])
        ),
        unplaced=tuple(sorted(job_id for job_id in ids if job_id not in blocks)),
    )


def _accept_requests(
    occupancy: Occupancy, musts: list[Request]
) -> tuple[list[Request], tuple[str, ...]]:
    """Which of `musts` get a block, and the tenants that move for them."""
    free = np.array(occupancy.free, dtype=np.int64)
    sizes = [request.gpus for request in musts]
    if count_free_blocks(free, occupancy.gpus).fits(sizes):
        return musts, ()
    # What would be free if everybody who may be moved had left: who is moved needs a block too, so
    # those come first, and then as many newcomers as still fit.
    candidates = occupancy.candidates()
    cleared = free.copy()
    for job in candidates:
        nodes = max(1, job.gpus // occupancy.gpus)
        cleared[job.node : job.node + nodes] += job.gpus // nodes
    held = [job.gpus for job in candidates]
    chosen = count_free_blocks(cleared, occupancy.gpus).accept(held + sizes)[len(held) :]
    accepted = [musts[n - len(held)] for n in chosen]
    demand = Counter(request.gpus for request in accepted)
    moved = victims(free, occupancy.gpus, candidates, demand)
    if moved is None:
        raise AssertionError("the fit theorem promised blocks that were not found")
    return accepted, moved
