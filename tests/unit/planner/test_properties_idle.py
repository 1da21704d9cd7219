"""Property 4: no GPU idles while a job may use it with positive net return.

*May use it*: some block of a size that speeds the job up is free from now on, in everybody else's
plan in hand, and no limit or policy forbids it. *Positive net return*: to hold that block until
somebody else's plan needs it, and to follow the old plan afterwards, every change of block paid
for, finishes the job earlier by more than the policy asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from hypothesis import event, given

from ef_slurm.model import Decision, Job, JobKind, NodeGroup, Plan, Reservation
from tests.unit.planner.strategies import lives
from tests.unit.planner.world import (
    DONE,
    World,
    block_of,
    finish_of,
    may_use,
    usable_sizes,
)


@given(world=lives(max_jobs=7))
def test_no_gpu_idles_that_a_job_could_use(world: World) -> None:
    answer = world.replan()
    event(f"{len(world.jobs)} jobs")
    for decision in answer.decisions:
        better = next(improvements(decision, world, answer), None)
        assert better is None, f"{decision} could be {better}"


def improvements(
    decision: Decision, world: World, answer: Plan
) -> Iterator[tuple[Reservation, float]]:
    """Blocks to hold from now on that finish the job sooner, and when."""
    # The job as it was carried out: it has started, or moved, at this very instant. What it holds
    # is not paid for yet, so look at it as it was before, as the planner did.
    job = world.jobs[decision.job_id]
    if job.running is not None and job.running.since == world.now:
        return
    if job.begin > world.now:
        return
    if world.now - job.last_reshape < world.policy.min_reshape_interval:
        return
    if job.kind is JobKind.BEST_EFFORT and not world.policy.best_effort_grows:
        return
    finish = math.inf if decision.finish is None else decision.finish
    for group in world.cluster.groups:
        if group.gpu_type not in dict(job.curves):
            continue
        for gpus in usable_sizes(job, group.gpu_type):
            if gpus <= decision.gpus:
                continue
            for first in range(0, len(group.nodes) * group.gpus_per_node - gpus + 1, gpus):
                block = block_of(
                    Reservation(answer.now, math.inf, gpus, group.gpu_type, first), world.cluster
                )
                if not may_use(job, block):
                    continue
                until = free_until(group, first, gpus, decision.job_id, answer)
                if until <= answer.now + DONE:
                    continue
                for trial in followed(
                    job, Reservation(answer.now, until, gpus, group.gpu_type, first)
                ):
                    sooner = finish_of(job, trial, answer.now, world.cluster)
                    if pays(job, trial, finish - sooner, finish, world):
                        yield trial[0], sooner


def free_until(group: NodeGroup, first: int, gpus: int, mine: str, answer: Plan) -> float:
    """Until when nobody else's plan and no outage takes a GPU of the block."""
    until = math.inf
    for decision in answer.decisions:
        for reservation in decision.schedule if decision.job_id != mine else ():
            overlaps = (
                reservation.gpu_type == group.gpu_type
                and reservation.first_gpu < first + gpus
                and first < reservation.first_gpu + reservation.gpus
            )
            if overlaps and reservation.end > answer.now:
                until = min(until, reservation.start)
    size = group.gpus_per_node
    for node in group.nodes[first // size : (first + gpus - 1) // size + 1]:
        for outage in node.outages:
            if outage.end > answer.now:
                until = min(until, outage.start)
    return until


def followed(job: Job, opening: Reservation) -> Iterator[tuple[Reservation, ...]]:
    """The opening to its end, followed by the plan in hand where that goes on."""
    far = replace(opening, end=min(opening.end, opening.start + 1e12))
    if opening.end == math.inf:
        yield (far,)
        return
    rest = [
        replace(reservation, start=max(reservation.start, opening.end))
        for reservation in job.plan
        if reservation.end > opening.end
    ]
    if rest:
        yield (far, *rest[:-1], replace(rest[-1], end=rest[-1].end + 1e12))
    else:
        yield (far,)


def pays(
    job: Job, trial: tuple[Reservation, ...], saved: float, finish: float, world: World
) -> bool:
    """Whether the policy wants a change that finishes a job `saved` seconds sooner."""
    if not saved > 1.0 or math.isinf(finish):
        return saved == math.inf
    held = None if job.running is None else job.running.block
    cost = 0.0
    for reservation in trial[:2]:  # there, and back to the plan in hand
        block = block_of(reservation, world.cluster)
        cost += job.overhead.seconds(held, block)
        held = block
    return (
        saved > world.policy.growth_gain * cost + DONE
        and saved > world.policy.min_speedup * (finish - world.now) + DONE
    )
