"""What Slurm says of nodes, reservations and other people's jobs → the planner's `Cluster`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ef_slurm.daemon.observe.gpu_types import held_of_types
from ef_slurm.daemon.observe.power import wake_seconds
from ef_slurm.daemon.observe.reserved import (
    SINCE_EVER,
    outages_around,
    outages_outside,
    type_in,
    wanted_of,
)
from ef_slurm.model import Cluster, Node, NodeGroup, Outage, PerGpu
from ef_slurm.slurm.types import HeldGpus, Observation, SlurmJob, SlurmNode

COMPLETING_SECONDS = 2.0
"""Seconds that the end of a job is taken to need: Slurm's part, and some of KillWait."""

OVERDUE_SECONDS = 60.0
"""Seconds that somebody's job is taken to need still when its time limit has passed."""

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class ResourceScope:
    """Where ef-slurm may schedule.

    Args:
        partitions: names; a node of any of them counts.
        order: node names in the site's order (switch by switch); others follow as Slurm has them.
        reservation: the reservation that the site gives us; its nodes are ours, and only they.
        gpu_type: what GPUs are called whose gres names no type.
    """

    partitions: frozenset[str]
    order: tuple[str, ...] = ()
    reservation: str = ""
    gpu_type: str = "gpu"


@dataclass(frozen=True, slots=True)
class _Group:
    gpu_type: str
    nodes: list[_Part] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Part:
    """The GPUs of one type of a node; `slurm_types` are Slurm's names of it ("" for none)."""

    node: SlurmNode
    slurm_types: tuple[str, ...]
    count: int


def cluster_of(
    observation: Observation,
    scope: ResourceScope,
    ours: Collection[int],
    asked: PerGpu | None = None,
    reservations: Collection[str] = (),
    given: Mapping[str, int] = MappingProxyType({}),
) -> Cluster:
    """The nodes that we may use, with what is foreseen of their absences.

    Args:
        ours: Slurm job ids of the queue's own jobs: whatever else runs is somebody else's, and its
            GPUs are gone until its time limit.
        asked: the most CPUs and memory that one of these jobs asks for with a GPU. What others hold
            of them leaves so many GPUs fewer to use.
        reservations: those that jobs ask for by name.
        given: GPUs of each node that our jobs are to hold now, be they there yet or not.

    Raises:
        ModelError: nothing there to schedule on.
    """
    foreign = _foreign_holdings(observation, ours, given)
    everywhere = observation.reservations
    reserved = outages_outside(everywhere, {scope.reservation})
    groups: dict[str, _Group] = {}
    for node in _ordered(nodes_of(observation, scope), scope.order):
        parts: dict[str, _Part] = {}
        for gpu in node.gpus:
            kind = gpu.gpu_type or scope.gpu_type
            known = parts.get(kind, _Part(node, (), 0))
            parts[kind] = _Part(node, (*known.slurm_types, gpu.gpu_type), known.count + gpu.count)
        for kind, part in parts.items():
            groups.setdefault(kind, _Group(kind)).nodes.append(part)
    found = [
        _group(group, foreign, reserved, observation, asked or PerGpu())
        for _, group in sorted(groups.items())
        if any(part.count for part in group.nodes)
    ]
    for one in wanted_of(everywhere, reservations, scope.reservation):
        others = outages_outside(everywhere, {scope.reservation, one.name})
        around = {name: [*others.get(name, ()), *outages_around(one)] for name in one.nodes}
        for kind, group in sorted(groups.items()):
            members = [part for part in group.nodes if part.node.name in around]
            if any(part.count for part in members):
                inside = _Group(type_in(kind, one.name), members)
                found.append(_group(inside, foreign, around, observation, asked or PerGpu()))
    return Cluster(tuple(found))


def _group(
    group: _Group,
    foreign: Mapping[str, Sequence[_Holding]],
    reserved: Mapping[str, Sequence[Outage]],
    observation: Observation,
    asked: PerGpu,
) -> NodeGroup:
    size = _power_of_two_above(max(part.count for part in group.nodes))
    nodes = []
    for part in group.nodes:
        node, count = part.node, part.count
        per_gpu = _per_gpu(node, observation)
        outages: list[Outage] = []
        if not node.usable or count == 0:
            outages.append(Outage(SINCE_EVER))
        elif count < size:
            outages.append(Outage(SINCE_EVER, gpus=size - count))
        outages += _held_outages(part, per_gpu, asked, foreign.get(node.name, ()))
        outages += reserved.get(node.name, ())
        wakes = wake_seconds(node, observation.power)
        nodes.append(Node(node.name, tuple(outages), wakes, per_gpu))
    return NodeGroup(group.gpu_type, size, tuple(nodes))


def nodes_of(observation: Observation, scope: ResourceScope) -> Iterator[SlurmNode]:
    """The nodes that are ours to schedule, usable or not."""
    inside: frozenset[str] | None = None
    if scope.reservation:
        inside = frozenset(
            name
            for reservation in observation.reservations
            if reservation.name == scope.reservation
            for name in reservation.nodes
        )
    for node in observation.nodes:
        if scope.partitions.isdisjoint(node.partitions):
            continue
        if node.gpu_total and (inside is None or node.name in inside):
            yield node


def _ordered(nodes: Iterable[SlurmNode], order: Sequence[str]) -> list[SlurmNode]:
    rank = {name: place for place, name in enumerate(order)}
    return sorted(nodes, key=lambda node: rank.get(node.name, len(rank)))


@dataclass(frozen=True, slots=True)
class _Holding:
    """What somebody's job holds on each of its nodes, until its time limit."""

    held: tuple[HeldGpus, ...]
    end: float
    cpus: float
    memory: float


def _per_gpu(node: SlurmNode, observation: Observation) -> PerGpu:
    """Each GPU's share of the node's CPUs and of its memory, where memory counts."""
    gpus = max(1, node.gpu_total)
    return PerGpu(node.cpus / gpus, node.memory / gpus if observation.memory_counts else 0.0)


def _held_outages(
    part: _Part, per_gpu: PerGpu, asked: PerGpu, holdings: Iterable[_Holding]
) -> Iterator[Outage]:
    """GPUs that somebody holds, or that cannot be used for want of the CPUs and memory held.

    A GPU whose share of these is only touched can be used as far as our jobs ask for less than all
    of their shares.
    """
    pairs = ((per_gpu.cpus, asked.cpus), (per_gpu.memory, asked.memory))
    gpus, cpus, memory, lost = 0, 0.0, 0.0, 0
    # Who stays longest first: whoever is there at some moment is the first so many of them.
    for holding in sorted(holdings, key=lambda one: -one.end):
        gone = held_of_types(part.node, holding.held)
        gpus += sum(gone[gpu_type] for gpu_type in part.slurm_types)
        cpus += holding.cpus
        memory += holding.memory
        worth = max(
            _gpus_worth(held, fair, wanted, part.node.gpu_total)
            for held, (fair, wanted) in zip((cpus, memory), pairs, strict=True)
        )
        without = max(gpus, min(part.count, worth))
        if without > lost:
            yield Outage(SINCE_EVER, holding.end, without - lost)
            lost = without


def _gpus_worth(held: float, fair: float, wanted: float, gpus: int) -> int:
    """How many GPUs of a node cannot be used because so much of a resource is held.

    Args:
        fair: each GPU's share.
        wanted: what our jobs ask for with a GPU; who asks for more than the share counts as several
            GPUs (`model.footprint`).
        gpus: of the node.
    """
    if not fair:
        return 0
    if not wanted:
        return math.floor(held / fair + _ROUNDING)
    left = (fair * gpus - held) / min(wanted, fair)
    return max(0, gpus - math.floor(left + _ROUNDING))


def _foreign_holdings(
    observation: Observation, ours: Collection[int], given: Mapping[str, int]
) -> dict[str, list[_Holding]]:
    """By node.

    What is about to be free, and has been given to one of our jobs that waits for it, is that
    job's: else it would seem that the node has too few GPUs for those that are there.
    """
    holdings: dict[str, list[_Holding]] = defaultdict(list)
    left = {node.name: node.gpu_total - given.get(node.name, 0) for node in observation.nodes}
    theirs = [job for job in observation.jobs.values() if job.job_id not in ours]
    # Who stays longest first: of two it is the one that leaves that has made room.
    for job in sorted(theirs, key=lambda job: (-end_of(job, observation.at), job.job_id)):
        if not job.holds_nodes:
            continue
        end = end_of(job, observation.at)
        holding = _Holding(job.held, end, job.cpus_per_node, job.memory_per_node)
        for node in dict.fromkeys([*job.nodes, *(one.node for one in job.held)]):
            left[node] = left.get(node, 0) - sum(one.count for one in job.held if one.node == node)
            if left[node] >= 0 or end > observation.at + COMPLETING_SECONDS:
                holdings[node].append(holding)
    return holdings


def end_of(job: SlurmJob, now: float) -> float:
    """When somebody's job that runs is taken to end."""
    if "COMPLETING" in job.flags:
        return now + COMPLETING_SECONDS
    if job.end_time is None or math.isinf(job.end_time):
        return math.inf
    return job.end_time if job.end_time > now else now + OVERDUE_SECONDS


def _power_of_two_above(number: int) -> int:
    return 1 << (number - 1).bit_length()
