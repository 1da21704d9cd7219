"""Property 1, and that a plan explains itself; `world` checks every plan that it carries out."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given
from hypothesis import strategies as st

from ef_slurm.model import Block, Decision, Job, Limit, PromiseState, ReasonCode, change_kind
from tests.unit.planner.strategies import JobDraft, drafts, lives
from tests.unit.planner.world import World, check_plan

TYPES = ("gpu", "other")


@given(world=lives(max_types=2), wanted=st.lists(drafts(), max_size=4), most=st.integers(1, 12))
def test_every_plan_can_be_carried_out(world: World, wanted: list[JobDraft], most: int) -> None:
    """With limits, which jobs that run already may pass: such jobs have to give GPUs back."""
    world.policy = replace(world.policy, limits=(Limit(most, owner="ann"), Limit(2 * most)))
    world.foreseen = False  # a new limit is less capacity
    world.submit(*(w.submitted_at(world.now, f"n{n}") for n, w in enumerate(wanted)))
    for _ in range(4):
        world.advance(min(world.next_change, world.now + 500.0))


@given(world=lives(max_types=2), wanted=st.lists(drafts(), max_size=3))
def test_reasons_say_what_happened(world: World, wanted: list[JobDraft]) -> None:
    for number, draft in enumerate(wanted):
        world.jobs[f"n{number}"] = draft.submitted_at(world.now, f"n{number}")
    answer = world.look()
    check_plan(answer, world.jobs, world.cluster, world.policy)
    for decision in answer.decisions:
        check_reason(decision, world.jobs[decision.job_id], set(world.jobs))


def check_reason(decision: Decision, job: Job, known: set[str]) -> None:
    """The reason fits what the job held, what it gets and what becomes of its promise."""
    reason = decision.reason
    event(reason.code.value)
    held = None if job.running is None else job.running.block
    assert reason.job is None or reason.job in known - {job.id}, decision
    if decision.promise is PromiseState.AT_RISK:
        late = (ReasonCode.LOST_CAPACITY, ReasonCode.BEHIND, ReasonCode.BEGIN)
        assert reason.code in late, decision
    else:
        assert reason.code in expected_codes(held, decision.block), decision
    if reason.code is ReasonCode.BEGIN:
        assert reason.until == job.begin, decision
    if reason.gpus is not None and decision.block is not None:
        assert reason.gpus == decision.gpus, decision


def expected_codes(held: Block | None, block: Block | None) -> set[ReasonCode]:
    """What may have happened between two blocks."""
    if block is None:
        waits = {ReasonCode.WAITS, ReasonCode.LIMITED, ReasonCode.BEGIN}
        return waits if held is None else {ReasonCode.PAUSED}
    if held is None:
        return {ReasonCode.STARTED}
    if change_kind(held, block) is None:  # other GPUs of its node too
        return {ReasonCode.KEPT}
    if held.gpus == block.gpus:
        return {ReasonCode.MIGRATED}
    return {ReasonCode.GREW} if held.gpus < block.gpus else {ReasonCode.SHRANK}
