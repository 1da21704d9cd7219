"""What a command may ask the daemon, and what it answers.

Every request has one response type (or `Failure`). Job ids are Slurm's.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from ef_slurm.model import (
    BatchScript,
    JobDetail,
    JobList,
    JobRequest,
    JobState,
    OtherJob,
    Schedule,
    Story,
    Verdict,
)

MAX_WAIT_SECONDS = 25.0
"""Seconds that one `Await` may take; a longer wait asks again."""


class Until(enum.Enum):
    """What an `Await` waits for."""

    VERDICT = "verdict"
    END = "end"


class FailureCode(enum.Enum):
    """Why the daemon did not do what it was asked."""

    BAD_REQUEST = "bad-request"
    DENIED = "denied"
    UNKNOWN_JOB = "unknown-job"
    REPLAYED = "replayed"
    STALE = "stale"
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
    until: Until
    seconds: float


@dataclass(frozen=True, slots=True)
class Judge:
    """What would the verdict be? Nothing is written. `job.slurm_job_id` is 0."""

    job: JobRequest


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict that a submission would get now, and its plan."""

    verdict: Verdict
    schedule: Schedule
    explanation: str = ""
    others: tuple[OtherJob, ...] = ()


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
class Failure:
    """It was not done. `message` is for a person."""

    code: FailureCode
    message: str


Request: TypeAlias = Ping | Register | Await | Judge | ListJobs | Explain | Cancel | Withdraw
Response: TypeAlias = (
    Pong | Registered | JobDetail | Judged | JobList | Story | Cancelled | Withdrawn | Failure
)

REQUESTS: Mapping[str, type[Request]] = MappingProxyType(
    {
        "ping": Ping,
        "register": Register,
        "await": Await,
        "judge": Judge,
        "list": ListJobs,
        "explain": Explain,
        "cancel": Cancel,
        "withdraw": Withdraw,
    }
)
RESPONSES: Mapping[str, type[Response]] = MappingProxyType(
    {
        "pong": Pong,
        "registered": Registered,
        "status": JobDetail,
        "judged": Judged,
        "jobs": JobList,
        "story": Story,
        "cancelled": Cancelled,
        "withdrawn": Withdrawn,
        "failure": Failure,
    }
)
