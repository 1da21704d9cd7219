"""What a site decides."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from ef_slurm.model.checks import check_finite
from ef_slurm.model.errors import ModelError


class RiskOrder(enum.Enum):
    """Whose promises are kept first when capacity is lost and not all can be."""

    EARLIEST_DEADLINE = "earliest-deadline"
    EARLIEST_SUBMITTED = "earliest-submitted"
    MOST_PROMISES = "most-promises"  # cheapest first: keeps the largest number


class Admission(enum.Enum):
    """Who is promised a deadline when not everybody can be."""

    FIRST_COME = "first-come"  # whoever can be promised is
    MOST_PROMISES = "most-promises"  # GPU time has a price (`planner.prices`)


@dataclass(frozen=True, slots=True)
class Weight:
    """What a promise to the jobs of an account, or of a QOS, counts. None matches everybody."""

    weight: float
    account: str | None = None
    qos: str | None = None

    def __post_init__(self) -> None:
        if not 1e-6 <= self.weight <= 1e6:
            raise ModelError("weight", self.weight, "a number from 1e-6 to 1e6")


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
class PromiseLimit:
    """The most GPU-hours that the open promises of an owner or an account may take together.

    None matches everybody. What counts of a promise is the least GPU time in which the rest of its
    job can be done by its deadline. A job beyond the limit is not promised; what was promised
    before stays.
    """

    gpu_hours: float
    owner: str | None = None
    account: str | None = None

    def __post_init__(self) -> None:
        check_finite("limit", self.gpu_hours, low=0.0, wanted="0 or more GPU-hours")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """[limits]: what one user, one account and one job may have. 0 means no limit.

    Args:
        jobs: in the queue at a time.
        jobs_per_user, jobs_per_account: of one user, of one account.
        submissions_per_hour: of one user, those that were refused or withdrawn included.
        gpus_per_job: the largest share.
        gpus_per_user, gpus_per_account: that the jobs of one user, of one account, hold at a time.
        gpu_hours_per_user, gpu_hours_per_account: that may be promised to one user, to one account
            (`PromiseLimit`). None: as many as the whole cluster has in `DEFAULT_USER_HOURS`, in
            `DEFAULT_ACCOUNT_HOURS`.
    """

    jobs: int = 10000
    jobs_per_user: int = 500
    jobs_per_account: int = 2500
    submissions_per_hour: int = 1000
    gpus_per_job: int = 0
    gpus_per_user: int = 0
    gpus_per_account: int = 0
    gpu_hours_per_user: float | None = None
    gpu_hours_per_account: float | None = None


DEFAULT_USER_HOURS = 72.0
"""Hours of the whole cluster that are promised to one user unless the site says otherwise."""
DEFAULT_ACCOUNT_HOURS = 240.0
"""The same for one account."""


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
        limits: the most GPUs that owners and accounts may hold at a time.
        promise_limits: the most GPU-hours that may be promised to them.
        limits: per-owner and per-account limits.
        admission: who is promised when not everybody can be.
        weights: with `most-promises`, what a promise counts; those that match a job are multiplied.
        longest_wait: with `most-promises`, seconds beyond its fastest run by which a job may be put
            off for its price; whoever gives that much time has none to pay.
        measuring_seconds: of training after which a job without a throughput curve is judged by
            what was measured until then.
        measuring_gpu_seconds: the same times GPUs; 0: `measuring_seconds` on one whole node.
    """

    min_reshape_interval: float = 0.0
    growth_gain: float = 1.0
    min_speedup: float = 0.1
    best_effort_grows: bool = True
    risk_order: RiskOrder = RiskOrder.EARLIEST_DEADLINE
    offers: bool = True
    offer_resolution: float = 60.0
    limits: tuple[Limit, ...] = ()
    promise_limits: tuple[PromiseLimit, ...] = ()
    admission: Admission = Admission.FIRST_COME
    weights: tuple[Weight, ...] = ()
    longest_wait: float = 14 * 86400.0
    measuring_seconds: float = 180.0
    measuring_gpu_seconds: float = 0.0

    def __post_init__(self) -> None:
        wanted = "seconds, 0 or more"
        check_finite("minimum reshape interval", self.min_reshape_interval, low=0.0, wanted=wanted)
        check_finite("growth gain", self.growth_gain, low=0.0, wanted="a factor, 0 or more")
        if not 0 <= self.min_speedup < 1:
            raise ModelError("minimum speed-up", self.min_speedup, "a fraction from 0 to below 1")
        check_finite("longest wait", self.longest_wait, low=0.0, wanted=wanted)
        check_finite("measuring seconds", self.measuring_seconds, low=0.0, wanted=wanted)
        check_finite(
            "measuring GPU seconds", self.measuring_gpu_seconds, low=0.0, wanted="0 or more"
        )
        check_finite("offer resolution", self.offer_resolution, low=1e-3, wanted="positive seconds")

    def weight(self, account: str, qos: str = "") -> float:
        """What a promise to a job of that account and QOS counts."""
        return math.prod(
            one.weight
            for one in self.weights
            if one.account in (None, account) and one.qos in (None, qos)
        )
