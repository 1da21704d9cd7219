"""Companions: further Slurm jobs of a job, each of which brings whole nodes to one launch of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from ef_slurm.model.block import Block


class CompanionState(enum.Enum):
    """How far a companion has come."""

    WANTED = "wanted"  # its batch script is told to submit it, and has not told its id
    SUBMITTED = "submitted"  # it pends in Slurm, held, and is the one that was wanted
    RELEASED = "released"  # it may start on the nodes that it was given
    RUNNING = "running"  # Slurm has started it
    READY = "ready"  # its ranks wait to be taken in
    JOINED = "joined"  # its ranks train
    LEAVING = "leaving"  # nothing more is to come of it; its nodes may be held still
    ENDED = "ended"


_GIVEN_UP = frozenset({CompanionState.LEAVING, CompanionState.ENDED})

COMPANION_TRANSITIONS: Mapping[CompanionState, frozenset[CompanionState]] = {
    CompanionState.WANTED: _GIVEN_UP | {CompanionState.SUBMITTED},
    CompanionState.SUBMITTED: _GIVEN_UP | {CompanionState.RELEASED},
    CompanionState.RELEASED: _GIVEN_UP | {CompanionState.RUNNING},
    CompanionState.RUNNING: _GIVEN_UP | {CompanionState.READY, CompanionState.JOINED},
    CompanionState.READY: _GIVEN_UP | {CompanionState.JOINED},
    CompanionState.JOINED: _GIVEN_UP,
    CompanionState.LEAVING: frozenset({CompanionState.ENDED}),
    CompanionState.ENDED: frozenset(),
}
"""State → states that may follow it."""


@dataclass(frozen=True, slots=True)
class Companion:
    """One companion of a job.

    Args:
        job_id: of the job in the queue.
        generation, change: the launch, and the change of size in it, that it is for.
        block: the nodes that it brings.
        ordered_at: when its batch script was told to submit it (`Order.issued_at`), UTC epoch
            seconds: a later order for the same change is another companion.
        changed_at: since when it is in its state.
        slurm_job_id: Slurm's; None until it is known and believed.
        note: why it ended, or is to.
    """

    id: int
    job_id: int
    generation: int
    change: int
    state: CompanionState
    block: Block
    ordered_at: float
    changed_at: float
    slurm_job_id: int | None = None
    note: str = ""

    @property
    def is_coming(self) -> bool:
        """Whether it is on its way to be taken in."""
        return self.state not in _GIVEN_UP | {CompanionState.JOINED}

    @property
    def has_ended(self) -> bool:
        """Whether it holds nothing any more."""
        return self.state is CompanionState.ENDED

    @property
    def is_released(self) -> bool:
        """Whether Slurm may have started it."""
        held = {CompanionState.WANTED, CompanionState.SUBMITTED}
        return self.state not in held | {CompanionState.ENDED}
