"""The timetable: what is free, from when and until when."""

from __future__ import annotations

import math
import random

import pytest

from ef_slurm.model import Cluster, Node, NodeGroup, Outage, Reservation
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS
from ef_slurm.planner.timeline.timetable import Timetable


def table(nodes: int = 2, gpus_per_node: int = 4, now: float = 0.0) -> Timetable:
    return Timetable(Cluster.uniform(nodes, gpus_per_node).groups[0], now)


def with_outage(*outages: Outage, nodes: int = 2, now: float = 0.0) -> Timetable:
    members = (Node("n0", outages), *(Node(f"n{number}") for number in range(1, nodes)))
    return Timetable(NodeGroup("gpu", 4, members), now)


def at(start: float, end: float, first_gpu: int, gpus: int) -> Reservation:
    return Reservation(start, end, gpus, "gpu", first_gpu)


def test_remove_gives_back_exactly_what_was_put() -> None:
    timetable = table()
    timetable.put("a", at(0.0, 50.0, 0, 4))
    timetable.put("b", at(50.0, 90.0, 0, 8))
    timetable.remove("a")
    assert timetable.free_until(0, 4) == 50.0
    assert timetable.free_since(0, 4) == 90.0
    timetable.remove("b")
    assert timetable.free_until(0, 8) == math.inf
    assert timetable.free_since(0, 8) == -math.inf


def test_a_block_is_free_between_two_plans() -> None:
    timetable = table()
    timetable.put("a", at(0.0, 50.0, 0, 2))
    timetable.put("b", at(80.0, 90.0, 0, 4))
    assert timetable.is_free(at(50.0, 80.0, 0, 2))
    assert not timetable.is_free(at(49.0, 80.0, 0, 2))
    assert not timetable.is_free(at(50.0, 81.0, 0, 2))


def test_a_gap_between_two_plans_is_found_by_its_moment() -> None:
    timetable = table()
    timetable.put("a", at(0.0, 50.0, 0, 8))
    timetable.put("b", at(80.0, 90.0, 0, 4))
    assert timetable.find_at(4, 50.0, 80.0) in (0, 4)
    assert timetable.find_at(4, 50.0, 81.0) == 4
    assert timetable.find_at(8, 50.0, 80.0) == 0
    assert timetable.find_at(8, 50.0, 81.0) is None
    assert timetable.find_at(1, 49.0, 80.0) is None
    assert timetable.find_at(16, 100.0, 110.0) is None


def test_a_gap_is_searched_around_outages() -> None:
    timetable = with_outage(Outage(0.0, 60.0), Outage(100.0, 200.0))
    assert timetable.find_at(8, 50.0, 70.0) is None
    assert timetable.find_at(8, 60.0, 100.0) == 0
    assert timetable.find_at(8, 60.0, 110.0) is None
    assert timetable.find_at(4, 60.0, 110.0) == 4
    assert timetable.find_at(8, 200.0, 900.0) == 0


@pytest.mark.parametrize("seed", range(30))
def test_what_is_found_at_a_moment_is_free_and_nothing_free_is_missed(seed: int) -> None:
    rng = random.Random(seed)
    timetable = with_outage(
        Outage(float(rng.randrange(40)), float(rng.randrange(41, 90))), nodes=rng.choice([2, 3])
    )
    for number in range(12):
        start, gpus = float(rng.randrange(100)), rng.choice([1, 2, 4])
        one = at(start, start + rng.randrange(1, 60), rng.randrange(12 // gpus) * gpus, gpus)
        if timetable.is_free(one):
            timetable.put(str(number), one)
    for _ in range(40):
        start, gpus = float(rng.randrange(1, 150)), rng.choice([1, 2, 4, 8])
        end = start + rng.randrange(1, 60)
        found = timetable.find_at(gpus, start, end)
        free = [
            first
            for first in range(0, timetable.width, gpus)
            if timetable.is_free(at(start, end, first, gpus))
        ]
        assert (found in free) if free else (found is None)


def test_what_starts_now_may_not_overlap_by_a_rounding() -> None:
    timetable = table()
    timetable.put("a", at(0.0, EDGE_SECONDS / 2, 0, 2))
    assert not timetable.is_free(at(0.0, 10.0, 0, 2))
    assert timetable.is_free(at(EDGE_SECONDS / 2, 10.0, 0, 2))


def test_the_buddy_is_filled_before_another_node_is_opened() -> None:
    timetable = table(nodes=4)
    timetable.put("a", at(0.0, 50.0, 4, 2))
    assert timetable.find_now(2, until=30.0) == 6
    assert timetable.find_now(4, until=30.0) == 0


def test_an_outage_to_come_can_be_used_until_it_begins() -> None:
    timetable = with_outage(Outage(100.0, 200.0))
    assert timetable.find_now(8, until=100.0) == 0
    assert timetable.find_now(8, until=101.0) is None
    assert timetable.find_later(8, seconds=10.0, after=0.0) == (0.0, 0)
    assert timetable.find_later(8, seconds=150.0, after=0.0) == (200.0, 0)


@pytest.mark.parametrize("used", [0, 1, 2, 3])
def test_an_outage_of_some_gpus_spares_those_in_use(used: int) -> None:
    members = (Node("n0", (Outage(0.0, gpus=3),)),)
    plan = at(0.0, 50.0, used, 1)
    timetable = Timetable(NodeGroup("gpu", 4, members), 0.0, [plan])
    assert timetable.free_until(used, 1) == math.inf
    assert sum(timetable.free_until(gpu, 1) > 0 for gpu in range(4)) == 1


def test_nodes_that_are_no_power_of_two_have_no_block_across_the_end() -> None:
    timetable = table(nodes=3)
    timetable.put("a", at(0.0, 50.0, 0, 8))
    assert timetable.find_now(8, until=10.0) is None
    assert timetable.find_now(4, until=10.0) == 8
    assert not timetable.is_free(at(0.0, 10.0, 8, 8))


def test_a_blank_one_shares_nothing() -> None:
    timetable = table()
    timetable.put("a", at(0.0, 50.0, 0, 8))
    twin = timetable.blank()
    assert twin.find_now(8, until=10.0) == 0
    twin.put("b", at(0.0, 50.0, 0, 8))
    timetable.remove("a")
    assert timetable.find_now(8, until=10.0) == 0


def test_levels_agree_with_a_plain_count() -> None:
    """Random puts and removes: every query equals what the list of reservations says."""
    generator = random.Random(7)
    timetable = table(nodes=4, gpus_per_node=4)
    held: dict[str, Reservation] = {}
    for step in range(400):
        gpus = generator.choice([1, 2, 4, 8, 16])
        end = float(generator.randint(1, 100))
        first = timetable.find_now(gpus, end)
        free = [
            place
            for place in range(0, 16, gpus)
            if not any(
                r.first_gpu < place + gpus and place < r.first_gpu + r.gpus for r in held.values()
            )
        ]
        assert (first is None) == (not free)
        if first is not None and generator.random() < 0.7:
            assert first in free
            held[str(step)] = at(0.0, end, first, gpus)
            timetable.put(str(step), held[str(step)])
        elif held:
            key = generator.choice(sorted(held))
            del held[key]
            timetable.remove(key)


def test_what_was_searched_before_changes_no_answer() -> None:
    """Bounds remembered from earlier searches, copies and removes: as on a table made anew."""
    generator = random.Random(11)
    timetable = table(nodes=4, gpus_per_node=4)
    held: dict[str, Reservation] = {}
    for step in range(600):
        gpus = generator.choice([1, 2, 4, 8, 16])
        after, seconds = float(generator.randint(0, 60)), float(generator.randint(1, 60))
        fresh = timetable.blank()
        for key, reservation in held.items():
            fresh.put(key, reservation)
        assert timetable.find_now(gpus, seconds) == fresh.find_now(gpus, seconds)
        assert timetable.longest_now(gpus) == fresh.longest_now(gpus)
        found = timetable.find_later(gpus, seconds, after)
        assert found is not None
        assert found == fresh.find_later(gpus, seconds, after)
        soonest = fresh.find_later(gpus, 0.0, 0.0)
        assert soonest is not None
        assert timetable.not_before(gpus) <= soonest[0]
        assert not timetable.full_now(gpus) or fresh.longest_now(gpus)[0] <= timetable.now
        before, timetable = timetable, timetable.copy()
        if generator.random() < 0.6:
            held[str(step)] = at(found[0], found[0] + seconds, found[1], gpus)
            timetable.put(str(step), held[str(step)])
            assert not timetable.is_free(held[str(step)])
            assert before.is_free(held[str(step)])
        elif held:
            key = generator.choice(sorted(held))
            timetable.remove(key)
            del held[key]


def test_a_search_can_leave_a_place_out() -> None:
    timetable = table(nodes=4)
    timetable.put("a", at(0.0, 50.0, 4, 2))
    assert timetable.find_now(2, until=30.0, without=(4, 8)) == 0
    assert timetable.find_now(4, until=30.0, without=(0, 4)) == 8, "its buddy is taken"
    assert timetable.find_now(2, until=30.0, without=(0, 16)) is None
    assert timetable.find_now(2, until=30.0) == 6, "nothing is remembered of what was left out"


def test_a_block_beside_the_first_nodes_of_others_is_found_first() -> None:
    group = Cluster.uniform(4, 4).groups[0]
    timetable = Timetable(group, 0.0, heads=[0, 8])
    assert timetable.find_now(4, 50.0) == 4
    assert timetable.find_now(1, 50.0) == 4
    assert timetable.find_now(8, 50.0) == 0  # nothing is beside them
    assert timetable.blank().find_now(4, 50.0) == 4
    assert Timetable(group, 0.0).find_now(4, 50.0) == 0
