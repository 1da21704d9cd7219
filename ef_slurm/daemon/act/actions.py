"""What owners and operators may have done with a job of the queue: hold, release, requeue, top."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from ef_slurm.daemon.act.comments import comment_of
from ef_slurm.daemon.act.reconciler import Reconciler
from ef_slurm.daemon.observe.holds import held_here, held_too, released
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.transition import AuditEntry, Transition
from ef_slurm.daemon.plan.changes import NotAllowedError, NotPossibleError
from ef_slurm.model import (
    FINAL,
    PUT_BACK,
    EventKind,
    HeldBy,
    JobAction,
    JobState,
    PromiseOutcome,
    QueueJob,
)
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import JobUpdate

RUNS = frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING})


class JobActions:
    """Says what an action makes of a job; whoever asks writes it. The scheduler's thread only."""

    def __init__(
        self,
        queue: Queue,
        observer: Observer,
        reconciler: Reconciler,
        slurm: Slurm,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._observer = observer
        self._reconciler = reconciler
        self._slurm = slurm
        self._clock = clock

    def act(
        self, job: QueueJob, action: JobAction, actor: str, *, by_owner: bool
    ) -> tuple[Transition, str]:
        """What becomes of the row, and a sentence for whoever asked.

        Args:
            job: its row.
            actor: the user who wants it.
            by_owner: whether they act as its owner; else as an operator.

        Raises:
            NotAllowedError: it is not its owner's to do.
            NotPossibleError: the job is not one with which this can be done.
        """
        name = f"job {job.request.slurm_job_id}"
        if job.state in FINAL:
            raise NotPossibleError(
                f"{name} is {job.state.value}: "
                f"ef-sbatch --continue={job.request.slurm_job_id} goes on from its checkpoint"
            )
        match action:
            case JobAction.HOLD:
                return self._hold(job, name, actor, by_owner=by_owner)
            case JobAction.RELEASE:
                if job.state is not JobState.HELD:
                    raise NotPossibleError(f"{name} is {job.state.value}, not held")
                if by_owner and job.held_by is not HeldBy.OWNER:
                    raise NotAllowedError(
                        f"{name} is held by an operator of Slurm: only operators may release it"
                    )
                self._clear_mark(job)
                return released(job, f"released by {actor}"), f"{name} may go on"
            case JobAction.REQUEUE:
                if job.state not in RUNS:
                    raise NotPossibleError(f"{name} is {job.state.value}: it does not run")
                self._reconciler.requeue(job.id)
                why = f"requeued by {actor}: it saves a checkpoint and is started anew"
                entry = AuditEntry(EventKind.USER, why, {PUT_BACK: not by_owner})
                return Transition(job, entries=(entry,)), f"{name} saves and is started anew"
            case JobAction.TOP:
                return self._top(job, name, actor)

    def _hold(
        self, job: QueueJob, name: str, actor: str, *, by_owner: bool
    ) -> tuple[Transition, str]:
        why = f"held by {actor}" if by_owner else f"held by {actor}, an operator"
        if job.state is JobState.HELD:
            return self._hold_too(job, name, why, by_owner=by_owner)
        self._clear_mark(job)
        transition = held_here(job, why, self._clock(), by_owner=by_owner)
        then = "saves a checkpoint and leaves its GPUs" if job.state in RUNS else "is held"
        words = f"{name} {then}, until ef-scontrol release {job.request.slurm_job_id}"
        promise = self._queue.promises.of(job.id)
        settled = transition.settled
        if promise is None or promise.outcome is not PromiseOutcome.OPEN or settled is None:
            return transition, words
        ended = "its deadline has passed, and its promise is broken"
        if settled.outcome is PromiseOutcome.VOID:
            ended = "this ends its promise: its deadline is judged anew when it is released"
        return transition, f"{words}; {ended}"

    def _hold_too(
        self, job: QueueJob, name: str, why: str, *, by_owner: bool
    ) -> tuple[Transition, str]:
        """It is held already. An operator's hold is added to its owner's, and not the reverse."""
        by_operator = job.held_by is not HeldBy.OWNER
        if by_owner and by_operator:
            words = (
                f"{name} is held already, by an operator of Slurm: only operators may release it"
            )
            return Transition(job), words
        if job.held_here and by_owner is not by_operator:
            return Transition(job), f"{name} is held already"
        self._clear_mark(job)
        if by_owner or by_operator:  # in Slurm, so far
            return Transition(replace(job, held_here=True)), f"{name} is held"
        return held_too(job, why, here=True), f"{name} is held: its owner cannot release it now"

    def _clear_mark(self, job: QueueJob) -> None:
        """What its owner asked for before, by scontrol, is overtaken."""
        status = self._observer.status(job)
        if status is not None and status.slurm.is_marked:
            with suppress(SlurmError):  # read again at the next look
                update = JobUpdate(comment=comment_of(job, status, self._clock()))
                self._observer.update(self._slurm.update(status.slurm.job_id, update))

    def _top(self, job: QueueJob, name: str, actor: str) -> tuple[Transition, str]:
        """Its owner's jobs change turns among themselves; nobody else's wait longer for it."""
        waiting = [
            one
            for one in self._queue.jobs.all({JobState.WAITLISTED}, uid=job.request.uid)
            if _turn(one) <= _turn(job)
        ]
        if job.state is not JobState.WAITLISTED:
            raise NotPossibleError(
                f"{name} is {job.state.value}: there is an order on the waiting list only"
            )
        waiting.sort(key=lambda one: (_turn(one), one.id))
        first = waiting[0]
        if first.id == job.id:
            return Transition(job), f"{name} is the first of its owner's already"
        turns = [_turn(one) for one in waiting]
        why = f"moved to the top of its owner's waiting jobs by {actor}"
        # Everybody who was before it moves one turn down.
        for one, turn in zip(waiting[:-1], turns[1:], strict=True):
            self._queue.jobs.save(replace(one, turn=turn))
        moved = replace(job, turn=turns[0])
        entry = AuditEntry(EventKind.USER, why)
        return Transition(moved, entries=(entry,), replan=True), f"{name} is asked first"


def _turn(job: QueueJob) -> float:
    return job.request.submitted if job.turn is None else job.turn
