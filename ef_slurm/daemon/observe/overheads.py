"""Seconds per change of share, as they were measured: of a job, of its kind, of its owner.

A change costs the time for which training stands still, where what is trained until then is no
less than what would be trained in that time after the change. A growth also costs what it is slower
until then: all the time since it was decided is counted for it.

When a job trains again is the job's own word. So what is learned of one owner's jobs is believed of
that owner's jobs alone; for everybody else the site's configuration counts.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

from ef_slurm.daemon.observe.of_owners import OfOwners
from ef_slurm.model import OVERHEAD_KINDS, ChangeKind, JobRequest, Overhead, overhead_field

SAFETY_FACTOR = 1.1
"""A promise counts on this many times what was measured."""
LEAVING_SECONDS = 2.0
"""And on so much more at least, where GPUs are taken over: what was measured may have had free
ones. Whoever is on them next time takes as long as Slurm's part of a reshape to leave."""
SAMPLES_PER_JOB = 3
"""The latest measurements of a job of which the worst counts."""
SAMPLES_OF_OTHERS = 20
"""The latest measurements of jobs of one training, or of one owner."""
MOST_TRAININGS_OF_OWNER = 100
"""Trainings of one owner whose measurements are kept, those that were used last; their names are
the owner's to choose. All of the owner's jobs together count as one of them."""
MOST_TRAININGS = 5000
"""The same of all owners."""
LIVE_SECONDS = 3.0
"""What a live change is taken to cost until one was measured; a growth has a start beside it."""
QUANTILE = 0.8
"""Of those: what most changes do not exceed."""

TAKES_OVER = frozenset(
    overhead_field(kind)
    for kind in (ChangeKind.START, ChangeKind.GROW, ChangeKind.MOVE, ChangeKind.RESTART)
)

TRAINS_ON = frozenset(
    overhead_field(kind) for kind in (ChangeKind.SHRINK, ChangeKind.RELAUNCH, ChangeKind.MOVE)
)
"""Costs of changes after which a job trains no faster than before, so that nothing is lost as long
as it trains on."""

LIVE_KINDS = {
    ChangeKind.GROW: "live grow",
    ChangeKind.SHRINK: "live shrink",
    ChangeKind.RELAUNCH: "live shrink",
}
"""Under which name live changes of a kind are remembered, apart from those that stop a launch."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a change took.

    Args:
        seconds: from its decision to the end of the first iteration after it.
        without: for how many of them training stood still; None where that is not known, which
            counts as all of them.
    """

    seconds: float
    without: float | None = None

    @property
    def still(self) -> float:
        """Seconds for which training stood still, as far as is known."""
        return self.seconds if self.without is None else self.without


@dataclass(frozen=True, slots=True)
class Submitter:
    """Whose job it is, and of which training.

    Args:
        owner: the user.
        training: the key of the profile library in one text; "" where the job has none.
    """

    owner: str
    training: str = ""

    @classmethod
    def of(cls, request: JobRequest) -> Submitter:
        """Of a submission."""
        if not request.model_name:
            return cls(request.owner)
        key = (request.model_name, str(request.global_batch_size), request.precision)
        return cls(request.owner, "\n".join(key))


class Overheads:
    """What changes took, by the field of `Overhead` that tells what they cost."""

    def __init__(self) -> None:
        self._of_job: dict[int, dict[str, deque[Taken]]] = {}
        self._of_trainings: OfOwners[dict[str, deque[Taken]]] = OfOwners(
            dict, most_of_owner=MOST_TRAININGS_OF_OWNER, most=MOST_TRAININGS
        )

    def add(self, job_id: int, submitter: Submitter | None, overhead: str, took: Taken) -> None:
        """What a field of `Overhead` states took a job so long.

        Args:
            submitter: None where that is not known any more.
        """
        own = self._of_job.setdefault(job_id, {})
        own.setdefault(overhead, deque(maxlen=SAMPLES_PER_JOB)).append(took)
        if submitter is not None:
            for training in {submitter.training, ""}:
                others = self._of_trainings.made(submitter.owner, training)
                others.setdefault(overhead, deque(maxlen=SAMPLES_OF_OTHERS)).append(took)

    def forget(self, job_id: int) -> None:
        """A job has ended: what its changes took counts for its owner's others only."""
        self._of_job.pop(job_id, None)

    def estimate(
        self, job_id: int | None, request: JobRequest, *, slower: bool = False
    ) -> Overhead:
        """What the job's next change will cost.

        Its own worst lately, else what most changes of the same owner's jobs took, those of the
        same training if there were any, else what it was submitted with.

        Args:
            job_id: None for a job that is not in the queue.
            slower: whether it may train slower until a change than after it, whatever the kind.
        """
        submitter = Submitter.of(request)
        seconds = {
            kind: self._seconds(job_id, submitter, kind, whole=slower or kind not in TRAINS_ON)
            for kind in OVERHEAD_KINDS
        }
        known = {kind: value for kind, value in seconds.items() if value is not None}
        return replace(request.overhead, **known)

    def live(
        self, job_id: int, request: JobRequest, overhead: Overhead, *, grows: bool, shrinks: bool
    ) -> Overhead:
        """What the next change will cost of a job whose launch changes while it runs.

        Args:
            overhead: what it costs where the launch has to stop.
            grows: whether it may grow so.
            shrinks: whether it can shrink so.
        """
        submitter = Submitter.of(request)

        grow = self._seconds(job_id, submitter, LIVE_KINDS[ChangeKind.GROW])
        if grow is None:  # meanwhile its new ranks start
            grow = min(overhead.restart, LIVE_SECONDS + overhead.start)
        shrink = self._seconds(job_id, submitter, LIVE_KINDS[ChangeKind.SHRINK])
        return replace(
            overhead,
            grow=grow if grows else overhead.restart,
            shrink=(LIVE_SECONDS if shrink is None else shrink) if shrinks else overhead.shrink,
        )

    def _seconds(
        self, job_id: int | None, submitter: Submitter, overhead: str, *, whole: bool = True
    ) -> float | None:
        """What a change is to be taken to cost; None where none was measured.

        Args:
            whole: count all the time since the decision.
        """

        def cost(took: Taken) -> float:
            return took.seconds if whole else took.still

        own = None if job_id is None else self._of_job.get(job_id, {}).get(overhead)
        if own:
            return _with_margin(max(map(cost, own)), overhead)
        for training in (submitter.training, ""):
            others = (self._of_trainings.get(submitter.owner, training) or {}).get(overhead)
            if others:
                ranked = sorted(map(cost, others))
                return _with_margin(ranked[int(QUANTILE * (len(ranked) - 1))], overhead)
        return None


def _with_margin(seconds: float, overhead: str) -> float:
    """Whole seconds, so that plans do not change for a hair."""
    leaving = LEAVING_SECONDS if overhead in TAKES_OVER else 0.0
    return float(math.ceil(round(max(SAFETY_FACTOR * seconds, seconds + leaving), 6)))
