"""Placement: which GPUs a share gets (paper section 4.3, buddy allocation).

A block is 2^k GPUs inside one node, or 2^k whole nodes whose position in the site's node order is a
multiple of 2^k. Nodes that may not be used are holes. Inside a node only the number of GPUs counts,
because Slurm picks the indices: `Block.first_gpu` keeps the books, and may change for a job that
stays where it is.

**Fit theorem.** Let room(s) be the GPUs in aligned blocks of at least s GPUs. A multiset of
powers of two can be placed if and only if, for every size s, its members of size s or more sum to
at most room(s). Only if: such members occupy disjoint blocks of that kind. If: place the largest
first; every block cut so far was of the present size or more, so it left a multiple of that size,
and as long as the sum stays below room(s) an uncut piece of size s remains. Without holes, on
2^k nodes, room(s) is the whole cluster for every s: whatever sums to no more than the GPUs fits.

The choices, in this order: running jobs stay; a new job takes the smallest free block that holds
it, and among equals the one in the most crowded neighbourhood, so that large blocks survive; jobs
move (`ef_slurm.planner.migration`) only for a job that must be placed and cannot be otherwise.

Four nodes of 4 GPUs; `a` and `b` hold half of n1 and n3. A 2-GPU job fills up n1. An 8-GPU job then
has no two free nodes n1 n2 or n3 n4, so `b`, the cheapest to move, moves:

>>> from ef_slurm.model import Cluster
>>> group = Cluster.uniform(nodes=4, gpus_per_node=4).groups[0]
>>> a = Resident("a", Block("gpu", ("n1",), 2), move_cost=30.0)
>>> b = Resident("b", Block("gpu", ("n3",), 2), move_cost=20.0)
>>> placement = place(group, 0.0, [a, b], [Request("c", 2), Request("d", 8)])
>>> placement.blocks["d"].nodes, placement.blocks["c"].nodes, placement.blocks["b"].nodes
(('n3', 'n4'), ('n1',), ('n2',))
>>> placement.migrated
('b',)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ef_slurm.model import Block, ModelError, NodeGroup, is_power_of_two, same_place
from ef_slurm.planner.blocks import Counts, Room, ranked, room_in, usable_gpus
from ef_slurm.planner.migration import Movable, cheapest_set, evictions


@dataclass(frozen=True, slots=True)
class Resident:
    """A job that holds `block` and stays there if it can.

    `move_cost` is what a migration would cost it (seconds of lost training, or any other measure
    as long as it is the same for all); infinite for a job that may not be moved.
    """

    job_id: str
    block: Block
    move_cost: float = 0.0

    def __post_init__(self) -> None:
        if not self.move_cost >= 0:
            raise ModelError("move cost", self.move_cost, "0 or more, infinite for never")


@dataclass(frozen=True, slots=True)
class Request:
    """A job that wants a block of `gpus`.

    `must` lets others be moved for it. `until` is when it will have left: nodes with an outage
    before that are avoided where there is a choice.
    """

    job_id: str
    gpus: int
    must: bool = True
    until: float = -math.inf

    def __post_init__(self) -> None:
        if not is_power_of_two(self.gpus):
            raise ModelError(f"GPUs of job {self.job_id}", self.gpus, "a power of two")


@dataclass(frozen=True, slots=True)
class Placement:
    """The answer: a block for every job that has one, and what it took.

    `migrated` are residents that were given another place, `unplaced` the jobs without one; both in
    the order of ids.
    """

    blocks: Mapping[str, Block]
    migrated: tuple[str, ...]
    unplaced: tuple[str, ...]


def room(group: NodeGroup, at: float, pinned: Iterable[Block] = ()) -> Room:
    """What a group has room for at a time, apart from blocks that may not be moved.

    >>> from ef_slurm.model import Cluster
    >>> room(Cluster.uniform(nodes=3, gpus_per_node=2).groups[0], 0.0).by_size
    (6, 6, 4)
    """
    floor = _Floor(group, at)
    floor.seat([Resident(f"pinned {n}", block, math.inf) for n, block in enumerate(pinned)])
    return room_in(np.array(floor.free), group.gpus_per_node)


def shrunk(block: Block, gpus: int) -> Block:
    """The part of a block that an in-place shrink to `gpus` leaves: its head.

    Slurm cannot take the first node, where the batch script runs, from a job.

    >>> shrunk(Block("gpu", ("n1", "n2"), 4), 4).nodes
    ('n1',)
    """
    if not is_power_of_two(gpus) or gpus > block.gpus:
        raise ModelError("GPUs to shrink to", gpus, f"a power of two up to {block.gpus}")
    nodes = max(1, gpus // block.gpus_per_node)
    return Block(block.gpu_type, block.nodes[:nodes], gpus // nodes, block.first_gpu)


def place(
    group: NodeGroup, now: float, residents: Iterable[Resident], requests: Sequence[Request]
) -> Placement:
    """Blocks for all residents and for as many requests as fit.

    Residents keep their nodes, unless these are no longer usable (they are then placed anew, before
    any request) or a `must` request needs them. When not all `must` requests fit, the earlier in
    the sequence win; the same goes for the other requests, which never move anybody. The order of
    the residents does not matter.

    Raises:
        ModelError: a job comes twice, or a block is of another GPU type.
    """
    present = sorted(residents, key=lambda resident: resident.job_id)
    ids = Counter([resident.job_id for resident in present])
    ids.update(request.job_id for request in requests)
    if len(ids) < len(present) + len(requests):
        raise ModelError("job", ids.most_common(1)[0][0], "placed once: it comes twice")
    floor = _Floor(group, now)
    displaced = floor.seat(present)
    musts = [Request(resident.job_id, resident.block.gpus) for resident in displaced]
    musts += [request for request in requests if request.must]
    accepted, moved = _settle(floor, musts)
    for job_id in moved:
        resident = floor.remove(job_id)
        accepted.append(Request(job_id, resident.block.gpus))
    floor.allot(accepted)
    others = [request for request in requests if not request.must]
    sizes = [request.gpus for request in others]
    floor.allot([others[n] for n in room_in(np.array(floor.free), floor.gpus).accept(sizes)])
    blocks = floor.blocks()
    return Placement(
        blocks=blocks,
        migrated=tuple(
            resident.job_id
            for resident in present
            if resident.job_id in blocks and not same_place(resident.block, blocks[resident.job_id])
        ),
        unplaced=tuple(sorted(job_id for job_id in ids if job_id not in blocks)),
    )


def _settle(floor: _Floor, musts: list[Request]) -> tuple[list[Request], tuple[str, ...]]:
    """Which of `musts` get a block, and the residents that move for them."""
    free = np.array(floor.free, dtype=np.int64)
    sizes = [request.gpus for request in musts]
    if room_in(free, floor.gpus).fits(sizes):
        return musts, ()
    movables = floor.movables()
    cleared = free.copy()
    for job in movables:
        nodes = max(1, job.gpus // floor.gpus)
        cleared[job.node : job.node + nodes] += job.gpus // nodes
    held = [job.gpus for job in movables]
    chosen = room_in(cleared, floor.gpus).accept(held + sizes)[len(held) :]
    accepted = [musts[n - len(held)] for n in chosen]
    demand = Counter(request.gpus for request in accepted)
    moved = evictions(free, floor.gpus, movables, demand)
    if moved is None:
        raise AssertionError("the fit theorem promised room that was not found")
    return accepted, moved


@dataclass(frozen=True, slots=True)
class _Seat:
    """Where a job is: `gpus` on each of the nodes with these indices."""

    nodes: tuple[int, ...]
    gpus: int
    block: Block
    move_cost: float
    new: bool = False


class _Floor:
    """The group while a placement is made: free GPUs per node, and who holds what."""

    def __init__(self, group: NodeGroup, now: float) -> None:
        self.group = group
        self.gpus = group.gpus_per_node
        self.index = {node.name: index for index, node in enumerate(group.nodes)}
        self.free = [usable_gpus(node, self.gpus, now) for node in group.nodes]
        self.seats: dict[str, _Seat] = {}
        ahead = [
            min((o.start for o in node.outages if o.start > now), default=math.inf)
            for node in group.nodes
        ]
        self.outage_from = np.array(ahead)

    def seat(self, residents: Sequence[Resident]) -> list[Resident]:
        """Let residents sit where they are. Returns those that cannot."""
        displaced = []
        sharing: dict[int, list[Movable]] = {}
        seats: dict[str, tuple[Resident, tuple[int, ...]]] = {}
        for resident in residents:
            block = resident.block
            if block.gpu_type != self.group.gpu_type:
                raise ModelError("block GPU type", block.gpu_type, self.group.gpu_type)
            nodes = tuple(self.index.get(name, -1) for name in block.nodes)
            if min(nodes) < 0:
                displaced.append(resident)
                continue
            seats[resident.job_id] = (resident, nodes)
            for node in nodes:
                holder = Movable(resident.job_id, node, block.gpus_per_node, resident.move_cost)
                sharing.setdefault(node, []).append(holder)
        gone: set[str] = set()
        for node, holders in sharing.items():
            over = sum(holder.gpus for holder in holders) - self.free[node]
            if over > 0:
                gone.update(holder.job_id for holder in cheapest_set(holders, over) or ())
        for job_id, (resident, nodes) in seats.items():
            if job_id in gone:
                displaced.append(resident)
            else:
                block = resident.block
                seat = _Seat(nodes, block.gpus_per_node, block, resident.move_cost)
                self.seats[job_id] = seat
                for node in nodes:
                    self.free[node] -= seat.gpus
        return displaced

    def remove(self, job_id: str) -> _Seat:
        """Take a job off the floor."""
        seat = self.seats.pop(job_id)
        for node in seat.nodes:
            self.free[node] += seat.gpus
        return seat

    def movables(self) -> list[Movable]:
        """The jobs that may be moved. One in a block that is not aligned counts as fixed."""
        found = []
        for job_id, seat in self.seats.items():
            first, count = seat.nodes[0], len(seat.nodes)
            aligned = count == 1 or (
                first % count == 0
                and seat.gpus == self.gpus
                and seat.nodes == tuple(range(first, first + count))
            )
            if aligned and math.isfinite(seat.move_cost):
                found.append(Movable(job_id, first, seat.gpus * count, seat.move_cost))
        return found

    def allot(self, requests: Sequence[Request]) -> None:
        """Give each request a block, the largest first; there must be room for all."""
        for size in sorted({request.gpus for request in requests}, reverse=True):
            batch = [request for request in requests if request.gpus == size]
            free = np.array(self.free, dtype=np.int64)
            best = ranked(free, self.gpus, size)
            count = max(1, size // self.gpus)
            for request, node in zip(*self._matched(batch, best, count), strict=True):
                nodes = tuple(range(node, node + count))
                names = tuple(self.group.nodes[index].name for index in nodes)
                block = Block(self.group.gpu_type, names, size // count)
                self.seats[request.job_id] = _Seat(nodes, size // count, block, math.inf, new=True)
                for index in nodes:
                    self.free[index] -= size // count

    def _matched(
        self, batch: list[Request], best: Counts, count: int
    ) -> tuple[list[Request], list[int]]:
        """Requests and their first nodes: the best ranked whose outage comes after the stay."""
        if not np.isfinite(self.outage_from).any():
            return batch, best[: len(batch)].tolist()
        queues: dict[float, list[int]] = {}
        for position in range(best.size - 1, -1, -1):
            node = int(best[position])
            outage = float(self.outage_from[node : node + count].min())
            queues.setdefault(outage, []).append(position)
        chosen = []
        order = sorted(batch, key=lambda request: request.until)
        for request in order:
            lasting = [outage for outage in queues if outage >= request.until]
            outage = min(lasting, key=lambda outage: queues[outage][-1]) if lasting else max(queues)
            chosen.append(int(best[queues[outage].pop()]))
            if not queues[outage]:
                del queues[outage]
        return order, chosen

    def blocks(self) -> dict[str, Block]:
        """Every job's block, with offsets inside shared nodes that do not overlap."""
        blocks = {job_id: seat.block for job_id, seat in self.seats.items()}
        sharing: dict[int, list[str]] = {}
        for job_id, seat in self.seats.items():
            if seat.gpus < self.gpus and len(seat.nodes) == 1:
                sharing.setdefault(seat.nodes[0], []).append(job_id)
        for job_ids in sharing.values():
            for job_id, offset in self._offsets(job_ids).items():
                block = blocks[job_id]
                if block.first_gpu != offset:
                    blocks[job_id] = Block(block.gpu_type, block.nodes, block.gpus_per_node, offset)
        return dict(sorted(blocks.items()))

    def _offsets(self, job_ids: list[str]) -> dict[str, int]:
        """First GPUs in one node: as they were where possible, else packed from 0."""
        taken: set[int] = set()
        kept: dict[str, int] = {}
        new = []
        for job_id in job_ids:
            seat = self.seats[job_id]
            span = range(seat.block.first_gpu, seat.block.first_gpu + seat.gpus)
            if seat.new or span.stop > self.gpus or not taken.isdisjoint(span):
                new.append(job_id)
            else:
                kept[job_id] = span.start
                taken.update(span)
        for job_id in sorted(new, key=lambda job_id: (-self.seats[job_id].gpus, job_id)):
            gpus = self.seats[job_id].gpus
            offsets = range(0, self.gpus, gpus)
            free = [at for at in offsets if taken.isdisjoint(range(at, at + gpus))]
            if not free:
                return self._packed(job_ids)
            kept[job_id] = free[0]
            taken.update(range(free[0], free[0] + gpus))
        return kept

    def _packed(self, job_ids: list[str]) -> dict[str, int]:
        offset = 0
        packed = {}
        for job_id in sorted(job_ids, key=lambda job_id: (-self.seats[job_id].gpus, job_id)):
            packed[job_id] = offset
            offset += self.seats[job_id].gpus
        return packed
