"""Reservations: a job's blocks over time, planned and held."""

from __future__ import annotations

from dataclasses import dataclass

from ef_slurm.model.block import Block
from ef_slurm.model.checks import is_power_of_two
from ef_slurm.model.errors import ModelError


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a schedule: `gpus` of `gpu_type` from `start` to `end` (seconds).

    `first_gpu` is where its block begins on the line of the type's GPUs in node order (node index
    times GPUs per node, plus the offset inside the node): it keeps the plans of different jobs
    apart. The overhead of the change that begins a segment is spent inside it.
    """

    start: float
    end: float
    gpus: int
    gpu_type: str
    first_gpu: int = 0

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ModelError("segment end", self.end, f"later than its start {self.start!r}")
        if not is_power_of_two(self.gpus):
            raise ModelError("segment GPUs", self.gpus, "a power of two")
        if self.first_gpu < 0 or self.first_gpu % self.gpus:
            raise ModelError("segment first GPU", self.first_gpu, "a multiple of its GPUs")


Schedule = tuple[Segment, ...]
"""A job's share over time, in time order, gaps meaning no GPUs (paused)."""


@dataclass(frozen=True, slots=True)
class Running:
    """What a job holds now.

    `trains_from` is when the overhead of its latest start or reshape is paid off: until then it
    holds GPUs and gains no iterations. `since` is when that start or reshape happened.
    """

    block: Block
    since: float
    trains_from: float

    @property
    def gpus(self) -> int:
        """GPUs held."""
        return self.block.gpus
