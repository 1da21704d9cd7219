"""Companions in the queue: their moves, and what may not be."""

from collections.abc import Callable

import pytest

from ef_slurm.model import COMPANION_TRANSITIONS, Block, CompanionState, QueueJob
from ef_slurm.queue.errors import ForbiddenTransitionError, NoSuchRowError, QueueError
from ef_slurm.queue.store import Queue

Add = Callable[..., QueueJob]
BLOCK = Block("gpu", ("n2",), 4)


def test_a_companion_from_end_to_end(queue: Queue, add: Add) -> None:
    job = add()
    wanted = queue.companions.want(job.id, 3, 1, BLOCK, at=5.0)
    assert (wanted.generation, wanted.change, wanted.block) == (3, 1, BLOCK)
    assert (wanted.state, wanted.slurm_job_id) == (CompanionState.WANTED, None)
    assert queue.companions.present() == (wanted,)
    submitted = queue.companions.move(
        wanted, CompanionState.SUBMITTED, at=6.0, slurm_job_id=18, why="companion 18 is there"
    )
    assert (submitted.slurm_job_id, submitted.changed_at) == (18, 6.0)
    assert queue.companions.of_slurm(18) == submitted
    for number, state in enumerate(
        (CompanionState.RELEASED, CompanionState.RUNNING, CompanionState.JOINED)
    ):
        moved = queue.companions.move(submitted, state, at=7.0 + number)
        assert (moved.state, moved.slurm_job_id) == (state, 18)
    again = queue.companions.want(job.id, 3, 2, BLOCK, at=20.0)
    assert [one.id for one in queue.companions.present()] == [wanted.id, again.id]
    ended = queue.companions.move(moved, CompanionState.ENDED, at=21.0)
    assert queue.companions.move(ended, CompanionState.ENDED, at=22.0) == ended
    assert queue.companions.present() == (again,)
    assert queue.companions.of(job.id) == (ended, again)
    messages = [event.message for event in queue.events.all(job_id=job.id)]
    assert messages[-1] == "companion 18 is there"


def test_companions_take_no_short_cuts(queue: Queue, add: Add) -> None:
    first, second = add(), add(101)
    one = queue.companions.want(first.id, 1, 1, BLOCK, at=1.0)
    with pytest.raises(ForbiddenTransitionError, match="wanted"):
        queue.companions.move(one, CompanionState.JOINED, at=2.0)
    with pytest.raises(QueueError):
        queue.companions.want(first.id, 1, 1, BLOCK, at=1.0)
    queue.companions.move(one, CompanionState.SUBMITTED, at=2.0, slurm_job_id=18)
    other = queue.companions.want(second.id, 1, 1, BLOCK, at=1.0)
    with pytest.raises(QueueError):
        queue.companions.move(other, CompanionState.SUBMITTED, at=2.0, slurm_job_id=18)
    with pytest.raises(NoSuchRowError):
        queue.companions.get(99)


def test_every_state_leads_to_the_end() -> None:
    assert set(COMPANION_TRANSITIONS) == set(CompanionState)
    for state in set(CompanionState) - {CompanionState.ENDED}:
        assert CompanionState.ENDED in COMPANION_TRANSITIONS[state]
