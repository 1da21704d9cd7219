"""The share of one job in what others leave free."""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.model import (
    Block,
    Cluster,
    Job,
    JobKind,
    Outcome,
    Overhead,
    Policy,
    Reservation,
    Running,
    Standing,
    ThroughputCurve,
)
from tests.unit.planner.world import World

EAGER = Policy(growth_gain=0.0, min_speedup=0.0, best_effort_grows=False, offer_resolution=1.0)
# It has paid nothing of its start of 1 s yet, while any other change is free of charge.
STARTING = Job(
    "starting",
    0.0,
    0.7,
    (("gpu", ThroughputCurve.of({2: 0.7, 4: 0.84})),),
    kind=JobKind.SOFT_DEADLINE,
    deadline=1.0,
    grace=60.0,
    standing=Standing.ADMITTED,
    overhead=Overhead(start=1.0, shrink=1.0),
    running=Running(Block("gpu", ("n1",), 4), 0.0, 1.0),
    plan=(Reservation(0.0, 1.0 + 0.7 / 0.84, 4, "gpu", 0),),
)
# It needs the whole node from second 1 on.
WIDE = Job(
    "wide",
    0.0,
    1.2,
    (("gpu", ThroughputCurve.of({8: 1.2})),),
    deadline=92.0,
    overhead=Overhead(start=90.0),
)


def test_staying_is_not_taken_to_cost_less_than_it_does() -> None:
    """The block that a job starts on was taken for free until a time before it would end there."""
    world = World(Cluster.uniform(nodes=1, gpus_per_node=8), EAGER)
    world.jobs[STARTING.id] = STARTING
    world.promised.add(STARTING.id)
    world.submit(WIDE)  # checks that no two jobs share a GPU at any time
    assert world.verdicts["wide"].outcome is Outcome.PROMISED
    assert world.jobs["starting"].plan[-1].end <= 1.0 + 1e-9
    world.advance(100.0)
    assert not world.jobs


def test_another_place_is_found_where_staying_would_be_too_late() -> None:
    world = World(Cluster.uniform(nodes=2, gpus_per_node=8), EAGER)
    hard = replace(STARTING, kind=JobKind.DEADLINE, grace=0.0, plan=())
    world.jobs[STARTING.id] = replace(hard, curves=(("gpu", ThroughputCurve.of({4: 0.84})),))
    decision = world.replan().decision(STARTING.id)
    assert decision.block is not None
    assert decision.block.nodes == ("n2",)
    assert decision.finish == 0.7 / 0.84


def test_other_gpus_of_the_node_are_no_change() -> None:
    """Whoever needs the block of a job that has just started sends it next door, at no cost."""
    world = World(Cluster.uniform(nodes=2, gpus_per_node=4))
    slow = ThroughputCurve.of({1: 1.0})
    for name, gpu in (("a", 1), ("b", 2)):
        world.jobs[name] = Job(
            name,
            0.0,
            100.0,
            (("gpu", slow),),
            deadline=130.0,
            standing=Standing.ADMITTED,
            overhead=Overhead.constant(30.0),
            running=Running(Block("gpu", ("n1",), 1, gpu), 0.0, 30.0),
            plan=(Reservation(0.0, 130.0, 1, "gpu", gpu),),
        )
        world.promised.add(name)
    pairs = ThroughputCurve.of({2: 1.0})
    for number in range(3):
        world.submit(Job(f"pair{number}", 0.0, 100.0, (("gpu", pairs),), deadline=110.0))
    assert {v.outcome for v in world.verdicts.values()} == {Outcome.PROMISED}
    world.advance(140.0)
    assert world.finished == {
        "pair0": 100.0, "pair1": 100.0, "pair2": 100.0, "a": 130.0, "b": 130.0,
    }  # fmt: skip
    assert world.reshapes == 0
