"""Who holds what in a node group while a placement is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ef_slurm.model import Block, ModelError, NodeGroup, is_power_of_two
from ef_slurm.planner.placement.free_blocks import Counts, ranked, usable_gpus
from ef_slurm.planner.placement.migration import Candidate, cheapest_set


@dataclass(frozen=True, slots=True)
class Tenant:
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
class PlacedJob:
    """Where a job is: `gpus` on each of the nodes with these indices."""

    nodes: tuple[int, ...]
    gpus: int
    block: Block
    move_cost: float
    new: bool = False


class Occupancy:
    """The group while a placement is made: free GPUs per node, and who holds what."""

    def __init__(self, group: NodeGroup, now: float) -> None:
        self.group = group
        self.gpus = group.gpus_per_node
        self.index = {node.name: index for index, node in enumerate(group.nodes)}
        self.free = [usable_gpus(node, self.gpus, now) for node in group.nodes]
        self.placed: dict[str, PlacedJob] = {}
        ahead = [
            min((o.start for o in node.outages if o.start > now), default=math.inf)
            for node in group.nodes
        ]
        self.outage_from = np.array(ahead)

    def keep_in_place(self, tenants: Sequence[Tenant]) -> list[Tenant]:
        """Let tenants stay where they are. Returns those that cannot."""
        displaced = []
        sharing: dict[int, list[Candidate]] = {}
        placed: dict[str, tuple[Tenant, tuple[int, ...]]] = {}
        for tenant in tenants:
            block = tenant.block
            if block.gpu_type != self.group.gpu_type:
                raise ModelError("block GPU type", block.gpu_type, self.group.gpu_type)
            nodes = tuple(self.index.get(name, -1) for name in block.nodes)
            if min(nodes) < 0:  # a node of it has left the group
                displaced.append(tenant)
                continue
            placed[tenant.job_id] = (tenant, nodes)
            for node in nodes:
                holder = Candidate(tenant.job_id, node, block.gpus_per_node, tenant.move_cost)
                sharing.setdefault(node, []).append(holder)
        # Outages may leave a node fewer GPUs than its jobs hold: the cheapest ones go.
        gone: set[str] = set()
        for node, holders in sharing.items():
            over = sum(holder.gpus for holder in holders) - self.free[node]
            if over > 0:
                gone.update(holder.job_id for holder in cheapest_set(holders, over) or ())
        for job_id, (tenant, nodes) in placed.items():
            if job_id in gone:
                displaced.append(tenant)
            else:
                block = tenant.block
                job = PlacedJob(nodes, block.gpus_per_node, block, tenant.move_cost)
                self.placed[job_id] = job
                for node in nodes:
                    self.free[node] -= job.gpus
        return displaced

    def remove(self, job_id: str) -> PlacedJob:
        """Take a job out."""
        job = self.placed.pop(job_id)
        for node in job.nodes:
            self.free[node] += job.gpus
        return job

    def candidates(self) -> list[Candidate]:
        """The jobs that may be moved. One in a block that is not aligned counts as fixed."""
        found = []
        for job_id, job in self.placed.items():
            first, count = job.nodes[0], len(job.nodes)
            aligned = count == 1 or (
                first % count == 0
                and job.gpus == self.gpus
                and job.nodes == tuple(range(first, first + count))
            )
            if aligned and math.isfinite(job.move_cost):
                found.append(Candidate(job_id, first, job.gpus * count, job.move_cost))
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
                self.placed[request.job_id] = PlacedJob(
                    nodes, size // count, block, math.inf, new=True
                )
                for index in nodes:
                    self.free[index] -= size // count

    def _matched(
        self, batch: list[Request], best: Counts, count: int
    ) -> tuple[list[Request], list[int]]:
        """Requests and their first nodes: the best ranked whose outage comes after the stay."""
        if not np.isfinite(self.outage_from).any():  # no outage ahead: as they are ranked
            return batch, best[: len(batch)].tolist()
        # Ranked places by when their outage comes; the best of each at the end of its list.
        queues: dict[float, list[int]] = {}
        for position in range(best.size - 1, -1, -1):
            node = int(best[position])
            outage = float(self.outage_from[node : node + count].min())
            queues.setdefault(outage, []).append(position)
        chosen = []
        order = sorted(batch, key=lambda request: request.until)
        for request in order:
            # Who leaves first chooses first: it can do with the places that others cannot use.
            lasting = [outage for outage in queues if outage >= request.until]
            outage = min(lasting, key=lambda outage: queues[outage][-1]) if lasting else max(queues)
            chosen.append(int(best[queues[outage].pop()]))
            if not queues[outage]:
                del queues[outage]
        return order, chosen

    def blocks(self) -> dict[str, Block]:
        """Every job's block, with offsets inside shared nodes that do not overlap."""
        blocks = {job_id: job.block for job_id, job in self.placed.items()}
        sharing: dict[int, list[str]] = {}
        for job_id, job in self.placed.items():
            if job.gpus < self.gpus and len(job.nodes) == 1:
                sharing.setdefault(job.nodes[0], []).append(job_id)
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
            job = self.placed[job_id]
            span = range(job.block.first_gpu, job.block.first_gpu + job.gpus)
            if job.new or span.stop > self.gpus or not taken.isdisjoint(span):
                new.append(job_id)
            else:
                kept[job_id] = span.start
                taken.update(span)
        for job_id in sorted(new, key=lambda job_id: (-self.placed[job_id].gpus, job_id)):
            gpus = self.placed[job_id].gpus
            offsets = range(0, self.gpus, gpus)
            free = [at for at in offsets if taken.isdisjoint(range(at, at + gpus))]
            if not free:  # those that kept their place leave no aligned gap
                return self._packed(job_ids)
            kept[job_id] = free[0]
            taken.update(range(free[0], free[0] + gpus))
        return kept

    def _packed(self, job_ids: list[str]) -> dict[str, int]:
        """First GPUs with everybody packed anew, the largest first: then each one is aligned."""
        offset = 0
        packed = {}
        for job_id in sorted(job_ids, key=lambda job_id: (-self.placed[job_id].gpus, job_id)):
            packed[job_id] = offset
            offset += self.placed[job_id].gpus
        return packed
