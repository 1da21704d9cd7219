"""Moves per event, compared with repacking everything at every event (the artifact's way)."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from ef_slurm.model import Block, Cluster, NodeGroup, same_place
from ef_slurm.planner.placement.buddy import place
from ef_slurm.planner.placement.occupancy import Request, Tenant
from tests.unit.planner.placement.counts import free_blocks

Jobs = dict[str, int]


def churn(seed: int, events: int, group: NodeGroup) -> Iterator[Jobs]:
    """The jobs present after each arrival or departure, on a cluster that is kept nearly full."""
    rng = random.Random(seed)
    gpus = len(group.nodes) * group.gpus_per_node
    largest = gpus.bit_length() - 2
    jobs: Jobs = {}
    for number in range(events):
        size = 1 << min(largest, int(rng.expovariate(0.6)))
        if sum(jobs.values()) + size <= gpus and rng.random() < 0.8:
            jobs[f"j{number}"] = size
        elif jobs:
            del jobs[rng.choice(sorted(jobs))]
        yield dict(jobs)


def moves(seed: int, events: int, group: NodeGroup, repack: bool) -> int:
    """How many jobs were given another place while they ran."""
    blocks: dict[str, Block] = {}
    moved = 0
    for jobs in churn(seed, events, group):
        stay = [] if repack else [Tenant(i, blocks[i], 1.0) for i in jobs if i in blocks]
        new = [i for i in jobs if repack or i not in blocks]
        new.sort(key=lambda job_id: (-jobs[job_id], job_id))
        placement = place(group, 0.0, stay, [Request(job_id, jobs[job_id]) for job_id in new])
        assert placement.unplaced == ()
        moved += sum(
            not same_place(block, placement.blocks[job_id])
            for job_id, block in blocks.items()
            if job_id in jobs
        )
        blocks = dict(placement.blocks)
    return moved


@pytest.mark.parametrize(("nodes", "gpus_per_node"), [(8, 8), (16, 8), (32, 4)])
def test_far_fewer_jobs_move_than_when_everything_is_repacked(
    nodes: int, gpus_per_node: int
) -> None:
    """Prints the comparison (pytest -s)."""
    group = Cluster.uniform(nodes, gpus_per_node).groups[0]
    events = 150
    ours = sum(moves(seed, events, group, repack=False) for seed in range(2))
    theirs = sum(moves(seed, events, group, repack=True) for seed in range(2))
    print(
        f"\n{nodes} x {gpus_per_node} GPUs, {2 * events} events: {ours} moves "
        f"({ours / 2 / events:.3f} per event); repacked {theirs} ({theirs / 2 / events:.3f})"
    )
    assert free_blocks(group, 0.0).gpus == nodes * gpus_per_node
    assert ours * 10 < theirs
