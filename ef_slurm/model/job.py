"""A job as the planner sees it."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

from ef_slurm.model.bar import Bar
from ef_slurm.model.budget import Charge
from ef_slurm.model.checks import check_finite
from ef_slurm.model.curve import ThroughputCurve
from ef_slurm.model.errors import ModelError
from ef_slurm.model.overhead import Overhead
from ef_slurm.model.reservation import Running, Schedule, check_schedule


class JobKind(enum.Enum):
    """What the deadline means to the job."""

    DEADLINE = "deadline"  # promised or not run (as `IfInfeasible` says)
    SOFT_DEADLINE = "soft-deadline"  # may be missed by `Job.grace` seconds
    BEST_EFFORT = "best-effort"  # none


class IfInfeasible(enum.Enum):
    """What a newcomer wants when its deadline cannot be promised."""

    REJECT = "reject"
    WAIT = "wait"
    BEST_EFFORT = "best-effort"


class Standing(enum.Enum):
    """Where a job stands with the planner."""

    NEW = "new"  # not judged yet
    WAITLISTED = "waitlisted"  # judged, not promised, tested again whenever capacity appears
    ADMITTED = "admitted"  # has a promise, or runs as best effort


NEWCOMER = "newcomer"
"""The id of a job that nobody has submitted: it sorts behind every id of the queue."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training run as the planner sees it at one moment.

    Args:
        id: the queue's name of the job; also the last tie-breaker everywhere.
        submitted: when it arrived.
        iterations: how many remain (a float: a report may fall between two).
        curves: (GPU type, curve) for every type that it may use. Promises count on them, so a curve
            that was fitted gives its pessimistic values here.
        growth_curves: the same as they are expected to be, for growth; empty: `curves`.
        kind: what its deadline means.
        deadline: when it must be finished; None for best effort.
        grace: seconds by which a soft deadline may be missed.
        if_infeasible: what it wants when it cannot be promised.
        standing: new, waitlisted or admitted.
        overhead: what a start and a reshape cost it.
        running: what it holds now, or None.
        plan: its plan in hand: the schedule that the last plan gave it. Empty for none.
        last_reshape: when its share last changed by the planner's will.
        reshapes: how often it did.
        owner, account: for limits.
        max_gpus: the largest share that it accepts; 0 for none at present. `max_gpus_by` says
            what it is that allows no more, in words; "" for its owner's wish.
        longest: the most seconds from its first start to its finish, of a job that has not started;
            of others the deadline has to say it. `longest_by` says in words what ends it then; ""
            for nothing before its own deadline.
        charges: what it uses of the policy's budgets.
        weight: what a promise to it counts, where promises compete; infinite: it does not compete.
        bars: nodes that it may not use, at any size or from some size on.
        doubles: whether it grows by doublings, each of which costs a growth (`Overhead.growth`).
        begin: before when it may not start, seconds; of a job that holds GPUs it says nothing.
            `begin_by` says in words what it is that keeps it until then; "" for its owner's wish.
    """

    id: str
    submitted: float
    iterations: float
    curves: tuple[tuple[str, ThroughputCurve], ...]
    kind: JobKind = JobKind.DEADLINE
    deadline: float | None = None
    grace: float = 0.0
    if_infeasible: IfInfeasible = IfInfeasible.REJECT
    standing: Standing = Standing.NEW
    overhead: Overhead = field(default_factory=Overhead)
    running: Running | None = None
    plan: Schedule = ()
    last_reshape: float = -math.inf
    reshapes: int = 0
    owner: str = ""
    account: str = ""
    max_gpus: int | None = None
    growth_curves: tuple[tuple[str, ThroughputCurve], ...] = ()
    bars: tuple[Bar, ...] = ()
    max_gpus_by: str = ""
    longest: float = math.inf
    longest_by: str = ""
    charges: tuple[Charge, ...] = ()
    weight: float = 1.0
    begin: float = -math.inf
    begin_by: str = ""
    doubles: bool = False

    def __post_init__(self) -> None:
        check_finite("submission time", self.submitted, wanted="seconds since the epoch")
        if not (math.isfinite(self.iterations) and self.iterations > 0):
            raise ModelError("iterations", self.iterations, "a positive number")
        if not self.curves:
            raise ModelError("throughput curves", self.curves, "one for at least one GPU type")
        types = [gpu_type for gpu_type, _ in self.curves]
        if len(set(types)) != len(types):
            raise ModelError("throughput curves", types, "one curve per GPU type")
        check_finite("grace", self.grace, low=0.0, wanted="seconds, 0 or more")
        if self.kind is JobKind.BEST_EFFORT:
            if self.deadline is not None:
                raise ModelError("deadline", self.deadline, "none for a best-effort job")
        elif self.deadline is None:
            raise ModelError("deadline", self.deadline, f"a time for a {self.kind.value} job")
        else:
            check_finite("deadline", self.deadline, wanted="seconds since the epoch")
            if self.standing is Standing.NEW and self.deadline <= self.submitted:
                raise ModelError(
                    "deadline", self.deadline, f"later than the submission at {self.submitted!r}"
                )
        if self.grace and self.kind is not JobKind.SOFT_DEADLINE:
            raise ModelError("grace", self.grace, "only for a soft deadline")
        check_schedule(self.plan)
        if self.max_gpus is not None and self.max_gpus < 0:
            raise ModelError("max GPUs", self.max_gpus, "0 or more")
        budgets = [charge.budget for charge in self.charges]
        if len(set(budgets)) != len(budgets):
            raise ModelError("charges", budgets, "one for a budget")
        if not self.weight > 0:
            raise ModelError("weight", self.weight, "a positive number")
        if math.isnan(self.begin) or self.begin == math.inf:
            raise ModelError("begin", self.begin, "a time")
        if not self.longest > 0:
            raise ModelError("time limit", self.longest, "more than 0 seconds")
