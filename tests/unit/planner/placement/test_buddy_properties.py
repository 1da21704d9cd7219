"""Property 6: what fits is placed, and the fewest and cheapest jobs move for it."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.model import Block, Cluster, NodeGroup, same_place
from ef_slurm.planner.placement.buddy import Placement, place
from ef_slurm.planner.placement.free_blocks import usable_gpus
from ef_slurm.planner.placement.occupancy import Request, Tenant
from tests.unit.planner.placement.counts import free_blocks
from tests.unit.planner.strategies import node_groups

NOW = 0.0


def assert_sound(group: NodeGroup, placement: Placement) -> None:
    """Aligned, disjoint, inside the group, on usable GPUs only."""
    index = {node.name: number for number, node in enumerate(group.nodes)}
    held = dict.fromkeys(index, 0)
    taken: set[tuple[str, int]] = set()
    for block in placement.blocks.values():
        first = index[block.nodes[0]]
        assert block.gpu_type == group.gpu_type
        assert first % len(block.nodes) == 0
        assert [index[name] for name in block.nodes] == list(range(first, first + len(block.nodes)))
        assert len(block.nodes) == 1 or block.gpus_per_node == group.gpus_per_node
        for name in block.nodes:
            held[name] += block.gpus_per_node
            for gpu in range(block.first_gpu, block.first_gpu + block.gpus_per_node):
                assert gpu < group.gpus_per_node
                if block.first_gpu % block.gpus_per_node == 0:
                    assert (name, gpu) not in taken
                    taken.add((name, gpu))
    for node in group.nodes:
        assert held[node.name] <= usable_gpus(node, group.gpus_per_node, NOW)


@st.composite
def fillings(draw: st.DrawFn, group: NodeGroup, share: float = 1.0) -> list[int]:
    """Sizes that have room together, in a random order."""
    left = free_blocks(group, NOW)
    sizes: list[int] = []
    limit = left.gpus * share
    for _ in range(draw(st.integers(0, 24))):
        size = 1 << draw(st.integers(0, max(0, left.largest.bit_length() - 1)))
        if sum(sizes) + size <= limit and left.fits([*sizes, size]):
            sizes.append(size)
    return sizes


@st.composite
def crowds(
    draw: st.DrawFn, max_nodes: int = 9, max_gpus_per_node: int = 8
) -> tuple[NodeGroup, list[Tenant], list[int]]:
    """A group, tenants scattered by departures, and sizes that fit if these may move."""
    group = draw(node_groups(max_nodes=max_nodes, max_gpus_per_node=max_gpus_per_node))
    first = place(
        group, NOW, [], [Request(f"r{n}", s) for n, s in enumerate(draw(fillings(group)))]
    )
    stay = draw(st.lists(st.booleans(), min_size=len(first.blocks), max_size=len(first.blocks)))
    costs = st.integers(0, 4).map(float)
    tenants = [
        Tenant(job_id, block, draw(costs))
        for (job_id, block), stays in zip(first.blocks.items(), stay, strict=True)
        if stays
    ]
    sizes: list[int] = [tenant.block.gpus for tenant in tenants]
    whole = free_blocks(group, NOW)
    wanted: list[int] = []
    for _ in range(draw(st.integers(1, 6))):
        size = 1 << draw(st.integers(0, max(0, whole.largest.bit_length() - 1)))
        if whole.fits([*sizes, *wanted, size]):
            wanted.append(size)
    return group, tenants, wanted


def requests_of(sizes: Iterable[int], prefix: str = "w") -> list[Request]:
    return [Request(f"{prefix}{number}", size) for number, size in enumerate(sizes)]


@given(data=st.data())
def test_whatever_has_room_is_placed(data: st.DataObject) -> None:
    group = data.draw(node_groups())
    sizes = data.draw(fillings(group))
    placement = place(group, NOW, [], requests_of(sizes))
    assert placement.unplaced == ()
    assert_sound(group, placement)
    assert sorted(block.gpus for block in placement.blocks.values()) == sorted(sizes)


@given(
    nodes=st.integers(0, 4).map(lambda k: 1 << k),
    gpus_per_node=st.sampled_from([1, 2, 4, 8]),
    exponents=st.lists(st.integers(0, 7)),
)
def test_without_holes_only_the_sum_counts(
    nodes: int, gpus_per_node: int, exponents: list[int]
) -> None:
    group = Cluster.uniform(nodes, gpus_per_node).groups[0]
    sizes: list[int] = []
    for exponent in exponents:
        if sum(sizes) + (1 << exponent) <= nodes * gpus_per_node:
            sizes.append(1 << exponent)
    assert place(group, NOW, [], requests_of(sizes)).unplaced == ()


def _block_choices(group: NodeGroup, size: int) -> list[tuple[tuple[int, ...], int]]:
    if size < group.gpus_per_node:
        return [((node,), size) for node in range(len(group.nodes))]
    count = size // group.gpus_per_node
    starts = range(0, len(group.nodes) - count + 1, count)
    return [(tuple(range(start, start + count)), group.gpus_per_node) for start in starts]


def _any_way(group: NodeGroup, sizes: Sequence[int], free: list[int]) -> bool:
    if not sizes:
        return True
    for nodes, gpus in _block_choices(group, sizes[0]):
        if all(free[node] >= gpus for node in nodes):
            for node in nodes:
                free[node] -= gpus
            fits = _any_way(group, sizes[1:], free)
            for node in nodes:
                free[node] += gpus
            if fits:
                return True
    return False


@given(group=node_groups(max_nodes=4, max_gpus_per_node=4), data=st.data())
def test_the_fit_theorem_agrees_with_trying_every_way(
    group: NodeGroup, data: st.DataObject
) -> None:
    largest = (len(group.nodes) * group.gpus_per_node).bit_length() - 1
    sizes = data.draw(st.lists(st.integers(0, largest).map(lambda k: 1 << k), max_size=6))
    free = [usable_gpus(node, group.gpus_per_node, NOW) for node in group.nodes]
    assert free_blocks(group, NOW).fits(sizes) == _any_way(group, sizes, free)


@given(crowd=crowds())
def test_a_must_is_placed_whoever_has_to_move(
    crowd: tuple[NodeGroup, list[Tenant], list[int]],
) -> None:
    group, tenants, sizes = crowd
    placement = place(group, NOW, tenants, requests_of(sizes))
    assert placement.unplaced == ()
    assert_sound(group, placement)
    for tenant in tenants:
        stays = same_place(tenant.block, placement.blocks[tenant.job_id])
        assert stays == (tenant.job_id not in placement.migrated)
        assert placement.blocks[tenant.job_id].gpus == tenant.block.gpus


def _least_moves(
    group: NodeGroup, tenants: Sequence[Tenant], sizes: list[int]
) -> tuple[float, int]:
    """Least (cost, jobs moved) over every set of tenants."""
    best = (math.inf, 0)
    for count in range(len(tenants) + 1):
        for moved in itertools.combinations(tenants, count):
            rank = (sum(tenant.move_cost for tenant in moved), count)
            if rank >= best:
                continue
            gone = {tenant.job_id for tenant in moved}
            stay = [tenant.block for tenant in tenants if tenant.job_id not in gone]
            again = [tenant.block.gpus for tenant in moved]
            if free_blocks(group, NOW, stay).fits([*again, *sizes]):
                best = rank
    return best


@given(crowd=crowds(max_nodes=6, max_gpus_per_node=4))
def test_the_cheapest_set_moves(crowd: tuple[NodeGroup, list[Tenant], list[int]]) -> None:
    group, tenants, sizes = crowd
    tenants = tenants[:10]
    placement = place(group, NOW, tenants, requests_of(sizes))
    costs = {tenant.job_id: tenant.move_cost for tenant in tenants}
    took = (sum(costs[job_id] for job_id in placement.migrated), len(placement.migrated))
    assert took == _least_moves(group, tenants, sizes)


@given(crowd=crowds(), seed=st.integers(0, 1000))
def test_the_order_of_tenants_does_not_matter(
    crowd: tuple[NodeGroup, list[Tenant], list[int]], seed: int
) -> None:
    group, tenants, sizes = crowd
    mixed = list(tenants)
    random.Random(seed).shuffle(mixed)
    assert place(group, NOW, tenants, requests_of(sizes)) == place(
        group, NOW, mixed, requests_of(sizes)
    )


@given(crowd=crowds(), size=st.integers(0, 6).map(lambda k: 1 << k))
def test_one_newcomer_leaves_the_largest_blocks(
    crowd: tuple[NodeGroup, list[Tenant], list[int]], size: int
) -> None:
    """No other block would leave more room at the largest size at which they differ."""
    group, tenants, _ = crowd
    before = [tenant.block for tenant in tenants]
    placement = place(group, NOW, tenants, [Request("new", size, must=False)])
    counts = []
    for nodes, gpus in _block_choices(group, size):
        names = tuple(group.nodes[node].name for node in nodes)
        candidate = Block(group.gpu_type, names, gpus)
        trial = place(group, NOW, [Tenant("new", candidate, math.inf), *tenants], [])
        if not trial.migrated and not trial.unplaced:
            counts.append(free_blocks(group, NOW, [*before, candidate]).by_size[::-1])
    assert (placement.unplaced == ()) == bool(counts)
    if counts:
        taken = [*before, placement.blocks["new"]]
        assert free_blocks(group, NOW, taken).by_size[::-1] == max(counts)


@given(crowd=crowds(), optional=st.lists(st.integers(0, 5).map(lambda k: 1 << k), max_size=6))
def test_optional_requests_move_nobody(
    crowd: tuple[NodeGroup, list[Tenant], list[int]], optional: list[int]
) -> None:
    group, tenants, _ = crowd
    requests = [Request(f"o{n}", size, must=False) for n, size in enumerate(optional)]
    placement = place(group, NOW, tenants, requests)
    assert_sound(group, placement)
    assert placement.migrated == ()
    left = free_blocks(group, NOW, list(placement.blocks.values()))
    for request in requests:
        if request.job_id in placement.unplaced:
            assert not left.fits([request.gpus])
