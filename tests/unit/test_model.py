"""The model's boundary: wrong values are refused with an error that names field and value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.model import (
    Block,
    Cluster,
    Job,
    JobKind,
    Limit,
    ModelError,
    Node,
    NodeGroup,
    Outage,
    Overhead,
    Plan,
    Policy,
    Reservation,
    Standing,
    ThroughputCurve,
    is_power_of_two,
)

CURVE = ThroughputCurve.of({1: 1.0, 2: 1.8})
NODE = Node("n1")


def job(**changes: object) -> Job:
    values: dict[str, object] = {
        "id": "a",
        "submitted": 10.0,
        "iterations": 5.0,
        "curves": (("gpu", CURVE),),
        "deadline": 20.0,
    }
    return Job(**{**values, **changes})  # type: ignore[arg-type]


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: ThroughputCurve(()), "throughput curve: ()"),
    (lambda: ThroughputCurve.of({3: 1.0}), "throughput curve GPUs: 3"),
    (lambda: ThroughputCurve.of({0: 1.0}), "throughput curve GPUs: 0"),
    (lambda: ThroughputCurve(((2, 1.0), (1, 1.0))), "throughput curve GPUs: 1"),
    (lambda: ThroughputCurve(((2, 1.0), (2, 1.0))), "throughput curve GPUs: 2"),
    (lambda: ThroughputCurve.of({4: -1.0}), "throughput at 4 GPUs: -1.0"),
    (lambda: ThroughputCurve.of({4: 0.0}), "throughput at 4 GPUs: 0.0"),
    (lambda: ThroughputCurve.of({4: math.nan}), "throughput at 4 GPUs: nan"),
    (lambda: ThroughputCurve.of({4: math.inf}), "throughput at 4 GPUs: inf"),
    (lambda: Overhead(start=-1.0), "overhead start: -1.0"),
    (lambda: Overhead(grow=math.nan, move=math.nan, restart=math.nan), "overhead grow: nan"),
    (lambda: Overhead(shrink=math.inf), "overhead shrink: inf"),
    (lambda: Overhead(per_doubling=-0.1), "overhead per_doubling: -0.1"),
    (lambda: Block("gpu", (), 1), "block nodes: ()"),
    (lambda: Block("gpu", ("a", "b", "c"), 1), "block nodes: ('a', 'b', 'c')"),
    (lambda: Block("gpu", ("a",), 3), "block GPUs per node: 3"),
    (lambda: Block("gpu", ("a",), 2, 1), "block first GPU: 1"),
    (lambda: Block("gpu", ("a",), 2, -2), "block first GPU: -2"),
    (lambda: job(plan=(Reservation(5.0, 5.0, 1, "gpu"),)), "reservation end: 5.0"),
    (lambda: job(plan=(Reservation(5.0, math.nan, 1, "gpu"),)), "reservation end: nan"),
    (lambda: job(plan=(Reservation(5.0, 6.0, 3, "gpu"),)), "reservation GPUs: 3"),
    (lambda: job(plan=(Reservation(5.0, 6.0, 2, "gpu", 1),)), "reservation first GPU: 1"),
    (lambda: job(submitted=math.nan), "submission time: nan"),
    (lambda: job(iterations=0.0), "iterations: 0.0"),
    (lambda: job(iterations=-3.0), "iterations: -3.0"),
    (lambda: job(iterations=math.nan), "iterations: nan"),
    (lambda: job(iterations=math.inf), "iterations: inf"),
    (lambda: job(curves=()), "throughput curves: ()"),
    (lambda: job(curves=(("gpu", CURVE),) * 2), "throughput curves: ['gpu', 'gpu']"),
    (lambda: job(deadline=None), "deadline: None"),
    (lambda: job(deadline=math.nan), "deadline: nan"),
    (lambda: job(deadline=math.inf), "deadline: inf"),
    (lambda: job(deadline=10.0), "deadline: 10.0"),
    (lambda: job(deadline=3.0), "deadline: 3.0"),
    (lambda: job(kind=JobKind.BEST_EFFORT), "deadline: 20.0"),
    (lambda: job(grace=60.0), "grace: 60.0"),
    (lambda: job(kind=JobKind.SOFT_DEADLINE, grace=-1.0), "grace: -1.0"),
    (lambda: job(max_gpus=-1), "max GPUs: -1"),
    (lambda: Outage(5.0, 5.0), "outage end: 5.0"),
    (lambda: Outage(5.0, 4.0), "outage end: 4.0"),
    (lambda: Outage(math.nan), "outage end: inf"),
    (lambda: Outage(0.0, gpus=0), "outage GPUs: 0"),
    (lambda: NodeGroup("gpu", 6, (NODE,)), "GPUs per node of gpu: 6"),
    (lambda: NodeGroup("gpu", 4, ()), "nodes of gpu: ()"),
    (lambda: Cluster((NodeGroup("gpu", 4, (NODE, NODE)),)), "node of gpu: 'n1'"),
    (
        lambda: Cluster((NodeGroup("a", 4, (NODE,)), NodeGroup("a", 4, (Node("n2"),)))),
        "GPU type: 'a'",
    ),
    (lambda: Cluster.uniform(0, 4), "nodes: 0"),
    (lambda: Cluster.uniform(1, 4).group("h100"), "GPU type: 'h100'"),
    (lambda: Limit(-1), "limit: -1"),
    (lambda: Policy(min_reshape_interval=-1.0), "minimum reshape interval: -1.0"),
    (lambda: Policy(growth_gain=math.nan), "growth gain: nan"),
    (lambda: Policy(min_speedup=1.0), "minimum speed-up: 1.0"),
    (lambda: Policy(min_speedup=math.nan), "minimum speed-up: nan"),
    (lambda: Policy(offer_resolution=0.0), "offer resolution: 0.0"),
]


@pytest.mark.parametrize(("make", "begins"), REFUSED, ids=[begins for _, begins in REFUSED])
def test_wrong_values_are_refused_by_name(make: Callable[[], object], begins: str) -> None:
    with pytest.raises(ModelError) as refused:
        make()
    assert str(refused.value).startswith(f"{begins} is not valid: ")
    assert refused.value.wanted


def test_an_unknown_gpu_type_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="one of gpu"):
        Cluster.uniform(1, 4).group("h100")


def test_a_deadline_that_has_passed_is_fine_once_admitted() -> None:
    """Only a newcomer's deadline must lie after its submission: promises may be broken."""
    assert job(deadline=5.0, standing=Standing.ADMITTED).deadline == 5.0


@given(number=st.integers(-4, 5000))
def test_powers_of_two(number: int) -> None:
    assert is_power_of_two(number) == (number in {1 << k for k in range(13)})


@given(nodes=st.integers(0, 4), gpus=st.integers(0, 3), offset=st.integers(0, 3))
def test_a_block_counts_its_gpus(nodes: int, gpus: int, offset: int) -> None:
    names = tuple(f"n{n}" for n in range(1 << nodes))
    block = Block("gpu", names, 1 << gpus, offset << gpus)
    assert block.gpus == (1 << nodes) * (1 << gpus)


def test_a_change_of_block_has_one_price() -> None:
    overhead = Overhead(
        start=1.0, grow=10.0, shrink=100.0, move=20.0, restart=30.0, per_doubling=0.5
    )
    one = Block("gpu", ("a",), 8)
    two = Block("gpu", ("a", "b"), 8)
    assert overhead.seconds(None, one) == 1.0 + 0.5 * 3
    assert overhead.seconds(two, two) == 0.0
    assert overhead.seconds(one, two) == 10.0 + 0.5 * 4
    assert overhead.seconds(two, one) == 100.0 + 0.5 * 3
    tail = Block("gpu", ("b",), 8)
    assert overhead.seconds(two, tail) == 30.0 + 0.5 * 3, "Slurm cannot take the first node"
    assert overhead.seconds(one, Block("gpu", ("a",), 4)) == 30.0 + 0.5 * 2
    assert overhead.seconds(one, Block("other", ("a",), 8)) == 30.0 + 0.5 * 3
    assert overhead.seconds(one, tail) == 20.0 + 0.5 * 3
    assert overhead.seconds(tail, two) == 30.0 + 0.5 * 4, "its first node would be another"
    for old, new in ((None, one), (one, two), (two, one), (one, tail), (tail, two)):
        assert Overhead.constant(30.0).seconds(old, new) == 30.0


def test_cluster_and_plan_find_their_parts() -> None:
    cluster = Cluster((NodeGroup("a", 4, (NODE,)), NodeGroup("b", 8, (Node("n2"),))))
    assert cluster.gpus == 12
    assert cluster.group("b").gpus_per_node == 8
    with pytest.raises(KeyError):
        Plan(0.0, (), (), math.inf).decision("a")


def test_values_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        job().iterations = 1.0  # type: ignore[misc]
