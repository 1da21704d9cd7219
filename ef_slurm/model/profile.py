"""What the profile library remembers: how fast a training was seen to go."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from ef_slurm.model.checks import check_finite, is_power_of_two
from ef_slurm.model.curve import ThroughputCurve
from ef_slurm.model.errors import ModelError

UNSPECIFIED = "unspecified"
"""The precision of a training that does not say which it is."""

LONGEST_NAME = 128
"""Characters of a model's name, a precision, a GPU type."""
LONGEST_SOURCE = 512
"""Characters of a text that says where a rate is from."""
MOST_SAMPLES = 1 << 62
"""A global batch size fits into 64 bits."""
SLOWEST = 1e-9
"""Iterations/s of the slowest training: one in thirty years."""
FASTEST = 1e9
"""Iterations/s that nothing exceeds: a faster one is a fault or a lie."""


def check_name(field: str, text: str, *, longest: int = LONGEST_NAME) -> None:
    """Refuse what is not a short, printable word or two.

    Raises:
        ModelError: empty, too long, or with characters that do not print.
    """
    if not text.strip() or len(text) > longest or not text.isprintable():
        raise ModelError(field, text[:longest], f"1 to {longest} printable characters")


@dataclass(frozen=True, slots=True)
class ProfileKey:
    """Trainings of one key are equally fast on equally many GPUs.

    Args:
        model_name: what is trained; by default the script's name.
        global_batch_size: samples per iteration over all GPUs.
        precision: of its numbers, a word of the user's ("bf16").
        gpu_type: as Slurm calls it.
    """

    model_name: str
    global_batch_size: int
    precision: str
    gpu_type: str

    def __post_init__(self) -> None:
        check_name("model name", self.model_name)
        check_name("precision", self.precision)
        check_name("GPU type", self.gpu_type)
        if not 1 <= self.global_batch_size <= MOST_SAMPLES:
            raise ModelError("global batch size", self.global_batch_size, "1 or more")


@dataclass(frozen=True, slots=True)
class MeasuredRate:
    """One point of a throughput curve, with where it is from.

    Args:
        key: of what.
        gpus: on how many, a power of two.
        gpus_per_node: how many of them on each node.
        rate: iterations/s.
        seconds: of training that it was taken over; 0 where that is not known.
        owner, account: whose job it was; the account is "" for an import.
        at: when, UTC epoch seconds.
        cluster: where, by Slurm's name of it.
        job_id: Slurm's of the job that was watched; None for an import.
        source: of an import: a file; "" for what was watched.
        software: what it ran with, in its owner's words; "" for not known.
    """

    key: ProfileKey
    gpus: int
    gpus_per_node: int
    rate: float
    seconds: float
    owner: str
    account: str
    at: float
    cluster: str = ""
    job_id: int | None = None
    source: str = ""
    software: str = ""

    def __post_init__(self) -> None:
        for field, number in (("GPUs", self.gpus), ("GPUs per node", self.gpus_per_node)):
            if not (is_power_of_two(number) and number <= 1 << 20):
                raise ModelError(field, number, "a power of two (1, 2, 4, …)")
        if self.gpus_per_node > self.gpus:
            raise ModelError("GPUs per node", self.gpus_per_node, f"{self.gpus} at most")
        if not (math.isfinite(self.rate) and 0 < self.rate <= FASTEST):
            raise ModelError(
                f"throughput at {self.gpus} GPUs", self.rate, "a positive number of iterations/s"
            )
        check_finite("seconds of training", self.seconds, low=0.0, wanted="seconds, 0 or more")
        check_finite("time of measuring", self.at, wanted="seconds since the epoch")
        for field, text in (("source", self.source), ("software", self.software)):
            if text:
                check_name(field, text, longest=LONGEST_SOURCE)


class ProfileLevel(enum.Enum):
    """Whose measurements a curve was made of."""

    OWN = "own"
    ACCOUNT = "account"
    SITE = "site"  # what several owners agree on


@dataclass(frozen=True, slots=True)
class KnownCurve:
    """What the profile library says of a training on one GPU type.

    Args:
        gpu_type: as Slurm calls it.
        promised: the pessimistic curve, on which promises count.
        expected: the median one, on which growth counts.
        measured: (GPUs, iterations/s) that both were fitted to; one alone is the whole curve.
        level: whose they are.
        last: when the latest of them was measured, UTC epoch seconds.
    """

    gpu_type: str
    promised: ThroughputCurve
    expected: ThroughputCurve
    measured: tuple[tuple[int, float], ...]
    level: ProfileLevel
    last: float
