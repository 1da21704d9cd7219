"""What a command may ask the daemon, and what it answers.

Every request has one response type (or `Failure`). Job ids are Slurm's.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from ef_slurm.model import (
    UNSPECIFIED,
    BatchScript,
    ChangeOutcome,
    Gate,
    HistoryMark,
    HistoryPage,
    JobAction,
    JobChange,
    JobDetail,
    JobList,
    JobRequest,
    JobState,
    KnownCurve,
    MeasuredRate,
    OtherJob,
    Schedule,
    Story,
    Verdict,
)

MAX_WAIT_SECONDS = 25.0
"""Seconds that one `Await` may take; a longer wait asks again."""

MOST_RATES = 1000
"""Rates that one `AddRates` may bring."""

MOST_JOB_IDS = 100
"""Different job ids that one `ListJobs` or `Cancel` may name."""


class Until(enum.Enum):
    """What an `Await` waits for."""

    VERDICT = "verdict"
    MEASURING = "measuring"  # a verdict, or that it is measured, or waits, before it is given one
    END = "end"


class FailureCode(enum.Enum):
    """Why the daemon did not do what it was asked."""

    BAD_REQUEST = "bad-request"
    OTHER_VERSION = "other-version"
    UNAUTHENTICATED = "unauthenticated"
    DENIED = "denied"
    UNKNOWN_JOB = "unknown-job"
    NO_SUCH_PATH = "no-such-path"
    NO_SUCH_METHOD = "no-such-method"
    REPLAYED = "replayed"
    STALE = "stale"
    TOO_SLOW = "too-slow"
    TOO_LARGE = "too-large"
    TOO_MANY = "too-many-requests"
    BUSY = "busy"
    SLURM = "slurm"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Ping:
    """Is anybody there?"""


@dataclass(frozen=True, slots=True)
class Pong:
    """Who answers. Times are UTC epoch seconds; `gpu_types` are those that it schedules."""

    version: str
    cluster: str
    pid: int
    user: str
    advisory: bool
    started: float
    last_tick: float | None
    gpu_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Register:
    """Take a held Slurm job into the queue, with the script that sbatch was given for it.

    Asked twice, it is taken once.
    """

    job: JobRequest
    script: BatchScript


@dataclass(frozen=True, slots=True)
class Registered:
    """It is in the queue; `created` is False where it was before."""

    job_id: int
    created: bool


@dataclass(frozen=True, slots=True)
class Await:
    """Tell about a job as soon as it has what `until` says, or after `seconds` as it then is."""

    job_id: int
    until: Until = Until.END
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Judge:
    """What would the verdict be? Nothing is written. `job.slurm_job_id` is 0."""

    job: JobRequest


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict that a submission would get now, and its plan.

    Args:
        verdict: None where nobody knows yet how fast it trains: it would be measured first.
        measured_on: the sizes, in GPUs, in this order.
        measured_for: seconds of training that this takes.
        waits: what it waits for before it can be judged at all; None for nothing.
    """

    verdict: Verdict | None
    schedule: Schedule
    explanation: str = ""
    others: tuple[OtherJob, ...] = ()
    measured_on: tuple[int, ...] = ()
    measured_for: float = 0.0
    waits: Gate | None = None


@dataclass(frozen=True, slots=True)
class ListJobs:
    """Jobs of the queue.

    Args:
        users: of these owners only; empty: everybody's.
        states: in these states only; empty: the active ones.
        job_ids: these and no others, in any state.
        all: finished jobs too.
    """

    users: tuple[str, ...] = ()
    states: tuple[JobState, ...] = ()
    job_ids: tuple[int, ...] = ()
    all: bool = False


@dataclass(frozen=True, slots=True)
class ListHistory:
    """Jobs that ended at `since` or later and before `until` (None: until now).

    One answer is a bounded part of them; `HistoryPage.next` says how to ask for the rest.

    Args:
        users, accounts: of these only; empty: everybody's.
        after, after_row: the `HistoryMark` of the answer before; None for the beginning.
    """

    since: float
    until: float | None = None
    users: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    after: float | None = None
    after_row: int = 0

    @property
    def mark(self) -> HistoryMark | None:
        """From where to go on."""
        return None if self.after is None else HistoryMark(self.after, self.after_row)


@dataclass(frozen=True, slots=True)
class Explain:
    """The story of a job."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """These jobs were cancelled in Slurm: follow at once. The daemon asks Slurm before it does."""

    job_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NotCancelled:
    """A job that Slurm does not report as cancelled, and why."""

    job_id: int
    why: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of a `Cancel`."""

    job_ids: tuple[int, ...]
    refused: tuple[NotCancelled, ...] = ()


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Its owner gives up a submission that has no verdict yet."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """It takes no part in plans any more."""

    job_id: int


@dataclass(frozen=True, slots=True)
class ChangeJob:
    """Let a job of the caller's (an operator: anybody's) be otherwise than it was submitted."""

    job_id: int
    change: JobChange


@dataclass(frozen=True, slots=True)
class JobChanged:
    """What became of a `ChangeJob`.

    Args:
        verdict: the one that it got, if it was judged now; with a counter-offer where it is not
            promised. What the job was promised before then stands.
        explanation: a sentence.
        at: when it was judged, UTC epoch seconds.
    """

    job_id: int
    outcome: ChangeOutcome
    verdict: Verdict | None
    explanation: str
    at: float
    others: tuple[OtherJob, ...] = ()


@dataclass(frozen=True, slots=True)
class ActOnJob:
    """Hold, release or requeue a job of the caller's (an operator: anybody's)."""

    job_id: int
    action: JobAction


@dataclass(frozen=True, slots=True)
class JobActedOn:
    """It is done, or is under way; a sentence says which."""

    job_id: int
    explanation: str


@dataclass(frozen=True, slots=True)
class TrainOn:
    """Let a best-effort job of the caller's train on so many of the GPUs that it holds.

    Args:
        gpus: a power of two; None for all of them.
    """

    job_id: int
    gpus: int | None


@dataclass(frozen=True, slots=True)
class TrainsOn:
    """It is launched again on `gpus` of the `held` GPUs, unless it is already."""

    job_id: int
    gpus: int
    held: int


@dataclass(frozen=True, slots=True)
class FindCurves:
    """How fast does a training go, as far as that was measured before?

    Args:
        global_batch_size: None: that of the caller's last run of the training.
    """

    model_name: str
    global_batch_size: int | None = None
    precision: str = UNSPECIFIED


@dataclass(frozen=True, slots=True)
class KnownCurves:
    """Curves by GPU type, of those that the daemon schedules; none where nothing is known.

    Args:
        iterations, global_batch_size: what the script of the caller's last run of the training
            said; None where none did.
    """

    curves: tuple[KnownCurve, ...]
    iterations: int | None = None
    global_batch_size: int | None = None


@dataclass(frozen=True, slots=True)
class ListRates:
    """The caller's own measured rates, of all keys or of those that have what is given."""

    model_name: str | None = None
    global_batch_size: int | None = None
    precision: str | None = None
    gpu_type: str | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """Measured rates."""

    rates: tuple[MeasuredRate, ...]


@dataclass(frozen=True, slots=True)
class AddRates:
    """Remember rates that were measured elsewhere, `MOST_RATES` at most, for the caller alone."""

    rates: tuple[MeasuredRate, ...]


@dataclass(frozen=True, slots=True)
class DeleteRates:
    """Forget the caller's own rates of a model, all or those that have what is given."""

    model_name: str
    global_batch_size: int | None = None
    precision: str | None = None
    gpu_type: str | None = None


@dataclass(frozen=True, slots=True)
class RatesChanged:
    """So many rates were added or forgotten."""

    count: int


@dataclass(frozen=True, slots=True)
class Failure:
    """It was not done. `message` is for a person."""

    code: FailureCode
    message: str


Request: TypeAlias = (
    Ping
    | Register
    | Await
    | Judge
    | ListJobs
    | ListHistory
    | Explain
    | Cancel
    | Withdraw
    | ChangeJob
    | ActOnJob
    | TrainOn
    | FindCurves
    | ListRates
    | AddRates
    | DeleteRates
)
Response: TypeAlias = (
    Pong
    | Registered
    | JobDetail
    | Judged
    | JobList
    | HistoryPage
    | Story
    | Cancelled
    | Withdrawn
    | JobChanged
    | JobActedOn
    | TrainsOn
    | KnownCurves
    | Rates
    | RatesChanged
    | Failure
)
