"""Which GPUs of a node an outage takes, where it takes some and nobody knows which.

Slurm says how many GPUs of a node somebody else's job holds, not (to us) which ones, and which ones
does not matter inside a node. The planner picks those that disturb its own plans least.
"""

from __future__ import annotations

from collections.abc import Iterable

from ef_slurm.model import Node, Outage, Reservation
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS


def assign_outages(
    node: Node, first_gpu: int, per_node: int, plans: Iterable[Reservation]
) -> list[tuple[Outage, list[int]]]:
    """GPUs for each outage of a node: first those that no plan uses, the last ones first.

    Args:
        node: with its outages.
        first_gpu: index of its first GPU.
        per_node: GPUs of the node.
        plans: reservations to spare, of any job.

    Returns:
        (outage, GPU indices). Outages at the same time take different GPUs as far as they can.
    """
    indices = range(first_gpu + per_node - 1, first_gpu - 1, -1)
    assigned: list[tuple[Outage, list[int]]] = []
    partial: list[tuple[Outage, list[int]]] = []
    for outage in sorted(node.outages, key=lambda o: (o.start, o.end, o.gpus or per_node)):
        lost = per_node if outage.gpus is None else min(outage.gpus, per_node)
        if lost == per_node:
            assigned.append((outage, list(indices)))
            continue
        used = {
            gpu
            for plan in plans
            if plan.start < outage.end - EDGE_SECONDS and outage.start + EDGE_SECONDS < plan.end
            for gpu in range(max(first_gpu, plan.first_gpu), plan.first_gpu + plan.gpus)
        }
        shared_seconds = {
            gpu: sum(_overlap_seconds(outage, other) for other, gpus in partial if gpu in gpus)
            for gpu in indices
        }
        # Two outages on one GPU would count it twice: worse than to cross a plan.
        gpus = sorted(indices, key=lambda gpu: (shared_seconds[gpu], gpu in used))[:lost]
        assigned.append((outage, gpus))
        partial.append((outage, gpus))
    return assigned


def _overlap_seconds(one: Outage, other: Outage) -> float:
    return max(0.0, min(one.end, other.end) - max(one.start, other.start))
