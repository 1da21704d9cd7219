"""The timetable: what is free, from when and until when."""

from __future__ import annotations

import math
import random

import pytest

from ef_slurm.model import Cluster, Node, NodeGroup, Outage
from ef_slurm.planner.timeline.timetable import EDGE, Rectangle, Timetable


def table(nodes: int = 2, gpus_per_node: int = 4, now: float = 0.0) -> Timetable:
    return Timetable(Cluster.uniform(nodes, gpus_per_node).groups[0], now)


def with_outage(*outages: Outage, nodes: int = 2, now: float = 0.0) -> Timetable:
    members = (Node("n0", outages), *(Node(f"n{number}") for number in range(1, nodes)))
    return Timetable(NodeGroup("gpu", 4, members), now)


def test_remove_gives_back_exactly_what_was_put() -> None:
    line = table()
    line.put("a", 0.0, 50.0, 0, 4)
    line.put("b", 50.0, 90.0, 0, 8)
    line.remove("a")
    assert line.free_until(0, 4) == 50.0
    assert line.free_since(0, 4) == 90.0
    line.remove("b")
    assert line.free_until(0, 8) == math.inf
    assert line.free_since(0, 8) == -math.inf


def test_a_block_is_free_between_two_plans() -> None:
    line = table()
    line.put("a", 0.0, 50.0, 0, 2)
    line.put("b", 80.0, 90.0, 0, 4)
    assert line.is_free(50.0, 80.0, 0, 2)
    assert not line.is_free(49.0, 80.0, 0, 2)
    assert not line.is_free(50.0, 81.0, 0, 2)


def test_what_starts_now_may_not_overlap_by_a_rounding() -> None:
    line = table()
    line.put("a", 0.0, EDGE / 2, 0, 2)
    assert not line.is_free(0.0, 10.0, 0, 2)
    assert line.is_free(EDGE / 2, 10.0, 0, 2)


def test_the_buddy_is_filled_before_another_node_is_opened() -> None:
    line = table(nodes=4)
    line.put("a", 0.0, 50.0, 4, 2)
    assert line.find_now(2, until=30.0) == 6
    assert line.find_now(4, until=30.0) == 0


def test_an_absence_to_come_can_be_used_until_it_begins() -> None:
    line = with_outage(Outage(100.0, 200.0))
    assert line.find_now(8, until=100.0) == 0
    assert line.find_now(8, until=101.0) is None
    assert line.find_later(8, seconds=10.0, after=0.0) == (0.0, 0)
    assert line.find_later(8, seconds=150.0, after=0.0) == (200.0, 0)


@pytest.mark.parametrize("used", [0, 1, 2, 3])
def test_an_absence_of_some_gpus_spares_those_in_use(used: int) -> None:
    members = (Node("n0", (Outage(0.0, gpus=3),)),)
    plan = Rectangle(0.0, 50.0, used, 1, "a")
    line = Timetable(NodeGroup("gpu", 4, members), 0.0, [plan])
    assert line.free_until(used, 1) == math.inf
    assert sum(line.free_until(gpu, 1) > 0 for gpu in range(4)) == 1


def test_nodes_that_are_no_power_of_two_have_no_block_across_the_end() -> None:
    line = table(nodes=3)
    line.put("a", 0.0, 50.0, 0, 8)
    assert line.find_now(8, until=10.0) is None
    assert line.find_now(4, until=10.0) == 8
    assert not line.is_free(0.0, 10.0, 8, 8)


def test_a_blank_one_shares_nothing() -> None:
    line = table()
    line.put("a", 0.0, 50.0, 0, 8)
    twin = line.blank()
    assert twin.find_now(8, until=10.0) == 0
    twin.put("b", 0.0, 50.0, 0, 8)
    line.remove("a")
    assert line.find_now(8, until=10.0) == 0


def test_levels_agree_with_a_plain_count() -> None:
    """Random puts and removes: every query equals what the list of rectangles says."""
    generator = random.Random(7)
    line = table(nodes=4, gpus_per_node=4)
    held: dict[str, Rectangle] = {}
    for step in range(400):
        gpus = generator.choice([1, 2, 4, 8, 16])
        end = float(generator.randint(1, 100))
        first = line.find_now(gpus, end)
        free = [
            place
            for place in range(0, 16, gpus)
            if not any(r.first < place + gpus and place < r.first + r.gpus for r in held.values())
        ]
        assert (first is None) == (not free)
        if first is not None and generator.random() < 0.7:
            assert first in free
            held[str(step)] = Rectangle(0.0, end, first, gpus, str(step))
            line.put(str(step), 0.0, end, first, gpus)
        elif held:
            key = generator.choice(sorted(held))
            del held[key]
            line.remove(key)


def test_what_was_searched_before_changes_no_answer() -> None:
    """Bounds remembered from earlier searches, copies and removes: as on a table made anew."""
    generator = random.Random(11)
    line = table(nodes=4, gpus_per_node=4)
    held: dict[str, tuple[float, float, int, int]] = {}
    for step in range(600):
        gpus = generator.choice([1, 2, 4, 8, 16])
        after, seconds = float(generator.randint(0, 60)), float(generator.randint(1, 60))
        fresh = line.blank()
        for key, rectangle in held.items():
            fresh.put(key, *rectangle)
        assert line.find_now(gpus, seconds) == fresh.find_now(gpus, seconds)
        assert line.longest_now(gpus) == fresh.longest_now(gpus)
        found = line.find_later(gpus, seconds, after)
        assert found is not None
        assert found == fresh.find_later(gpus, seconds, after)
        soonest = fresh.find_later(gpus, 0.0, 0.0)
        assert soonest is not None
        assert line.not_before(gpus) <= soonest[0]
        assert not line.full_now(gpus) or fresh.longest_now(gpus)[0] <= line.now
        before, line = line, line.copy()
        if generator.random() < 0.6:
            held[str(step)] = (found[0], found[0] + seconds, found[1], gpus)
            line.put(str(step), *held[str(step)])
            assert not line.is_free(*held[str(step)])
            assert before.is_free(*held[str(step)])
        elif held:
            key = generator.choice(sorted(held))
            line.remove(key)
            del held[key]


def test_a_search_can_leave_a_place_out() -> None:
    line = table(nodes=4)
    line.put("a", 0.0, 50.0, 4, 2)
    assert line.find_now(2, until=30.0, without=(4, 8)) == 0
    assert line.find_now(4, until=30.0, without=(0, 4)) == 8, "its buddy is taken"
    assert line.find_now(2, until=30.0, without=(0, 16)) is None
    assert line.find_now(2, until=30.0) == 6, "nothing is remembered of what was left out"
