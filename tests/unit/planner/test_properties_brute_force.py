"""Property 5: how close admission comes to what any schedule could do.

Two yardsticks, both clairvoyant in choosing schedules and exact on their grid of steps:

* *any schedule*: the most jobs that can end in time, whichever are left out. Nobody who promises
  at arrival can reach it always: an early promise may cost two later ones.
* *in turn*: promise each job at its arrival if any schedule can keep all promises. The difference
  to it is what the planner's search misses. It can be negative: refusing one job may leave room
  for two, and the planner may change shares inside a step.

The planner that asks a price has seen `PAST` arrivals like those of the puzzle before it begins, so
that there is one. Whoever is turned away for its price was told that the cluster could have carried
it: then some schedule can keep its promise and all those given before.

`in turn` admits with hindsight of nothing, but a schedule for the promised may have to begin before
a later job arrives, so with staggered arrivals it, too, can be out of reach.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ef_slurm.model import (
    Admission,
    Arrival,
    Arrivals,
    Cluster,
    Job,
    Outcome,
    Overhead,
    Policy,
    ReasonCode,
    ThroughputCurve,
)
from tests.unit.planner.brute_force import Case, Puzzle
from tests.unit.planner.world import World

# All plans of small cases: measured, they take three times as long.
pytestmark = pytest.mark.no_cover

PUZZLES = 400 if os.environ.get("EF_HYPOTHESIS_PROFILE") == "long" else 30
"""Of each kind, the same ones in each run; in most of their time every schedule is tried."""
ONE = 1 / PUZZLES
"""Jobs per puzzle that a mean of so few may lie above that of many."""
STEP = 60.0
STEPS = 5
PAST = 20
"""Arrivals before a puzzle begins: more than a price is learned from at the least."""


def random_case(rng: random.Random, gpus: int, arrival: int) -> Case:
    rate = 1.0
    rates: list[tuple[int, float]] = []
    size = 1
    while size <= gpus:
        if rng.random() < 0.85 or (size == gpus and not rates):
            rates.append((size, round(rate, 3)))
        rate *= rng.choice([0.9, 1.3, 1.6, 1.8, 2.0])
        size *= 2
    deadline = rng.randint(arrival + 1, STEPS)
    fastest = max(value for _, value in rates)
    seconds = STEP * (deadline - arrival)
    work = rng.uniform(0.2, 1.0) * rng.choice([rates[0][1], rates[-1][1], fastest]) * seconds
    return Case(round(work, 3), tuple(rates), STEP * arrival, STEP * deadline)


def puzzles(number: int, overhead: float, staggered: bool) -> Iterator[tuple[Puzzle, Cluster]]:
    rng = random.Random(f"{overhead} {staggered}")
    for _ in range(number):
        cluster = rng.choice([Cluster.uniform(1, 8), Cluster.uniform(2, 4), Cluster.uniform(1, 4)])
        arrivals = sorted(
            rng.randrange(STEPS - 1) if staggered else 0 for _ in range(rng.choice([2, 3, 4, 4, 4]))
        )
        jobs = tuple(random_case(rng, cluster.gpus, arrival) for arrival in arrivals)
        yield Puzzle(jobs, cluster.gpus, STEP, overhead), cluster


def past(puzzle: Puzzle) -> Arrivals:
    """Who may have come before: as demanding as the jobs of a puzzle, one after another."""
    rng = random.Random(repr(puzzle))
    found = []
    for number in range(PAST):
        case = random_case(rng, puzzle.gpus, rng.randrange(STEPS - 1))
        at = -STEP * STEPS * (PAST - number) / PAST
        seconds = case.iterations * case.cheapest
        found.append(Arrival(f"p{number}", at, case.deadline - case.arrival, seconds))
    return tuple(found)


@dataclass(frozen=True)
class Kept:
    """What the planner did: how many jobs ended in time, and who was told a price."""

    finished: int
    promised: tuple[int, ...]
    priced: tuple[tuple[int, tuple[int, ...]], ...]  # with those promised before


def kept_by_us(
    puzzle: Puzzle,
    cluster: Cluster,
    admission: Admission,
    arrivals: Arrivals = (),
    *,
    foretold: bool = False,
) -> Kept:
    """How the planner fares with a puzzle; the world checks that it keeps what it promises.

    Args:
        puzzle, cluster, admission: what is played, where, and under which policy.
        arrivals: who came before.
        foretold: all are submitted at once, and may begin when they would have arrived.
    """
    world = World(cluster, Policy(offers=False, admission=admission))
    world.arrivals = arrivals
    promised: list[int] = []
    priced: list[tuple[int, tuple[int, ...]]] = []
    for number, case in enumerate(puzzle.jobs):
        if not foretold:
            world.advance(case.arrival)
        world.submit(
            Job(
                id=f"j{number}",
                submitted=world.now,
                iterations=case.iterations,
                curves=(("gpu", ThroughputCurve(case.rates)),),
                deadline=case.deadline,
                overhead=Overhead.constant(puzzle.overhead),
                begin=case.arrival,
            )
        )
        verdict = world.verdicts[f"j{number}"]
        if verdict.reason.code is ReasonCode.PRICED:
            priced.append((number, tuple(promised)))
        elif verdict.outcome is Outcome.PROMISED:
            promised.append(number)
    world.advance(STEPS * STEP + 1.0)
    return Kept(len(world.finished), tuple(promised), tuple(priced))


@pytest.mark.parametrize(
    ("overhead", "staggered", "to_any", "to_in_turn", "priced_to_any"),
    [
        (0.0, False, 0.22, 0.15, 0.62),
        (0.0, True, 0.18, 0.12, 0.27),
        (12.0, False, 0.22, 0.10, 0.55),
        (12.0, True, 0.15, 0.10, 0.17),
    ],
)
def test_the_gap_to_brute_force(
    overhead: float, staggered: bool, to_any: float, to_in_turn: float, priced_to_any: float
) -> None:
    """Prints the distribution (pytest -s); the mean gaps, in jobs per puzzle, may not grow."""
    any_gaps: Counter[int] = Counter()
    turn_gaps: Counter[int] = Counter()
    priced_gaps: Counter[int] = Counter()
    jobs = best = told = 0
    for puzzle, cluster in puzzles(PUZZLES, overhead, staggered):
        ours = kept_by_us(puzzle, cluster, Admission.FIRST_COME)
        # So few have never a price.
        assert kept_by_us(puzzle, cluster, Admission.MOST_PROMISES) == ours
        priced = kept_by_us(puzzle, cluster, Admission.MOST_PROMISES, past(puzzle))
        for index, before in priced.priced:
            assert puzzle.feasible([*before, index]), (puzzle, priced)
        most = puzzle.most()
        any_gaps[most - ours.finished] += 1
        turn_gaps[len(puzzle.in_turn()) - ours.finished] += 1
        priced_gaps[most - priced.finished] += 1
        told += len(priced.priced)
        jobs += len(puzzle.jobs)
        best += most
    arrivals = "staggered" if staggered else "together"
    print(
        f"\noverhead {overhead:g} s, arrivals {arrivals}: {PUZZLES} puzzles, {jobs} jobs, "
        f"{best} possible; gap to any schedule {sorted(any_gaps.items())}, "
        f"to in turn {sorted(turn_gaps.items())}; with a price, told to {told}: gap to any "
        f"schedule {sorted(priced_gaps.items())}"
    )
    assert told >= PUZZLES / 10  # the price is reached
    assert mean(any_gaps) <= to_any + ONE
    assert mean(turn_gaps) <= to_in_turn + ONE
    assert mean(priced_gaps) <= priced_to_any + ONE


@pytest.mark.parametrize(
    ("overhead", "to_any", "to_in_turn"), [(0.0, 0.30, 0.20), (12.0, 0.25, 0.15)]
)
def test_the_gap_where_it_is_known_when_jobs_may_begin(
    overhead: float, to_any: float, to_in_turn: float
) -> None:
    """Submitted together, each with a moment before which it may not begin."""
    any_gaps: Counter[int] = Counter()
    turn_gaps: Counter[int] = Counter()
    for puzzle, cluster in puzzles(PUZZLES, overhead, staggered=True):
        ours = kept_by_us(puzzle, cluster, Admission.FIRST_COME, foretold=True).finished
        any_gaps[puzzle.most() - ours] += 1
        turn_gaps[len(puzzle.in_turn()) - ours] += 1
    print(
        f"\noverhead {overhead:g} s, foretold: {PUZZLES} puzzles; gap to any schedule "
        f"{sorted(any_gaps.items())}, to in turn {sorted(turn_gaps.items())}"
    )
    assert mean(any_gaps) <= to_any + ONE
    assert mean(turn_gaps) <= to_in_turn + ONE


def mean(gaps: Counter[int]) -> float:
    """The mean of a distribution."""
    return sum(gap * count for gap, count in gaps.items()) / gaps.total()
