"""A job of the queue."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ef_slurm.model.dependency import Gate, GateState
from ef_slurm.model.job import NEWCOMER, Job, JobKind, Standing
from ef_slurm.model.job_state import HeldBy, JobState, standing
from ef_slurm.model.measuring import Measuring
from ef_slurm.model.plan import PromiseState, Reason, ReasonCode
from ef_slurm.model.request import JobRequest
from ef_slurm.model.reservation import Running, Schedule


def planner_id(job_id: int) -> str:
    """The planner's name of a queue job: padded, so that names sort as numbers do.

    >>> planner_id(7) < planner_id(10)
    True
    """
    return f"{job_id:010d}"


def queue_id(planner_name: str) -> int:
    """The inverse of `planner_id`."""
    return int(planner_name)


SlurmSettings = tuple[tuple[str, str], ...]
"""What a Slurm job asks for beside its shape, by field: (("account", "a"), ("qos", "normal"))."""


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
        failed_starts: starts in a row that gained no iteration.
        unbegun_starts: starts in a row that Slurm took and in which its script never began.
        ended_at: when it reached a final state.
        exit_code: of its script.
        note: the last thing that its owner should know.
        slurm_settings: what Slurm said that it asks for when it was judged; empty for not known.
        measuring: how far its speed is measured, as long as it is not judged for that; else None.
        script_iterations, script_global_batch_size: what its script says, whatever was submitted.
        held_here: whether it is held in the queue itself (`ef-scontrol hold`), so that no release
            in Slurm that nobody asked for lets it go on.
        held_by: whose hold it is, while it is held: the stricter one where both hold it.
        ordered_iterations: to how many its owner has changed its iterations since it was
            submitted; its batch script knows only the number of then.
        time_limit: seconds that Slurm is to let a run take, since its owner has changed what it
            needs; None for the limit that it was submitted with.
        gate: what has come of its dependency; None until that was looked at.
        slurm_submitted: when Slurm took its Slurm job, by slurmctld's clock; None for not known.
        turn: when it counts as submitted on the waiting list, where its owner has changed that.
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
    failed_starts: int = 0
    unbegun_starts: int = 0
    ended_at: float | None = None
    exit_code: int | None = None
    note: str = ""
    slurm_settings: SlurmSettings = ()
    measuring: Measuring | None = None
    script_iterations: int | None = None
    script_global_batch_size: int | None = None
    held_here: bool = False
    held_by: HeldBy | None = None
    ordered_iterations: int | None = None
    time_limit: float | None = None
    turn: float | None = None
    gate: Gate | None = None
    slurm_submitted: float | None = None

    @property
    def depends(self) -> bool:
        """Whether it may not start yet for another job's sake.

        One of an array waits until all its members are in the queue.
        """
        passed = self.gate is not None and self.gate.state is GateState.OPEN
        request = self.request
        return bool(request.dependency.conditions or request.array is not None) and not passed

    @property
    def set_apart(self) -> bool:
        """Whether nothing can be planned for it, since nobody can say when it may start.

        What it was promised counts on: while that stands it stays in plans.
        """
        if not self.depends:
            return False
        if self.gate is None or self.gate.state is GateState.NEVER:
            return True
        return self.gate.state is GateState.UNKNOWN and self.promise is PromiseState.NONE

    @property
    def begin(self) -> float:
        """Before when it may not start, as far as that is known; minus infinity for at once."""
        own = -math.inf if self.request.begin is None else self.request.begin
        gate = self.gate if self.depends else None
        return own if gate is None or gate.begin is None else max(own, gate.begin)

    @property
    def is_held_in_slurm(self) -> bool:
        """Whether its holder there alone says when it may go on: the daemon does nothing with it.

        What is held here is kept off its GPUs.
        """
        return self.state is JobState.HELD and not self.held_here

    @property
    def stalled(self) -> bool:
        """Whether it has stopped training, and is to hold no GPUs until its owner releases it."""
        return self.reason is not None and self.reason.code is ReasonCode.STALLED

    def waits_to_begin(self, now: float) -> bool:
        """Whether it may not start yet."""
        return self.begin > now and self.running is None

    @property
    def share(self) -> int:
        """GPUs held."""
        return 0 if self.running is None else self.running.gpus

    @property
    def remaining(self) -> float:
        """Iterations to go, by its last report; infinite while nobody knows how many."""
        whole = self.request.iterations
        return math.inf if whole is None else max(0.0, whole - self.iteration)

    @property
    def waiting_state(self) -> JobState:
        """Its state while it is to run and holds no GPUs: admitted before it ran, then paused."""
        ran = self.first_started_at is not None
        trained = self.state in (JobState.RUNNING, JobState.STOPPING)
        return JobState.PAUSED if ran or trained else JobState.ADMITTED

    @property
    def standing(self) -> Standing:
        """Where it stands with the planner; one that is measured runs, and is not judged yet."""
        return standing(self.state) if self.measuring is None else Standing.NEW

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
        most = request.most_gpus
        larger = most is not None and any(part.gpus > most for part in self.plan)
        return Job(
            id=planner_id(self.id),
            submitted=request.submitted if self.turn is None else self.turn,
            iterations=self.remaining if iterations is None else iterations,
            curves=request.curves,
            kind=self.kind,
            deadline=None if best_effort else request.deadline,
            grace=request.grace if self.kind is JobKind.SOFT_DEADLINE else 0.0,
            if_infeasible=request.if_infeasible,
            standing=self.standing,
            overhead=request.overhead,
            running=self.running,
            plan=() if larger else self.plan,
            last_reshape=self.last_reshape,
            reshapes=self.reshapes,
            owner=request.owner,
            account=request.account,
            max_gpus=most,
            growth_curves=request.growth_curves,
            begin=self.begin,
            begin_by=self.gate.words if self.depends and self.gate is not None else "",
        )


def newcomer(request: JobRequest) -> Job:
    """A job that nobody has submitted yet, as the planner sees it.

    Raises:
        ModelError: the request is not one that can be planned.
    """
    row = QueueJob(0, request, JobState.NEW, iteration=float(request.done))
    return replace(row.for_planner(), id=NEWCOMER)
