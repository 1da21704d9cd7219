"""Plans with costs that differ by the kind of change: what can be done live costs little."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ef_slurm.model import (
    Block,
    Cluster,
    Decision,
    Job,
    JobKind,
    Overhead,
    Policy,
    PromiseState,
    Reservation,
    Running,
    Standing,
    ThroughputCurve,
)
from ef_slurm.planner.plan import plan

CLUSTER = Cluster.uniform(nodes=8, gpus_per_node=2)
NODES = tuple(f"n{number}" for number in range(1, 9))
LIVE = replace(Overhead.constant(30.0), grow=2.0, shrink=1.5)
DEAR = Overhead.constant(30.0)
POLICY = Policy(offers=False)
CURVE = ThroughputCurve.of({2: 1.0, 4: 2.0})


def on(nodes: tuple[str, ...], iterations: float, overhead: Overhead, deadline: float) -> Job:
    """A job that has trained for long on these nodes, with the plan to go on there."""
    gpus = 2 * len(nodes)
    rate = dict(CURVE.points)[gpus]
    first = 2 * NODES.index(nodes[0])
    return Job(
        "a",
        -1e4,
        iterations,
        (("gpu", CURVE),),
        deadline=deadline,
        standing=Standing.ADMITTED,
        overhead=overhead,
        running=Running(Block("gpu", nodes, 2), -9e3, -9e3),
        plan=(Reservation(-9e3, iterations / rate, gpus, "gpu", first),),
    )


def decided(*jobs: Job) -> Decision:
    return plan(0.0, jobs, CLUSTER, POLICY).decision("a")


def test_a_growth_is_judged_by_the_kind_that_it_is() -> None:
    """Behind n1 there is n2; a job on n2 would begin on another node, and so be restarted."""
    slow = Overhead.constant(120.0)
    live = replace(slow, grow=2.0)
    iterations = 300.0  # and seconds to go; 150 on both nodes
    assert decided(on(("n1",), iterations, live, 1e4)).finish == pytest.approx(2.0 + 150.0)
    assert decided(on(("n1",), iterations, slow, 1e4)).gpus == 2
    assert decided(on(("n2",), iterations, live, 1e4)).gpus == 2
    # Whoever would be late grows at any price, and pays it.
    late = decided(on(("n2",), iterations, live, 280.0))
    assert late.gpus == 4
    assert late.finish == pytest.approx(120.0 + 150.0)


def test_what_costs_little_has_to_be_worth_a_change_all_the_same() -> None:
    """Jobs whose changes are cheap are not changed more often than others."""
    for iterations in (100.0, 115.0, 119.0, 121.0, 125.0, 500.0):
        live = decided(on(("n1",), iterations, LIVE, 1e4))
        dear = decided(on(("n1",), iterations, DEAR, 1e4))
        assert live.gpus == dear.gpus == (4 if iterations > 120.0 else 2)
    # Where no kind of change costs much, little is enough.
    cheap = replace(Overhead.constant(3.0), grow=0.0)
    assert decided(on(("n1",), 20.0, cheap, 1e4)).gpus == 4


@pytest.mark.parametrize(
    ("restart", "paid"),
    [(30.0, 2 * 8.0), (10.0, 10.0), (4.0, 8.0)],  # the last: dearer than one doubling it is not
)
def test_who_grows_by_doublings_pays_for_each(restart: float, paid: float) -> None:
    """As long as a requeue does not cost less: it is what is done then."""
    curve = ThroughputCurve.of({2: 1.0, 4: 2.0, 8: 4.0})
    job = on(("n1",), 1000.0, Overhead(start=30.0, grow=8.0, restart=restart), 1e4)
    job = replace(job, curves=(("gpu", curve),))
    for doubles, cost in ((False, 8.0), (True, paid)):
        found = decided(replace(job, doubles=doubles))
        assert found.gpus == 8
        assert found.finish == pytest.approx(cost + 250.0)


def test_inside_a_node_nothing_is_cheap() -> None:
    cluster = Cluster.uniform(nodes=1, gpus_per_node=4)
    job = on(("n1",), 110.0, LIVE, 1e4)
    assert plan(0.0, [job], cluster, POLICY).decision("a").gpus == 2
    equal = replace(job, overhead=Overhead.constant(2.0))
    assert plan(0.0, [equal], cluster, POLICY).decision("a").gpus == 4


def test_best_effort_takes_the_nodes_behind_its_own() -> None:
    """n5 and n6 are free for longer, but to go there is a restart; n2 is needed at second 900."""

    def decide(overhead: Overhead) -> Decision:
        job = replace(on(("n1",), 1e6, overhead, 1e9), kind=JobKind.BEST_EFFORT, deadline=None)
        return decided(job, *(promised(node, start) for node, start in NEEDED.items()))

    assert decide(LIVE).block == Block("gpu", ("n1", "n2"), 2)
    assert decide(DEAR).block == Block("gpu", ("n5", "n6"), 2)


NEEDED = {
    **dict.fromkeys(NODES, 20.0),
    **{"n1": 905.0, "n2": 900.0, "n5": 905.0, "n6": 905.0},
}


def promised(node: str, start: float) -> Job:
    """Somebody who has that node from a moment on, for all of the time until its deadline."""
    return Job(
        f"on-{node}",
        -1e4,
        1000.0,
        (("gpu", ThroughputCurve.of({2: 1.0})),),
        deadline=start + 1000.0,
        standing=Standing.ADMITTED,
        plan=(Reservation(start, start + 1000.0, 2, "gpu", 2 * NODES.index(node)),),
        begin=start,
    )


@pytest.mark.parametrize("standing", [Standing.NEW, Standing.WAITLISTED])
@pytest.mark.parametrize("deadline", [333.5, 335.5, 336.5])
def test_who_runs_when_it_is_judged_pays_for_the_change_and_not_for_a_start(
    standing: Standing, deadline: float
) -> None:
    """A shrink in place costs it least, but the other job is to start on its first node."""
    cluster = Cluster.uniform(nodes=2, gpus_per_node=2)
    cost = Overhead(start=7.0, grow=10.0, shrink=7.0, move=10.0, restart=10.0)
    held = Block("gpu", ("n1", "n2"), 2)
    measured = Job(
        "new",
        0.0,
        1304.0,  # 326 s on two GPUs
        (("gpu", ThroughputCurve.of({2: 4.0, 4: 3.9})),),
        deadline=deadline,
        standing=standing,
        overhead=cost,
        running=Running(held, -1e3, -1e3),
    )
    other = Job(
        "other",
        -10.0,
        1000.0,
        (("gpu", ThroughputCurve.of({1: 1.0, 2: 1.2})),),
        deadline=2000.0,
        standing=Standing.ADMITTED,
        overhead=cost,
        plan=(Reservation(0.0, 1007.0, 1, "gpu", 0),),
    )
    answer = plan(0.0, [measured, other], cluster, POLICY)
    decision, (verdict,) = answer.decision("new"), answer.verdicts
    assert decision.block is not None
    finish = pytest.approx(cost.seconds(held, decision.block) + 326.0)
    assert verdict.finish == decision.finish == finish
    assert answer.decision("other").promise is PromiseState.SAFE
