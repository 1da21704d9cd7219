"""The planner's answer: verdicts, decisions, and the reason of each."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ef_slurm.model.block import Block
from ef_slurm.model.reservation import Schedule


class Outcome(enum.Enum):
    """The planner's answer to a job that it judged."""

    PROMISED = "promised"
    BEST_EFFORT = "best-effort"
    WAITLISTED = "waitlisted"
    REJECTED = "rejected"


class PromiseState(enum.Enum):
    """What the present plan says about a promise."""

    NONE = "none"  # no promise was given, or it has ended
    SAFE = "safe"  # the plan finishes the job by its deadline
    IN_GRACE = "in-grace"  # a soft deadline will be missed, within its grace
    AT_RISK = "at-risk"  # the plan finishes the job too late


class ReasonCode(enum.Enum):
    """Why a job has the share that it has. `Reason` carries the numbers."""

    STARTED = "started"
    KEPT = "kept"
    GREW = "grew"  # to `gpus`, because it gains most from them until `until`
    PEAK = "peak"  # to `gpus`, because it trains no faster on more
    SHRANK = "shrank"  # to `gpus`, because `job`'s promise needs the rest
    MIGRATED = "migrated"  # same share, other block, so that `job` fits
    PAUSED = "paused"  # because `job`'s promise needs its GPUs
    WAITS = "waits"  # for GPUs, until `until`
    DEPENDENCY = "dependency"  # at risk since nobody can say when what it waits for has come
    BEGIN = "begin"  # may not begin before `until`; `limit` says why, "" for its owner's wish
    LIMITED = "limited"  # a limit, of `gpus` or of promised GPU-hours; `limit` says which
    REJECTED = "rejected"  # the cluster is promised until `until`
    RESTRICTED = "restricted"  # its nodes alone do not do, or (`until`) are promised to others
    PRICED = "priced"  # the GPU time that it asks for is worth more than it: `worth` promises
    UNAVAILABLE = "unavailable"  # `gpus` are there; the rest is drained, down or somebody else's
    TIME_LIMIT = "time-limit"  # `limit` would end it before it is done
    TOO_LARGE = "too-large"  # not even an empty cluster makes the deadline
    LOST_CAPACITY = "lost-capacity"  # GPUs went away, or it was put back or kept waiting
    STALLED = "stalled"  # it stopped training, and has given up its GPUs
    BEHIND = "behind"  # at risk since it has done less than planned by now
    REFUSED = "refused"  # at risk since Slurm does not start it where it was to run
    NOT_STARTED = "not-started"  # at risk since it did not start when it was to
    MEASURED = "measured"  # on `gpus`, before it is judged; or waits for that
    UNMEASURED = "unmeasured"  # its speed could not be measured before its deadline


@dataclass(frozen=True, slots=True)
class Reason:
    """A decision's reason as data; `ef-squeue --explain` makes a sentence of it.

    Args:
        gpu_hours: that would be promised together; more than `gpu_hours_limit`.
        worth: of the GPU time that it asks for, in promises to typical jobs (of weight 1).
        limit: what limits it, in the words of whoever set it; "" for a limit of ef-slurm's own.
        measured: whether `job` is to be measured on the GPUs, and has no promise that needs them.
    """

    code: ReasonCode
    job: str | None = None
    gpus: int | None = None
    until: float | None = None
    gpu_hours: float | None = None
    gpu_hours_limit: float | None = None
    limit: str = ""
    worth: float | None = None
    measured: bool = False

    @property
    def is_for_good(self) -> bool:
        """Whether no waiting helps a newcomer: an empty cluster would not do either."""
        match self.code:
            case ReasonCode.TOO_LARGE | ReasonCode.TIME_LIMIT | ReasonCode.BEGIN:
                return True
            case ReasonCode.RESTRICTED:
                return self.until is None
            case ReasonCode.LIMITED:
                return self.gpus is not None and self.gpu_hours is None
            case _:
                return False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a job that this plan judged.

    `share` is the minimum satisfactory share that was promised (GPUs), `finish` the predicted
    finish. `earliest_deadline` is the counter-offer to a job that was not promised: resubmitted
    with it at once, it is admitted; `Policy.offer_resolution` earlier it is not. None when no
    deadline can be offered.
    """

    job_id: str
    outcome: Outcome
    reason: Reason
    share: int = 0
    finish: float | None = None
    earliest_deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What one job gets now, and what it is to get later.

    `block` is None for no GPUs. `schedule` is the new plan in hand; `finish` the predicted finish
    (None when the job is not scheduled to its end).
    """

    job_id: str
    block: Block | None
    schedule: Schedule
    finish: float | None
    promise: PromiseState
    reason: Reason

    @property
    def gpus(self) -> int:
        """GPUs now."""
        return 0 if self.block is None else self.block.gpus


@dataclass(frozen=True, slots=True)
class Plan:
    """The planner's whole answer at `now`.

    `decisions` holds every job that is admitted (or best effort) after this plan, in the order of
    ids; `verdicts` every job that was judged, in arrival order. `next_change` is when the plan
    itself wants to be asked again even if nothing happens (`FOREVER` for never).
    """

    now: float
    decisions: tuple[Decision, ...]
    verdicts: tuple[Verdict, ...]
    next_change: float

    def decision(self, job_id: str) -> Decision:
        """The decision for one job.

        Raises:
            KeyError: the plan does not hold the job.
        """
        for decision in self.decisions:
            if decision.job_id == job_id:
                return decision
        raise KeyError(job_id)
