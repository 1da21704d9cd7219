"""The demo's six jobs, and what each of them is there to show.

Chosen so that the same story unfolds whether a start takes 8 or 20 seconds (held by
tests/unit/docker/test_demo_jobs.py, which plays it in virtual time). On a slower machine
everything takes longer: arrivals, work, deadlines and overheads alike. On a quick one nothing takes
less: what varies from start to start does not get shorter, and somebody has to follow.
No rate is more than sixteen ranks reach together on two cores.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

OVERHEAD_SECONDS = 22.0
"""Seconds per start and reshape that the demo's site counts on before it has measured any."""

TYPICAL_START_SECONDS = 15.0
"""Seconds of a start at the pace for which the numbers below are."""

PATIENCE_SECONDS = 60.0
"""For which a job is kept back at most until another one has grown."""


class Request(enum.Enum):
    """What a job asks for."""

    DEADLINE = "deadline"
    BEST_EFFORT = "best effort"
    TOO_SOON = "a deadline that nobody can promise, then the one that is offered"
    SOONER_THAN_OFFERED = "a little sooner than can be promised, and it waits"
    UNKNOWN = "a deadline, and nothing else: the script says how much, its speed is measured"


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One job. Times in seconds.

    Args:
        at: when it is submitted, after the demo's start.
        deadline: after its submission; None where the offer decides, or for best effort.
        rates: (GPUs, iterations/s) that it tells ef-slurm, unless it is of an unknown speed.
        faster: how many times faster it really trains.
        story: why it is here.
        after: the job that is to have grown while it trains before this one comes; "" for none.
    """

    name: str
    at: float
    request: Request
    iterations: int
    deadline: float | None
    rates: tuple[tuple[int, float], ...]
    story: str
    faster: float = 1.02
    after: str = ""

    @property
    def throughput(self) -> str:
        """For --throughput."""
        return ",".join(f"{gpus}:{rate:g}" for gpus, rate in self.rates)

    @property
    def pace(self) -> str:
        """For the training's --pace."""
        return ",".join(f"{gpus}:{rate * self.faster:.4g}" for gpus, rate in self.rates)


JOBS = (
    DemoJob(
        "resnet", 0, Request.BEST_EFFORT, 70, None,
        ((1, 0.3), (2, 0.57), (4, 1.05), (8, 1.8), (16, 2.7)),
        "no deadline: takes what nobody needs, and gives it back",
    ),
    DemoJob(
        "bert", 20, Request.DEADLINE, 230, 300,
        ((1, 0.225), (2, 0.45), (4, 0.885), (8, 1.725), (16, 3.45)),
        "a comfortable deadline and good scaling: may be paused, and grows into idle GPUs",
    ),
    DemoJob(
        "gpt", 45, Request.DEADLINE, 150, 98,
        ((1, 0.3), (2, 0.6), (4, 1.2), (8, 2.325)),
        "a tight deadline: others make room",
        after="bert",
    ),
    DemoJob(
        "vgg", 68, Request.TOO_SOON, 93, 40,
        ((1, 0.25), (2, 0.48), (4, 0.9), (8, 1.5)),
        "asks too much, gets a counter-offer and takes it; trains faster than it said",
        faster=3.0,
    ),
    DemoJob(
        "lstm", 92, Request.SOONER_THAN_OFFERED, 60, None,
        ((1, 0.3), (2, 0.6), (4, 1.125), (8, 1.8)),
        "waits until somebody finishes early, and is promised then",
    ),
    DemoJob(
        "whisper", 116, Request.UNKNOWN, 100, 210,
        ((1, 0.5), (2, 0.95), (4, 1.8), (8, 3), (16, 4.5)),
        "nobody knows how fast it trains: measured while it trains, then promised",
        faster=1.0,
    ),
)  # fmt: skip

SOONER_SECONDS = 6.0
"""Seconds by which `Request.SOONER_THAN_OFFERED` undercuts what can be promised."""


def sooner_seconds(factor: float) -> float:
    """The same on a machine that is `factor` times slower."""
    return SOONER_SECONDS * factor


def slowed_down(factor: float) -> tuple[DemoJob, ...]:
    """The jobs for a machine that is `factor` times slower."""
    return tuple(_slowed_down(job, factor) for job in JOBS)


def _slowed_down(job: DemoJob, factor: float) -> DemoJob:
    return replace(
        job,
        at=job.at * factor,
        iterations=round(job.iterations * factor),
        deadline=None if job.deadline is None else job.deadline * factor,
    )
