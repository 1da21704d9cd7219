"""The rows of the queue as typed values.

Times are UTC epoch seconds. Ids are the queue's own: Slurm's job ids are recycled, and change when
a job must be submitted again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ef_slurm.model import (
    Block,
    IfInfeasible,
    Job,
    JobKind,
    Outcome,
    Overhead,
    PromiseState,
    Reason,
    Running,
    Schedule,
    ThroughputCurve,
)
from ef_slurm.queue.states import (
    EventKind,
    IntentAction,
    IntentState,
    JobState,
    PromiseOutcome,
    standing,
)

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


def planner_id(job_id: int) -> str:
    """The planner's name of a queue job: padded, so that names sort as numbers do.

    >>> planner_id(7) < planner_id(10)
    True
    """
    return f"{job_id:010d}"


def queue_id(planner_name: str) -> int:
    """The inverse of `planner_id`."""
    return int(planner_name)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What was submitted. Never changes, except for the Slurm job that carries it.

    Args:
        slurm_job_id: the held Slurm job.
        owner, uid: the user that owns it, by name and number.
        submitted: when.
        iterations: to train in all.
        curves: (GPU type, curve).
        curve_source: where they are from, in words ("--throughput", a file's path).
        overhead: seconds per start, reshape and shrink that the promise is based on.
        max_time: the user's `--time`: seconds of wall-clock time from the first start, or None.
        state_dir: the job's state directory on the shared file system.
        script, options, arguments, directory: what sbatch was given, to submit it again.
    """

    slurm_job_id: int
    owner: str
    uid: int
    name: str
    submitted: float
    kind: JobKind
    iterations: int
    global_batch_size: int
    curves: tuple[tuple[str, ThroughputCurve], ...]
    state_dir: str
    script: str
    deadline: float | None = None
    grace: float = 0.0
    if_infeasible: IfInfeasible = IfInfeasible.REJECT
    overhead: Overhead = field(default_factory=Overhead)
    curve_source: str = ""
    max_gpus: int | None = None
    max_time: float | None = None
    cluster: str = ""
    account: str = ""
    partition: str = ""
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    directory: str = ""


@dataclass(frozen=True, slots=True)
class QueueJob:
    """One job of the queue.

    To change one: `dataclasses.replace` and `Queue.save`; its state: `Queue.move`.

    Args:
        id: the queue's name of it.
        request: what was submitted.
        state: where it is.
        revision: grows with every write; `Queue.save` refuses an outdated one.
        held_from: the state to return to, while it is held.
        best_effort: whether it runs as best effort although it asked for a deadline.
        generation: how many times it has been (re)started.
        iteration: iterations done, by its last report; `checkpoint_iteration` those safe on disk.
        rate: iterations/s, by its last report; `progress_at` when it came.
        running: what it holds, or None.
        plan: its plan in hand; `finish` its predicted finish.
        promise: what the last plan says about its promise.
        reason: why it has the share that it has.
        fruitless: starts in a row that gained no iteration.
        ended_at: when it reached a final state.
        exit_code: of its script.
        note: the last thing that its owner should know.
    """

    id: int
    request: JobRequest
    state: JobState
    revision: int = 0
    held_from: JobState | None = None
    best_effort: bool = False
    generation: int = 0
    iteration: float = 0.0
    checkpoint_iteration: float = 0.0
    rate: float | None = None
    progress_at: float | None = None
    first_started_at: float | None = None
    running: Running | None = None
    plan: Schedule = ()
    finish: float | None = None
    promise: PromiseState = PromiseState.NONE
    reason: Reason | None = None
    last_reshape: float = -math.inf
    reshapes: int = 0
    fruitless: int = 0
    ended_at: float | None = None
    exit_code: int | None = None
    note: str = ""

    @property
    def share(self) -> int:
        """GPUs held."""
        return 0 if self.running is None else self.running.gpus

    @property
    def remaining(self) -> float:
        """Iterations to go, by its last report."""
        return max(0.0, self.request.iterations - self.iteration)

    @property
    def kind(self) -> JobKind:
        """What it runs as."""
        return JobKind.BEST_EFFORT if self.best_effort else self.request.kind

    def for_planner(self, *, iterations: float | None = None) -> Job:
        """The job as the planner sees it.

        Args:
            iterations: how many remain now, where the caller knows better than the last report.

        Raises:
            ModelError: nothing remains to be done.
        """
        request = self.request
        best_effort = self.kind is JobKind.BEST_EFFORT
        return Job(
            id=planner_id(self.id),
            submitted=request.submitted,
            iterations=self.remaining if iterations is None else iterations,
            curves=request.curves,
            kind=self.kind,
            deadline=None if best_effort else request.deadline,
            grace=request.grace if self.kind is JobKind.SOFT_DEADLINE else 0.0,
            if_infeasible=request.if_infeasible,
            standing=standing(self.state),
            overhead=request.overhead,
            running=self.running,
            plan=self.plan,
            last_reshape=self.last_reshape,
            reshapes=self.reshapes,
            owner=request.owner,
            account=request.account,
            max_gpus=request.max_gpus,
        )


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """An answer to a job's owner; the latest one counts.

    Args:
        explanation: the reason as a sentence, for whoever waits for the answer.
    """

    id: int
    job_id: int
    at: float
    outcome: Outcome
    reason: Reason
    share: int = 0
    finish: float | None = None
    earliest_deadline: float | None = None
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Promise:
    """A recorded promise: the deadline, and what it was based on."""

    id: int
    job_id: int
    given_at: float
    deadline: float
    grace: float
    finish: float
    share: int
    curves: tuple[tuple[str, ThroughputCurve], ...]
    overhead: Overhead
    outcome: PromiseOutcome = PromiseOutcome.OPEN
    settled_at: float | None = None


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """What one plan gave one job."""

    job_id: int
    block: Block | None
    schedule: Schedule
    finish: float | None
    promise: PromiseState
    reason: Reason


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """One plan as it was made. `next_change` is `inf` for never."""

    id: int
    made_at: float
    next_change: float
    decisions: tuple[StoredDecision, ...]


@dataclass(frozen=True, slots=True)
class Intent:
    """An action on Slurm that was decided on. At most one of a job is unfinished.

    Args:
        generation: of the job, when it was decided.
        arguments: of the action, as the daemon needs them to do it again.
        attempts: how often it was tried.
        error: the last thing that went wrong with it.
    """

    id: int
    job_id: int
    generation: int
    action: IntentAction
    arguments: Mapping[str, Json]
    state: IntentState
    opened_at: float
    changed_at: float
    attempts: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit log: who, what, why, numbers.

    Args:
        job_id: None for what concerns no job in particular.
        actor: "ef-schedd", or the user that did it.
        message: a sentence.
    """

    at: float
    kind: EventKind
    actor: str
    message: str
    job_id: int | None = None
    data: Mapping[str, Json] = field(default_factory=dict)
    id: int = 0


@dataclass(frozen=True, slots=True)
class DaemonRecord:
    """The daemon that owns, or last owned, the queue."""

    pid: int
    host: str
    user: str
    version: str
    started_at: float
    seen_at: float
    stopped_at: float | None = None
