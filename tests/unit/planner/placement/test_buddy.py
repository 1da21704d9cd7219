"""Placement of single cases: what moves, what stays, what is refused."""

from __future__ import annotations

import math

import pytest

from ef_slurm.model import Block, Cluster, ModelError, Node, NodeGroup, Outage, same_place
from ef_slurm.planner.placement.buddy import place
from ef_slurm.planner.placement.occupancy import Request, Tenant
from tests.unit.planner.placement.counts import free_blocks


def group(nodes: int, gpus_per_node: int, down: tuple[int, ...] = ()) -> NodeGroup:
    members = (
        Node(f"n{number}", (Outage(0.0),) if number in down else ())
        for number in range(1, nodes + 1)
    )
    return NodeGroup("gpu", gpus_per_node, tuple(members))


def whole(first: int, count: int, gpus_per_node: int) -> Block:
    return Block("gpu", tuple(f"n{n}" for n in range(first, first + count)), gpus_per_node)


def test_a_new_job_takes_the_smallest_hole_that_holds_it() -> None:
    tenant = Tenant("a", Block("gpu", ("n2",), 1))
    placement = place(group(4, 4), 0.0, [tenant], [Request("b", 2), Request("c", 1)])
    assert placement.blocks["b"] == Block("gpu", ("n2",), 2, first_gpu=2)
    assert placement.blocks["c"] == Block("gpu", ("n2",), 1, first_gpu=1)
    assert placement.blocks["a"] == tenant.block


def test_equal_holes_are_filled_where_it_is_crowded() -> None:
    placement = place(
        group(8, 2), 0.0, [Tenant("a", whole(6, 1, 2))], [Request("b", 2), Request("c", 4)]
    )
    assert placement.blocks["b"].nodes == ("n5",)
    assert placement.blocks["c"].nodes == ("n7", "n8")


def test_nothing_moves_when_everything_fits() -> None:
    tenants = [Tenant("a", whole(1, 1, 4)), Tenant("b", whole(3, 1, 4))]
    placement = place(group(4, 4), 0.0, tenants, [Request("c", 4), Request("d", 4)])
    assert placement.migrated == ()
    assert placement.unplaced == ()


def test_the_cheaper_job_moves() -> None:
    tenants = [Tenant("a", whole(1, 1, 4), 5.0), Tenant("b", whole(3, 1, 4), 4.0)]
    placement = place(group(4, 4), 0.0, tenants, [Request("c", 8)])
    assert placement.migrated == ("b",)
    assert placement.blocks["c"].nodes == ("n3", "n4")
    assert placement.blocks["b"].nodes == ("n2",)


def test_a_job_that_may_not_be_moved_stays() -> None:
    tenants = [Tenant("a", whole(1, 1, 4), 5.0), Tenant("b", whole(3, 1, 4), math.inf)]
    assert place(group(4, 4), 0.0, tenants, [Request("c", 8)]).migrated == ("a",)
    pinned = [Tenant("a", whole(1, 1, 4), math.inf), tenants[1]]
    assert place(group(4, 4), 0.0, pinned, [Request("c", 8)]).unplaced == ("c",)


def test_nobody_moves_for_a_request_that_need_not_be_placed() -> None:
    tenants = [Tenant("a", whole(1, 1, 4)), Tenant("b", whole(3, 1, 4))]
    placement = place(group(4, 4), 0.0, tenants, [Request("c", 8, must=False)])
    assert placement.migrated == ()
    assert placement.unplaced == ("c",)


def test_what_was_moved_away_can_move_others() -> None:
    """`big` wants n1 n2, which sends `mid` to n3 and the `small` there to n4."""
    tenants = [
        Tenant("mid", whole(1, 1, 4), 1.0),
        Tenant("fixed", Block("gpu", ("n4",), 2), math.inf),
        Tenant("small", Block("gpu", ("n3",), 2), 1.0),
    ]
    placement = place(group(4, 4), 0.0, tenants, [Request("big", 8)])
    assert placement.migrated == ("mid", "small")
    assert placement.blocks["mid"].nodes == ("n3",)
    assert placement.blocks["small"].nodes == ("n4",)


def test_inside_a_node_only_the_count_matters() -> None:
    """1 + 1 GPUs at offsets 0 and 2 leave 2 of 4: no move, only other books."""
    tenants = [
        Tenant("a", Block("gpu", ("n1",), 1, 0)),
        Tenant("b", Block("gpu", ("n1",), 1, 2)),
    ]
    placement = place(group(1, 4), 0.0, tenants, [Request("c", 2)])
    assert placement.migrated == ()
    assert sorted(block.first_gpu for block in placement.blocks.values()) == [0, 2, 3]
    assert same_place(placement.blocks["b"], tenants[1].block)


def test_a_job_on_a_node_that_went_away_is_placed_anew() -> None:
    placement = place(group(2, 4, down=(1,)), 0.0, [Tenant("a", whole(1, 1, 4), math.inf)], [])
    assert placement.blocks["a"].nodes == ("n2",)
    assert placement.migrated == ("a",)


def test_a_job_without_any_place_left_is_named() -> None:
    tenants = [Tenant("a", whole(1, 2, 4)), Tenant("b", whole(3, 1, 4))]
    placement = place(group(3, 4, down=(2,)), 0.0, tenants, [])
    assert placement.unplaced == ("a",)
    assert placement.blocks["b"] == tenants[1].block


def test_a_node_unknown_to_the_group_counts_as_gone() -> None:
    placement = place(group(1, 4), 0.0, [Tenant("a", Block("gpu", ("old",), 4))], [])
    assert placement.blocks["a"].nodes == ("n1",)


def test_when_not_all_fit_the_earlier_request_wins() -> None:
    requests = [Request("late", 4), Request("later", 4), Request("small", 2)]
    placement = place(group(1, 4), 0.0, [], requests)
    assert placement.unplaced == ("later", "small")


def test_a_stay_that_an_outage_would_cut_short_goes_elsewhere() -> None:
    nodes = (Node("n1", (Outage(50.0),)), Node("n2"), Node("n3"), Node("n4"))
    four = NodeGroup("gpu", 4, nodes)
    crowded = [Tenant("a", Block("gpu", ("n1",), 2))]
    for until, node in ((40.0, "n1"), (50.0, "n1"), (60.0, "n2")):
        placement = place(four, 0.0, crowded, [Request("b", 2, until=until)])
        assert placement.blocks["b"].nodes == (node,)


def test_an_outage_is_no_reason_to_leave_a_job_out() -> None:
    only = NodeGroup("gpu", 4, (Node("n1", (Outage(50.0),)),))
    assert place(only, 0.0, [], [Request("b", 2, until=60.0)]).unplaced == ()


def test_room_knows_the_largest_block() -> None:
    holed = free_blocks(group(5, 8, down=(2,)), 0.0)
    assert holed.gpus == 32
    assert holed.largest == 16
    assert holed.fits([16, 8, 8])
    assert not holed.fits([16, 16])
    pinned = free_blocks(group(4, 8), 0.0, [Block("gpu", ("n1",), 4), whole(3, 1, 8)])
    assert pinned.gpus == 20
    assert pinned.largest == 8


def test_wrong_input_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="GPUs of job a: 3"):
        Request("a", 3)
    with pytest.raises(ModelError, match="move cost: nan"):
        Tenant("a", whole(1, 1, 4), math.nan)
    with pytest.raises(ModelError, match="job: 'a' is not valid: placed once"):
        place(group(1, 4), 0.0, [Tenant("a", whole(1, 1, 4))], [Request("a", 1)])
    other = Block("other", ("n1",), 4)
    with pytest.raises(ModelError, match="block GPU type: 'other'"):
        place(Cluster.uniform(1, 4).groups[0], 0.0, [Tenant("a", other)], [])
