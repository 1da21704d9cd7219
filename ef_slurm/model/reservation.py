"""Reservations: a job's blocks over time, planned and held."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ef_slurm.model.block import Block
from ef_slurm.model.checks import is_power_of_two
from ef_slurm.model.errors import ModelError


@dataclass(frozen=True, slots=True)
class Reservation:
    """A block held by a job from `start` to `end` (seconds): a piece of its schedule.

    The planner makes thousands of them in every plan, so values are not checked here but where a
    schedule becomes part of a job (`check_schedule`).

    Args:
        start: from when.
        end: until when; infinite for no end.
        gpus: its size.
        gpu_type: of the GPUs.
        first_gpu: the first one in the numbering of all GPUs of the type, in node order (node index
            times GPUs per node, plus the index inside the node). It keeps jobs apart.

    The overhead of the change that begins a reservation is spent inside it.
    """

    start: float
    end: float
    gpus: int
    gpu_type: str
    first_gpu: int = 0

    def over(self, start: float, end: float) -> Reservation:
        """The same block at another time."""
        return Reservation(start, end, self.gpus, self.gpu_type, self.first_gpu)

    def same_block(self, other: Reservation) -> bool:
        """Whether both are the same GPUs."""
        return (
            self.first_gpu == other.first_gpu
            and self.gpus == other.gpus
            and self.gpu_type == other.gpu_type
        )


Schedule = tuple[Reservation, ...]
"""A job's share over time, in time order, gaps meaning no GPUs (paused)."""


def check_schedule(schedule: Schedule) -> None:
    """Refuse what nobody can have planned.

    Raises:
        ModelError: a reservation that ends before it starts, of a size that is no power of two, or
            on a block that is not aligned.
    """
    for one in schedule:
        if math.isnan(one.start) or not one.start < one.end:
            raise ModelError("reservation end", one.end, f"later than its start {one.start!r}")
        if not is_power_of_two(one.gpus):
            raise ModelError("reservation GPUs", one.gpus, "a power of two")
        if one.first_gpu < 0 or one.first_gpu % one.gpus:
            raise ModelError("reservation first GPU", one.first_gpu, "a multiple of its GPUs")


@dataclass(frozen=True, slots=True)
class Running:
    """What a job holds now.

    `trains_from` is when the overhead of its latest start or reshape is paid off: until then it
    holds GPUs and gains no iterations. `since` is when that start or reshape happened. `active` is
    how many GPUs of the block it is to train on (None: all); the others stay idle, and its own.
    """

    block: Block
    since: float
    trains_from: float
    active: int | None = None

    @property
    def gpus(self) -> int:
        """GPUs held."""
        return self.block.gpus

    @property
    def active_gpus(self) -> int:
        """GPUs to train on."""
        return self.block.gpus if self.active is None else self.active
