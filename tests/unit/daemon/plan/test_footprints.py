"""Jobs that take more of a node than their GPUs: there and back again, and planned together."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.daemon.plan.footprints import (
    PLAIN,
    Footprint,
    footprints_of,
    narrow_block,
    narrowed,
    widened,
)
from ef_slurm.model import (
    Bar,
    Block,
    Cluster,
    Job,
    JobKind,
    Node,
    NodeGroup,
    Outcome,
    PerGpu,
    Policy,
    Reservation,
    Running,
    ThroughputCurve,
    footprint,
)
from ef_slurm.planner.plan import plan

CURVE = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0})
NODE = PerGpu(16.0, 64_000.0)


def cluster(nodes: int = 2, *smaller: str) -> Cluster:
    """Nodes of four GPUs with 64 CPUs; the smaller ones have 32."""
    return Cluster(
        (
            NodeGroup(
                "gpu",
                4,
                tuple(
                    Node(f"n{n}", per_gpu=PerGpu(8.0) if f"n{n}" in smaller else NODE)
                    for n in range(1, nodes + 1)
                ),
            ),
        )
    )


def job(name: str = "1", **other: object) -> Job:
    return Job(name, 0.0, 100.0, (("gpu", CURVE),), kind=JobKind.BEST_EFFORT, **other)  # type: ignore[arg-type]


@given(
    st.builds(PerGpu, st.floats(0, 100), st.floats(0, 500_000)),
    st.builds(PerGpu, st.floats(0, 100), st.floats(0, 500_000)),
)
def test_the_dominant_resource_decides(asked: PerGpu, fair: PerGpu) -> None:
    factor = footprint(asked, fair)
    assert factor & (factor - 1) == 0
    for wanted, have in ((asked.cpus, fair.cpus), (asked.memory, fair.memory)):
        if have > 0 and factor < 1 << 20:
            assert wanted <= have * factor * (1 + 1e-6)
    if factor > 1:  # half as much would not be enough
        assert asked.cpus > fair.cpus * factor / 2 * (1 - 1e-6) > 0 or (
            asked.memory > fair.memory * factor / 2 * (1 - 1e-6) > 0
        )


def test_who_asks_for_no_more_than_the_share_is_left_as_it_is() -> None:
    for asked in (PerGpu(), PerGpu(16.0), PerGpu(4.0, 64_000.0)):
        takes = footprints_of(asked, cluster())
        assert takes == {"gpu": PLAIN}
        one = job()
        assert widened(one, takes) is one


def test_twice_the_cpus_take_twice_the_gpus() -> None:
    takes = footprints_of(PerGpu(32.0), cluster())
    assert takes == {"gpu": Footprint(2, frozenset())}
    held = Running(Block("gpu", ("n1",), 2, 2), 0.0, 0.0)
    wide = widened(job(max_gpus=4, bars=(Bar(frozenset({"n2"}), 2),), running=held), takes)
    assert wide.curves[0][1].points == ((2, 1.0), (4, 2.0), (8, 4.0))
    assert wide.max_gpus is None
    assert wide.bars == (Bar(frozenset({"n2"}), 4),)
    assert wide.running == Running(Block("gpu", ("n1",), 4), 0.0, 0.0)


def test_a_plan_of_other_sizes_is_none() -> None:
    takes = footprints_of(PerGpu(32.0), cluster())
    kept = (Reservation(0.0, 10.0, 4, "gpu"),)
    assert widened(job(plan=kept), takes).plan == kept
    assert widened(job(plan=(Reservation(0.0, 10.0, 1, "gpu"),)), takes).plan == ()


def test_nodes_that_would_have_to_give_more_are_none_of_its_nodes() -> None:
    takes = footprints_of(PerGpu(16.0), cluster(4, "n4"))
    assert takes == {"gpu": Footprint(1, frozenset({"n4"}))}
    assert widened(job(), takes).bars == (Bar(frozenset({"n4"})),)


def test_what_no_node_has_is_no_size() -> None:
    assert footprints_of(PerGpu(65.0), cluster()) == {}
    assert widened(job(), {}).max_gpus == 0


def test_two_such_jobs_and_an_ordinary_one_share_a_cluster_that_can_carry_them() -> None:
    here = cluster()
    takes = {"1": footprints_of(PerGpu(32.0), here), "2": footprints_of(PerGpu(32.0), here)}
    ordinary = footprints_of(PerGpu(), here)
    plain = [replace(job(n), kind=JobKind.DEADLINE, deadline=120.0) for n in ("1", "2", "3")]
    jobs = [widened(one, takes.get(one.id, ordinary)) for one in plain]
    answer = narrowed(plan(0.0, jobs, here, Policy()), takes)
    assert [verdict.outcome for verdict in answer.verdicts] == [Outcome.PROMISED] * 3
    cpus = dict.fromkeys(("n1", "n2"), 0.0)
    gpus = dict.fromkeys(("n1", "n2"), 0)
    for decision in answer.decisions:
        assert decision.block is not None
        assert decision.reason.gpus == decision.block.gpus
        for name in decision.block.nodes:
            gpus[name] += decision.block.gpus_per_node
            each = 32.0 if decision.job_id in takes else 16.0
            cpus[name] += each * decision.block.gpus_per_node
    assert all(number <= 4 for number in gpus.values())
    assert all(number <= 64.0 for number in cpus.values())


@given(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]), st.integers(0, 3))
def test_there_and_back(factor: int, per_node: int, place: int) -> None:
    block = Block("gpu", ("n1",), per_node, per_node * place)
    # Some node is too small: nothing is plain, whatever the factor.
    takes = {"gpu": Footprint(factor, frozenset({"n9"}))}
    running = widened(job(running=Running(block, 0.0, 0.0)), takes).running
    assert running is not None
    back = narrow_block(running.block, factor)
    assert (back.nodes, back.gpus_per_node) == (block.nodes, block.gpus_per_node)
