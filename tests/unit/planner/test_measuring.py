"""Slots on which jobs are measured: asked for, granted, taken back."""

from __future__ import annotations

from ef_slurm.model import Cluster, Job, Policy, Standing, ThroughputCurve
from ef_slurm.planner.measuring import Measurement, MeasuringSlots
from ef_slurm.planner.plan import plan

CLUSTER = Cluster.uniform(nodes=1, gpus_per_node=4)
WANTED = Measurement("gpu", gpus=4, known=None)


def newcomer(name: str) -> Job:
    return Job(name, 0.0, 1e6, (("gpu", ThroughputCurve.of({4: 1.0})),), deadline=3600.0)


def granted() -> MeasuringSlots:
    slots = MeasuringSlots(seconds=30.0)
    slots.record(plan(0.0, [slots.ask(newcomer("a"), WANTED, 0.0)], CLUSTER, Policy()))
    return slots


def test_a_slot_that_was_granted_is_kept_until_it_is_over() -> None:
    slots = granted()
    assert slots.ask(newcomer("a"), WANTED, 10.0).standing is Standing.ADMITTED
    assert slots.ask(newcomer("a"), WANTED, 1e6).standing is Standing.NEW


def test_what_is_taken_back_is_asked_for_again() -> None:
    slots = granted()
    assert slots.revoke()
    assert slots.ask(newcomer("a"), WANTED, 1.0).standing is Standing.NEW
    assert not slots.revoke()


def test_who_asked_is_known_where_there_was_nothing_to_take_back() -> None:
    """The plan stands then, and has no verdict on them."""
    slots = MeasuringSlots(seconds=30.0)
    answer = plan(0.0, [slots.ask(newcomer("a"), WANTED, 0.0)], CLUSTER, Policy())
    assert not slots.revoke()
    slots.record(answer)
    assert slots.measured == frozenset({"a"})


def test_a_copy_leaves_the_slots_alone() -> None:
    slots = granted()
    twin = slots.copy()
    assert twin.ask(newcomer("a"), WANTED, 1.0).standing is Standing.ADMITTED
    twin.ask(newcomer("b"), WANTED, 1.0)
    twin.revoke()
    assert slots.measured == frozenset({"a"})
    assert slots.ask(newcomer("a"), WANTED, 2.0).standing is Standing.ADMITTED
