"""What a site decides."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ef_slurm.model.checks import check_finite
from ef_slurm.model.errors import ModelError


class RiskOrder(enum.Enum):
    """Whose promises are kept first when capacity is lost and not all can be."""

    EARLIEST_DEADLINE = "earliest-deadline"
    EARLIEST_SUBMITTED = "earliest-submitted"
    MOST_PROMISES = "most-promises"  # cheapest first: keeps the largest number


@dataclass(frozen=True, slots=True)
class Limit:
    """The most GPUs that an owner or an account may hold at a time. None matches everybody."""

    max_gpus: int
    owner: str | None = None
    account: str | None = None

    def __post_init__(self) -> None:
        if self.max_gpus < 0:
            raise ModelError("limit", self.max_gpus, "0 or more GPUs")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a site decides.

    Args:
        min_reshape_interval: seconds between two growths of the same job.
        growth_gain: growth must gain at least this many times its overhead.
        min_speedup: a change that no promise needs must shorten what remains of the job by at
            least this fraction.
        best_effort_grows: whether best-effort jobs compete for left-over GPUs by marginal return,
            or only take what no deadline job can use.
        risk_order: whose promises are kept first when capacity is lost.
        offers: whether rejected newcomers get a counter-offer (a replay has no use for it).
        offer_resolution: seconds to which a counter-offer is exact.
        limits: per-owner and per-account limits.
    """

    min_reshape_interval: float = 0.0
    growth_gain: float = 1.0
    min_speedup: float = 0.1
    best_effort_grows: bool = True
    risk_order: RiskOrder = RiskOrder.EARLIEST_DEADLINE
    offers: bool = True
    offer_resolution: float = 60.0
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        wanted = "seconds, 0 or more"
        check_finite("minimum reshape interval", self.min_reshape_interval, low=0.0, wanted=wanted)
        check_finite("growth gain", self.growth_gain, low=0.0, wanted="a factor, 0 or more")
        if not 0 <= self.min_speedup < 1:
            raise ModelError("minimum speed-up", self.min_speedup, "a fraction from 0 to below 1")
        check_finite("offer resolution", self.offer_resolution, low=1e-3, wanted="positive seconds")
