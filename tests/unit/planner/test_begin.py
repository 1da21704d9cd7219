"""Jobs that may not begin before some moment: the verdict, the plan, and what others get."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ef_slurm.model import (
    Admission,
    Cluster,
    IfInfeasible,
    Job,
    JobKind,
    ModelError,
    Outcome,
    Overhead,
    Plan,
    Policy,
    ReasonCode,
    Reservation,
    Standing,
    ThroughputCurve,
)
from ef_slurm.planner.plan import plan
from tests.unit.planner.world import World

LINEAR = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0})
CLUSTER = Cluster.uniform(nodes=1, gpus_per_node=4)


def job(name: str, iterations: float, deadline: float = 1000.0, **fields: object) -> Job:
    curves = (("gpu", LINEAR),)
    return Job(name, 0.0, iterations, curves, deadline=deadline, **fields)  # type: ignore[arg-type]


def judged(*jobs: Job, now: float = 0.0) -> Plan:
    return plan(now, jobs, CLUSTER, Policy(offer_resolution=1.0))


def test_it_is_promised_and_starts_when_it_may() -> None:
    answer = judged(job("a", 100.0, begin=300.0))
    assert answer.verdicts[0].outcome is Outcome.PROMISED
    decision = answer.decision("a")
    assert (decision.block, decision.schedule[0].start, decision.finish) == (None, 300.0, 400.0)
    assert (decision.reason.code, decision.reason.until) == (ReasonCode.BEGIN, 300.0)
    assert answer.next_change == 300.0


def test_the_share_is_what_is_enough_from_then_on() -> None:
    assert judged(job("a", 100.0, 200.0)).verdicts[0].share == 1
    assert judged(job("a", 100.0, 200.0, begin=150.0)).verdicts[0].share == 2
    late = judged(job("a", 100.0, 200.0, begin=180.0)).verdicts[0]
    assert (late.outcome, late.reason.code) == (Outcome.REJECTED, ReasonCode.BEGIN)
    assert late.earliest_deadline is not None
    assert 205.0 <= late.earliest_deadline < 206.0


def test_it_fits_into_a_gap_between_others() -> None:
    """Everything is taken before 200 and from 400 on; in between it has its time."""
    first = job("a", 800.0, 200.0)
    last = job("c", 2000.0, 900.0, begin=400.0)
    between = job("b", 400.0, 400.0, begin=250.0)
    answer = judged(first, last, between)
    assert {one.outcome for one in answer.verdicts} == {Outcome.PROMISED}
    assert answer.decision("b").schedule == (Reservation(250.0, 350.0, 4, "gpu", 0),)


def test_what_others_leave_free_until_then_is_used() -> None:
    """Nobody keeps GPUs for it before it may begin."""
    answer = judged(job("a", 1200.0, 1000.0, begin=600.0), job("b", 100.0, kind=JobKind.DEADLINE))
    assert answer.decision("b").gpus == 4


def test_best_effort_waits_too_and_the_plan_wants_to_be_asked_then() -> None:
    free = job("a", 100.0, begin=50.0)
    free = replace(free, kind=JobKind.BEST_EFFORT, deadline=None)
    answer = judged(free)
    assert (answer.decision("a").gpus, answer.next_change) == (0, 50.0)
    assert answer.decision("a").reason.code is ReasonCode.BEGIN
    assert judged(replace(free, standing=Standing.ADMITTED), now=50.0).decision("a").gpus == 4


def test_a_later_begin_moves_the_plan_and_an_earlier_one_brings_it_forward() -> None:
    """As when a job that it waits for slips, or is done sooner."""
    promised = replace(
        job("a", 100.0, begin=300.0),
        standing=Standing.ADMITTED,
        plan=(Reservation(300.0, 400.0, 1, "gpu", 0),),
    )
    slipped = judged(replace(promised, begin=350.0), now=10.0).decision("a")
    assert (slipped.schedule[0].start, slipped.finish) == (350.0, 450.0)
    late = judged(replace(promised, begin=960.0), now=10.0).decision("a")
    assert (late.schedule[0].start, late.schedule[0].gpus) == (960.0, 4)
    assert late.finish == 985.0
    sooner = judged(replace(promised, begin=-math.inf), now=10.0).decision("a")
    assert sooner.gpus == 4


def test_a_begin_too_late_puts_it_at_risk_and_makes_nobody_else_late() -> None:
    promised = replace(
        job("a", 400.0, 500.0, begin=350.0),
        standing=Standing.ADMITTED,
        plan=(Reservation(350.0, 450.0, 4, "gpu", 0),),
    )
    other = replace(
        job("b", 2000.0, 1000.0, begin=450.0),
        standing=Standing.ADMITTED,
        plan=(Reservation(450.0, 950.0, 4, "gpu", 0),),
    )
    answer = judged(replace(promised, begin=440.0), other, now=10.0)
    assert answer.decision("a").promise.value == "at-risk"
    assert answer.decision("b").promise.value == "safe"


def test_a_start_is_paid_for_after_the_begin() -> None:
    answer = judged(job("a", 100.0, begin=300.0, overhead=Overhead.constant(30.0)))
    assert answer.decision("a").finish == 430.0


def test_a_time_limit_counts_from_the_begin() -> None:
    assert judged(job("a", 100.0, begin=300.0, longest=60.0)).verdicts[0].share == 2


def test_the_price_counts_the_time_that_it_has() -> None:
    """What may begin only at the end of a long time is no less dear than what came then."""
    world = World(CLUSTER, Policy(admission=Admission.MOST_PROMISES, offers=False))
    for number in range(12):
        wanted = job(f"j{number:02}", 90.0, world.now + 100.0)
        world.submit(replace(wanted, submitted=world.now))
        world.advance(world.now + 10.0)
    now = world.now
    soon = replace(job("x", 1200.0, now + 320.0), submitted=now)
    later = replace(soon, deadline=now + 5320.0, begin=now + 5000.0)
    twin = world.copy()
    world.submit(soon)
    twin.submit(later)
    outcomes = [one.verdicts["x"].outcome for one in (world, twin)]
    assert outcomes[0] is outcomes[1] is Outcome.REJECTED


def test_whoever_waits_is_asked_again_when_it_may_begin() -> None:
    world = World(Cluster.uniform(nodes=1, gpus_per_node=1))
    world.submit(job("a", 500.0, 510.0))
    waits = job("b", 60.0, 505.0, begin=400.0, if_infeasible=IfInfeasible.WAIT)
    world.submit(waits)
    outcomes = [world.verdicts["b"].outcome]
    assert world.next_change == 400.0
    world.cancel("a")
    outcomes.append(world.verdicts["b"].outcome)
    assert outcomes == [Outcome.WAITLISTED, Outcome.PROMISED]


def test_nonsense_is_refused() -> None:
    for begin in (math.nan, math.inf):
        with pytest.raises(ModelError, match="begin"):
            job("a", 1.0, begin=begin)
