"""Properties 3 and 7: an honest no, an honest offer, and the same answer to the same question."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import assume, event, given
from hypothesis import strategies as st

from ef_slurm.model import IfInfeasible, Job, JobKind, Outcome, Overhead, Plan, Verdict
from ef_slurm.planner.plan import plan
from tests.unit.planner.strategies import JobDraft, clusters, drafts, lives, policies
from tests.unit.planner.world import World


def newcomer(draft: JobDraft, now: float) -> Job:
    """A deadline job that takes no for an answer."""
    kind = JobKind.DEADLINE if draft.kind is JobKind.BEST_EFFORT else draft.kind
    draft = replace(draft, kind=kind, if_infeasible=IfInfeasible.REJECT)
    return draft.submitted_at(now, "new")


def verdict_on(job: Job, world: World) -> Verdict:
    """What the planner says to a job; the world stays as it is."""
    twin = world.copy()
    twin.submit(job)
    return twin.verdicts[job.id]


@given(world=lives(max_types=2), draft=drafts())
def test_a_no_is_not_taken_back_at_the_same_instant(world: World, draft: JobDraft) -> None:
    job = newcomer(draft, world.now)
    world.submit(job)
    first = world.verdicts["new"]
    event(first.outcome.value)
    if first.outcome is Outcome.REJECTED:
        for attempt in ("new", "again"):
            world.submit(replace(job, id=attempt))
            assert world.verdicts[attempt].outcome is Outcome.REJECTED


@given(world=lives(max_types=2), draft=drafts())
def test_the_waitlist_is_judged_like_a_newcomer(world: World, draft: JobDraft) -> None:
    """Who waits is not admitted at the instant at which it was told to wait."""
    job = replace(newcomer(draft, world.now), if_infeasible=IfInfeasible.WAIT)
    world.submit(job)
    event(world.verdicts["new"].outcome.value)
    if world.verdicts["new"].outcome is Outcome.WAITLISTED:
        world.replan()
        assert world.verdicts["new"].outcome is Outcome.WAITLISTED


@given(world=lives(), draft=drafts())
def test_the_counter_offer_is_honest(world: World, draft: JobDraft) -> None:
    job = newcomer(draft, world.now)
    assert job.deadline is not None
    before = world.copy()
    world.submit(job)
    verdict = world.verdicts["new"]
    assume(verdict.outcome is Outcome.REJECTED)
    offer = verdict.earliest_deadline
    event("an offer" if offer is not None else "no offer")
    for moment in (before, world):
        if offer is None:
            late = replace(job, deadline=world.now + 1e9)
            assert verdict_on(late, moment).outcome is Outcome.REJECTED
            continue
        assert offer > job.deadline
        taken = verdict_on(replace(job, deadline=offer), moment)
        assert taken.outcome is Outcome.PROMISED
        sooner = offer - world.policy.offer_resolution
        if sooner > world.now:
            refused = verdict_on(replace(job, deadline=sooner), moment)
            assert refused.outcome is Outcome.REJECTED


@given(world=lives(policy=None), draft=drafts())
def test_without_offers_the_verdict_is_the_same(world: World, draft: JobDraft) -> None:
    job = newcomer(draft, world.now)
    told = verdict_on(job, world)
    silent = world.copy()
    silent.policy = replace(world.policy, offers=False)
    answer = verdict_on(job, silent)
    assert answer.earliest_deadline is None
    assert (answer.outcome, answer.share, answer.finish) == (told.outcome, told.share, told.finish)


@given(cluster=clusters(), policy=policies(), wanted=st.lists(drafts(), min_size=2, max_size=5))
def test_together_is_one_by_one(cluster: object, policy: object, wanted: list[JobDraft]) -> None:
    """Jobs that arrive at one instant get the verdicts that they would get one after another.

    Without overheads: with them, the first job has started, and paid, before the second asks.
    """
    jobs = [
        replace(draft, overhead=Overhead()).submitted_at(0.0, f"j{number}")
        for number, draft in enumerate(wanted)
    ]
    replan_jointly = World(cluster, policy)  # type: ignore[arg-type]
    replan_jointly.submit(*jobs)
    in_turn = World(cluster, policy)  # type: ignore[arg-type]
    for job in jobs:
        in_turn.submit(job)
    assert {i: v.outcome for i, v in replan_jointly.verdicts.items()} == {
        i: v.outcome for i, v in in_turn.verdicts.items()
    }


def _answers(world: World, seed: int) -> list[Plan]:
    jobs = list(world.jobs.values())
    answers = []
    for _ in range(3):
        answers.append(plan(world.now, tuple(jobs), world.cluster, world.policy))
        random.Random(seed).shuffle(jobs)
    return answers


@given(
    world=lives(max_types=2),
    wanted=st.lists(drafts(), max_size=3),
    seed=st.integers(0, 99),
)
def test_same_input_same_plan_in_any_order(world: World, wanted: list[JobDraft], seed: int) -> None:
    for number, draft in enumerate(wanted):
        world.jobs[f"n{number}"] = draft.submitted_at(world.now, f"n{number}")
    first, *others = _answers(world, seed)
    assert all(other == first for other in others)
