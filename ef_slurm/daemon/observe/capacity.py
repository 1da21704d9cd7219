"""What Slurm says of nodes, reservations and other people's jobs → the planner's `Cluster`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ef_slurm.model import Cluster, Node, NodeGroup, Outage
from ef_slurm.slurm.types import Observation, SlurmJob, SlurmNode, SlurmReservation

OVERDUE_SECONDS = 60.0
"""Seconds that somebody's job is taken to need still when its time limit has passed."""

SINCE_EVER = 0.0


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
    nodes: list[tuple[SlurmNode, int]] = field(default_factory=list)


def cluster_of(observation: Observation, scope: ResourceScope, ours: Collection[int]) -> Cluster:
    """The nodes that we may use, with what is foreseen of their absences.

    `ours` are the Slurm job ids of the queue's own jobs: whatever else runs is somebody else's, and
    its GPUs are gone until its time limit.

    Raises:
        ModelError: nothing there to schedule on.
    """
    foreign = _foreign_outages(observation, ours)
    reserved = _reserved_outages(observation.reservations, scope)
    groups: dict[str, _Group] = {}
    for node in _ordered(_members(observation, scope), scope.order):
        for gpu in node.gpus[:1]:
            kind = gpu.gpu_type or scope.gpu_type
            groups.setdefault(kind, _Group(kind)).nodes.append((node, gpu.count))
    return Cluster(
        tuple(
            _group(group, foreign, reserved)
            for _, group in sorted(groups.items())
            if any(count for _, count in group.nodes)
        )
    )


def _group(
    group: _Group,
    foreign: Mapping[str, Sequence[Outage]],
    reserved: Mapping[str, Sequence[Outage]],
) -> NodeGroup:
    size = _power_of_two_above(max(count for _, count in group.nodes))
    nodes = []
    for node, count in group.nodes:
        outages: list[Outage] = []
        if not node.usable or count == 0:
            outages.append(Outage(SINCE_EVER))
        elif count < size:
            outages.append(Outage(SINCE_EVER, gpus=size - count))
        outages += foreign.get(node.name, ())
        outages += reserved.get(node.name, ())
        nodes.append(Node(node.name, tuple(outages)))
    return NodeGroup(group.gpu_type, size, tuple(nodes))


def _members(observation: Observation, scope: ResourceScope) -> Iterator[SlurmNode]:
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


def _foreign_outages(observation: Observation, ours: Collection[int]) -> dict[str, list[Outage]]:
    outages: dict[str, list[Outage]] = defaultdict(list)
    for job in sorted(observation.jobs.values(), key=lambda job: job.job_id):
        if job.job_id in ours or not job.holds_nodes:
            continue
        end = _end_of(job, observation.at)
        for node, gpus in job.gpus:
            if gpus:
                outages[node].append(Outage(SINCE_EVER, end, gpus))
    return outages


def _end_of(job: SlurmJob, now: float) -> float:
    if job.end_time is None or math.isinf(job.end_time):
        return math.inf
    return job.end_time if job.end_time > now else now + OVERDUE_SECONDS


def _reserved_outages(
    reservations: Iterable[SlurmReservation], scope: ResourceScope
) -> dict[str, list[Outage]]:
    outages: dict[str, list[Outage]] = defaultdict(list)
    for reservation in sorted(reservations, key=lambda one: (one.start, one.name)):
        if reservation.name == scope.reservation or not reservation.start < reservation.end:
            continue
        for node in reservation.nodes:
            outages[node].append(Outage(reservation.start, reservation.end))
    return outages


def _power_of_two_above(number: int) -> int:
    return 1 << (number - 1).bit_length()
