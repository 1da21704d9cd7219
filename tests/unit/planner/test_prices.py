"""The price of GPU time: `admission = "most-promises"`."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ef_slurm.formats.sentences import verdict_sentence
from ef_slurm.model import (
    MOST_ARRIVALS,
    Admission,
    Cluster,
    IfInfeasible,
    Job,
    JobKind,
    ModelError,
    Outcome,
    Overhead,
    Policy,
    ReasonCode,
    Standing,
    ThroughputCurve,
    Verdict,
    Weight,
)
from ef_slurm.planner.plan import plan_round
from ef_slurm.planner.prices import LEAST_ARRIVALS, noted
from ef_slurm.planner.timeline.gpu_index import index_spaces
from ef_slurm.planner.timeline.task import Task, make_task
from tests.unit.planner.world import World

CLUSTER = Cluster.uniform(nodes=2, gpus_per_node=4)
CURVE = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0})
PRICED = Policy(admission=Admission.MOST_PROMISES)


def job(name: str, at: float, gpu_seconds: float, window: float, **other: object) -> Job:
    values: dict[str, object] = {"deadline": at + window, **other}
    return Job(name, at, gpu_seconds, (("gpu", CURVE),), **values)  # type: ignore[arg-type]


def crowd(policy: Policy = PRICED, *, each: float = 30.0, count: int = 60) -> World:
    """A job of 100 GPU-seconds within 200 s every `each` seconds; 8 GPUs serve one every 12.5 s."""
    world = World(CLUSTER, policy)
    for number in range(count):
        world.submit(job(f"c{number:03}", world.now, 100.0, 200.0))
        world.advance(world.now + each)
    return world


def verdict_on(asked: Job, world: World) -> Verdict:
    world.submit(asked)
    return world.verdicts[asked.id]


def large(world: World, name: str = "large", **other: object) -> Job:
    return job(name, world.now, 700.0, 200.0, **other)


def task(asked: Job) -> Task:
    return make_task(asked, index_spaces(CLUSTER))


def test_while_all_are_served_nothing_has_a_price() -> None:
    verdict = verdict_on(job("large", 1800.0, 600.0, 200.0), crowd())
    assert verdict.outcome is Outcome.PROMISED


def test_a_job_that_others_are_worth_more_than_is_told_so_and_offered_a_later_deadline() -> None:
    world = crowd(each=4.0)
    world.advance(world.now + 100.0)  # the cluster has room again, the crowd is still expected
    first_come = world.copy()
    first_come.policy = Policy()
    asked = job("large", world.now, 700.0, 200.0)
    assert verdict_on(asked, first_come).outcome is Outcome.PROMISED
    verdict = verdict_on(asked, world)
    assert (verdict.outcome, verdict.reason.code) == (Outcome.REJECTED, ReasonCode.PRICED)
    # Each of the others has 100 GPU-seconds for as much.
    assert verdict.reason.worth == pytest.approx(7.0)
    sentence = verdict_sentence(verdict, str)
    assert sentence.startswith(
        "not promised: the cluster could carry it, but the GPU time that it asks for is worth as "
        "much as 7.0 typical jobs now; the earliest deadline that can be promised is "
    )
    # Seven times the horizon: then no more than a seventh of its work falls into one.
    assert verdict.earliest_deadline == pytest.approx(world.now + 1400.0, abs=60.0)
    taken = replace(asked, id="later", deadline=verdict.earliest_deadline)
    assert verdict_on(taken, world).outcome is Outcome.PROMISED


def test_what_the_cluster_could_not_carry_is_not_said_to_be_too_dear() -> None:
    world = crowd(each=4.0)
    verdict = verdict_on(job("large", world.now, 1500.0, 200.0), world)
    assert (verdict.outcome, verdict.reason.code) == (Outcome.REJECTED, ReasonCode.REJECTED)
    assert verdict.earliest_deadline is not None


def test_a_small_job_pays_no_more_than_it_is_worth() -> None:
    world = crowd(each=4.0)
    world.advance(world.now + 100.0)
    assert verdict_on(job("small", world.now, 60.0, 200.0), world).outcome is Outcome.PROMISED


def test_nobody_is_put_off_for_longer_than_the_site_says() -> None:
    world = crowd(replace(PRICED, longest_wait=300.0), each=4.0)
    world.advance(world.now + 100.0)
    verdict = verdict_on(job("large", world.now, 700.0, 200.0), world)
    assert verdict.reason.code is ReasonCode.PRICED
    fastest = 700.0 / 8.0
    assert verdict.earliest_deadline == pytest.approx(world.now + fastest + 300.0, abs=60.0)
    patient = job("patient", world.now, 700.0, fastest + 300.0)
    assert verdict_on(patient, world).outcome is Outcome.PROMISED


def test_a_weight_stands_for_as_many_jobs() -> None:
    world = crowd(each=4.0)
    world.advance(world.now + 100.0)
    for weight, outcome in ((6.9, Outcome.REJECTED), (7.1, Outcome.PROMISED)):
        asked = job(f"w{weight}", world.now, 700.0, 200.0, weight=weight)
        assert verdict_on(asked, world.copy()).outcome is outcome


def test_the_weights_of_account_and_qos_are_multiplied() -> None:
    policy = Policy(
        weights=(Weight(4.0, qos="urgent"), Weight(0.5, account="interns"), Weight(3.0, "a", "b"))
    )
    assert policy.weight("physics") == 1.0
    assert policy.weight("physics", "urgent") == 4.0
    assert policy.weight("interns", "urgent") == 2.0
    assert policy.weight("a", "b") == 3.0
    assert policy.weight("a", "normal") == 1.0
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ModelError, match="weight"):
            Weight(wrong)


def test_who_is_too_dear_waits_until_the_price_falls() -> None:
    world = crowd(each=4.0)
    world.advance(world.now + 100.0)
    world.submit(job("large", world.now, 700.0, 350.0, if_infeasible=IfInfeasible.WAIT))
    verdict = world.verdicts["large"]
    assert (verdict.outcome, verdict.reason.code) == (Outcome.WAITLISTED, ReasonCode.PRICED)
    world.advance(world.now + 200.0)  # nobody has come for a horizon
    world.replan()
    assert world.verdicts["large"].outcome is Outcome.PROMISED


def test_who_would_rather_run_without_a_promise_does() -> None:
    world = crowd(each=4.0)
    world.advance(world.now + 100.0)
    asked = job("large", world.now, 700.0, 200.0, if_infeasible=IfInfeasible.BEST_EFFORT)
    verdict = verdict_on(asked, world)
    assert (verdict.outcome, verdict.reason.code) == (Outcome.BEST_EFFORT, ReasonCode.PRICED)
    assert world.jobs["large"].kind is JobKind.BEST_EFFORT


def test_the_offer_to_a_job_that_no_cluster_could_do_in_time_has_its_price_too() -> None:
    world = crowd()
    asked = large(world)
    verdict = verdict_on(replace(asked, deadline=world.now + 0.5), world)
    assert verdict.reason.code is ReasonCode.TOO_LARGE
    offer = verdict.earliest_deadline
    assert offer is not None
    assert verdict_on(replace(asked, id="taken", deadline=offer), world).outcome is Outcome.PROMISED


def test_few_arrivals_say_nothing() -> None:
    world = crowd(each=1.0, count=LEAST_ARRIVALS - 1)
    world.advance(world.now + 100.0)
    assert verdict_on(large(world), world).outcome is Outcome.PROMISED


def test_who_arrives_at_the_same_moment_faces_the_same_price() -> None:
    world = crowd(each=4.0)
    world.advance(world.now + 100.0)
    world.submit(*(large(world, f"l{number}") for number in range(3)))
    worths = {world.verdicts[f"l{number}"].reason.worth for number in range(3)}
    assert len(worths) == 1


def test_an_arrival_is_noted_once_and_anew_when_it_asks_for_another_deadline() -> None:
    asked = job("a", 10.0, 100.0, 200.0)
    (first,) = noted((), [task(asked)], PRICED)
    assert (first.at, first.window) == (10.0, 200.0)
    assert first.gpu_seconds == pytest.approx(100.0)
    waits = replace(asked, standing=Standing.WAITLISTED, iterations=50.0)
    assert noted((first,), [task(waits)], PRICED) == (first,)
    (again,) = noted((first,), [task(replace(asked, deadline=500.0))], PRICED)
    assert again.window == 490.0


@pytest.mark.parametrize(
    "asked",
    [
        job("too large", 0.0, 10_000.0, 100.0),
        job("admitted", 0.0, 100.0, 200.0, standing=Standing.ADMITTED),
        job("best effort", 0.0, 100.0, 200.0, kind=JobKind.BEST_EFFORT, deadline=None),
        job("measured", 0.0, 100.0, 200.0, weight=math.inf),
    ],
    ids=lambda asked: asked.id,
)
def test_what_is_no_demand(asked: Job) -> None:
    assert noted((), [task(asked)], PRICED) == ()


def test_nothing_is_noted_where_whoever_comes_first_is_promised() -> None:
    assert noted((), [task(job("a", 0.0, 100.0, 200.0))], Policy()) == ()


def test_only_the_latest_are_remembered() -> None:
    arrivals = noted((), [task(job(f"{n}", n, 1.0, 200.0)) for n in range(MOST_ARRIVALS)], PRICED)
    assert len(arrivals) == MOST_ARRIVALS
    newer = noted(arrivals, [task(job("new", 1e6, 1.0, 200.0))], PRICED)
    assert newer == (*arrivals[1:], newer[-1])


def test_overheads_are_part_of_what_is_asked_for() -> None:
    plain, costly = job("a", 0.0, 100.0, 200.0), job("a", 0.0, 100.0, 110.0)
    costly = replace(costly, overhead=Overhead.constant(30.0))
    (cheap,), (dear,) = (noted((), [task(one)], PRICED) for one in (plain, costly))
    assert dear.gpu_seconds >= cheap.gpu_seconds


@given(
    gpu_seconds=st.floats(50.0, 1500.0),
    window=st.floats(100.0, 1500.0),
    weight=st.sampled_from([1.0, 1.0, 2.0, 5.0]),
    overhead=st.sampled_from([0.0, 5.0]),
    each=st.sampled_from([3.0, 4.0, 10.0]),
    pause=st.sampled_from([0.0, 50.0, 100.0, 150.0]),
    longest_wait=st.sampled_from([60.0, 500.0, 1e6]),
    resolution=st.sampled_from([1.0, 60.0]),
)
def test_offers_are_honest_and_nobody_is_put_off_for_longer_than_that(
    gpu_seconds: float,
    window: float,
    weight: float,
    overhead: float,
    each: float,
    pause: float,
    longest_wait: float,
    resolution: float,
) -> None:
    policy = replace(PRICED, offer_resolution=resolution, longest_wait=longest_wait)
    world = crowd(policy, each=each)
    world.advance(world.now + pause)
    cost = Overhead.constant(overhead)
    asked = job("new", world.now, gpu_seconds, window, weight=weight, overhead=cost)
    twin, free = world.copy(), world.copy()
    verdict = verdict_on(asked, twin)
    event(f"{verdict.outcome.value}: {verdict.reason.code.value}")
    assert verdict_on(asked, world.copy()) == verdict
    free.policy = replace(policy, admission=Admission.FIRST_COME)
    first_come = verdict_on(asked, free)
    if verdict.outcome is Outcome.PROMISED or verdict.reason.code is ReasonCode.PRICED:
        assert first_come.outcome is Outcome.PROMISED
    if verdict.outcome is Outcome.PROMISED:
        return
    offer, could = verdict.earliest_deadline, first_come.earliest_deadline or asked.deadline
    assert offer is not None
    assert could is not None
    alone = overhead + gpu_seconds / 8.0
    assert offer <= max(could, world.now + alone + longest_wait) + resolution
    for moment in (world.copy(), twin.copy()):
        taken = replace(asked, id="taken", deadline=offer)
        assert verdict_on(taken, moment).outcome is Outcome.PROMISED
    if offer - resolution > world.now:
        sooner = replace(asked, id="sooner", deadline=offer - resolution)
        assert verdict_on(sooner, twin).outcome is Outcome.REJECTED
    world.submit(replace(asked, deadline=offer))
    world.advance(world.now + 1e5)  # the world checks that every promise holds
    assert not world.promised


def test_the_state_between_rounds_is_handed_over_and_nothing_else() -> None:
    """Two chains of rounds that share nothing but their arguments agree."""
    world = crowd(each=4.0, count=30)
    arrivals = world.arrivals
    asked = large(world)
    jobs = (*world.jobs.values(), asked)
    first, second = (plan_round(world.now, jobs, CLUSTER, PRICED, None, arrivals) for _ in range(2))
    assert first == second
    assert [one.job_id for one in first.arrivals[:-1]] == [one.job_id for one in arrivals]
    assert first.arrivals[-1].job_id == "large"
