"""Who waits is asked again when something could let it in, and not before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ef_slurm.model import (
    Cluster,
    IfInfeasible,
    Job,
    Node,
    NodeGroup,
    Outage,
    Outcome,
    Policy,
    Reservation,
    Schedule,
    Standing,
    ThroughputCurve,
)
from ef_slurm.planner.admission import Promises
from ef_slurm.planner.waiting import (
    MOST_AGAIN,
    SLACK_SECONDS,
    Change,
    Refused,
    WaitingList,
    change_of,
    questions,
)
from tests.unit.planner.world import World

CURVE = (("gpu", ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0})),)


def job(name: str, seconds: float, deadline: float, *, submitted: float = 0.0) -> Job:
    """A job that takes so many seconds on four GPUs."""
    return Job(
        name,
        submitted,
        4.0 * seconds,
        CURVE,
        deadline=deadline,
        if_infeasible=IfInfeasible.WAIT,
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """(job, whether in full) for everybody who is asked."""
    found: list[tuple[str, bool]] = []
    plain = Promises.admit

    def counting(self: Promises, newcomer: object, *, jointly: bool = True) -> bool:
        found.append((newcomer.id, jointly))  # type: ignore[attr-defined]
        return plain(self, newcomer, jointly=jointly)  # type: ignore[arg-type]

    monkeypatch.setattr(Promises, "admit", counting)
    return found


def full_world() -> World:
    """One node that is promised to `a` until 100, and `b`, which waits for it."""
    world = World(Cluster.uniform(nodes=1, gpus_per_node=4), Policy())
    world.submit(job("a", 100.0, 100.0))
    world.submit(job("b", 40.0, 120.0))
    assert world.verdicts["b"].outcome is Outcome.WAITLISTED
    return world


def test_while_plans_stand_nobody_is_asked_again(asked: list[tuple[str, bool]]) -> None:
    world = full_world()
    asked.clear()
    for _ in range(3):
        world.advance(world.now + 10.0)
        world.replan()
    assert asked == []


def test_who_is_cancelled_lets_the_next_one_in(asked: list[tuple[str, bool]]) -> None:
    world = full_world()
    world.advance(50.0)
    asked.clear()
    world.cancel("a")
    assert ("b", True) in asked
    assert world.verdicts["b"].outcome is Outcome.PROMISED


def test_who_is_faster_than_planned_lets_the_next_one_in() -> None:
    world = full_world()
    world.advance(50.0)
    ahead = world.jobs["a"]
    world.jobs["a"] = replace(ahead, iterations=ahead.iterations - 4.0 * 25.0)
    world.replan()
    assert world.verdicts["b"].outcome is Outcome.PROMISED


def test_a_node_that_comes_back_lets_the_next_one_in() -> None:
    nodes = (Node("n1"), Node("n2", (Outage(0.0),)))
    world = World(Cluster((NodeGroup("gpu", 4, nodes),)), Policy())
    world.submit(job("a", 100.0, 100.0))
    world.submit(job("b", 40.0, 120.0))
    world.advance(20.0)
    world.cluster = Cluster.uniform(nodes=2, gpus_per_node=4)
    world.replan()
    assert world.verdicts["b"].outcome is Outcome.PROMISED


def test_a_later_deadline_is_asked_at_once(asked: list[tuple[str, bool]]) -> None:
    world = full_world()
    world.advance(10.0)
    asked.clear()
    world.jobs["b"] = replace(world.jobs["b"], deadline=200.0)
    world.replan()
    assert asked == [("b", True)]
    assert world.verdicts["b"].outcome is Outcome.PROMISED


def test_a_round_asks_few_of_many_in_full_and_all_in_turn(asked: list[tuple[str, bool]]) -> None:
    world = World(Cluster.uniform(nodes=1, gpus_per_node=4), Policy())
    world.submit(job("a", 100.0, 1000.0))
    waiting = [job(f"w{n:02}", 950.0, 990.0) for n in range(3 * MOST_AGAIN)]
    world.submit(*waiting)
    turns = []
    for number in range(3):
        asked.clear()
        current = world.jobs["a"]
        # Ahead of its plan.
        world.jobs["a"] = replace(current, iterations=current.iterations - 80.0)
        world.advance(world.now + 1.0)
        world.replan()
        in_full = [name for name, jointly in asked if jointly]
        assert len(in_full) == MOST_AGAIN, number
        assert len(asked) == len(waiting)  # what is free now is looked at for all
        turns += in_full
    assert sorted(turns) == [one.id for one in waiting]


def test_after_a_restart_nobody_waits_for_those_who_wait() -> None:
    """Nothing is remembered: the waiting list is asked in turn, a newcomer at once."""
    jobs = [replace(job(f"w{n:02}", 10.0, 999.0), standing=Standing.WAITLISTED) for n in range(20)]
    found = questions(None, [*jobs, job("new", 10.0, 999.0)], {}, Cluster.uniform(1, 4), 0.0)
    assert len(found.in_full) == MOST_AGAIN + 1
    assert "new" in found.in_full
    assert len(found.looked_at) == 21


def test_what_is_owed_is_not_forgotten() -> None:
    cluster = Cluster.uniform(nodes=1, gpus_per_node=4)
    one = replace(job("b", 40.0, 120.0), standing=Standing.WAITLISTED)
    memory = WaitingList(cluster, {}, {"b": Refused(one, 0.0, Change.ENDS)})
    found = questions(memory, [one], {}, cluster, 5.0)
    assert found.in_full == {"b"}
    after = found.remembered(cluster, {}, [one])
    assert after.refused["b"] == Refused(one, 5.0)
    assert questions(after, [one], {}, cluster, 6.0).looked_at == frozenset()


def schedule(*ends: tuple[float, float, int]) -> Schedule:
    return tuple(Reservation(start, end, gpus, "gpu") for start, end, gpus in ends)


@pytest.mark.parametrize(
    ("after", "now", "change"),
    [
        (schedule((0, 100, 4), (150, 200, 2)), 50.0, Change.NONE),
        (schedule((50, 100, 4), (150, 200, 2)), 50.0, Change.NONE),  # seen from later
        (schedule((0, 100 - SLACK_SECONDS / 2, 4), (150, 200, 2)), 50.0, Change.NONE),
        (schedule((0, 110, 4), (150, 210, 2)), 50.0, Change.NONE),  # later: that frees nothing
        (schedule((150, 200, 2)), 120.0, Change.ENDS),
        ((), 200.0, Change.ENDS),
        ((), 190.0, Change.FREED),
        (schedule((0, 80, 4), (150, 200, 2)), 50.0, Change.FREED),
        (schedule((0, 100, 2), (150, 200, 2)), 50.0, Change.FREED),
        (schedule((0, 100, 4)), 50.0, Change.FREED),
        (schedule((0, 100, 4), (170, 200, 2)), 50.0, Change.FREED),
    ],
)
def test_what_frees_gpu_time(after: Schedule, now: float, change: Change) -> None:
    before = {"a": schedule((0, 100, 4), (150, 200, 2))}
    others = {"new": schedule((0, 1000, 1))}  # who comes takes
    assert change_of(before, others | ({"a": after} if after else {}), now) is change
