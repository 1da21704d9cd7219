"""What the daemon answers, and to whom. Each worker's thread has one `Dispatch` of its own."""

from __future__ import annotations

import os
from dataclasses import replace

from ef_slurm.api.identity import Caller
from ef_slurm.api.messages import (
    MOST_JOB_IDS,
    ActOnJob,
    AddRates,
    Await,
    Cancel,
    Cancelled,
    ChangeJob,
    DeleteRates,
    Explain,
    FailureCode,
    FindCurves,
    Judge,
    Judged,
    ListHistory,
    ListJobs,
    ListRates,
    NotCancelled,
    Ping,
    Pong,
    Register,
    Request,
    Response,
    TrainOn,
    TrainsOn,
    Withdraw,
    Withdrawn,
)
from ef_slurm.api.routes import RequestError
from ef_slurm.daemon.plan.dependencies import WouldWait
from ef_slurm.daemon.plan.measuring import WouldMeasure
from ef_slurm.daemon.plan.record import train_on
from ef_slurm.daemon.serve import profile_requests
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.job_changes import JobChanges, others_of
from ef_slurm.daemon.serve.predecessors import check_array, check_dependency
from ef_slurm.daemon.serve.registration import max_gpus, register
from ef_slurm.daemon.serve.visibility import (
    Viewer,
    masked,
    masked_history,
    masked_others,
    masked_reason,
    masked_text,
)
from ef_slurm.model import (
    FINAL,
    Cluster,
    JobChange,
    JobKind,
    JobRequest,
    JobState,
    QueueJob,
    check_request,
)
from ef_slurm.planner.what_if import WhatIf
from ef_slurm.queue import queries
from ef_slurm.queue.errors import (
    ForbiddenTransitionError,
)
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.types import SlurmJob


class Dispatch:
    """Answers requests, one at a time."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._queue: Queue | None = None

    def close(self) -> None:
        """Close this thread's own view of the queue."""
        if self._queue is not None:
            self._queue.close()
            self._queue = None

    def answer(self, caller: Caller, viewer: Viewer, request: Request) -> Response:
        """The answer, of an `Await` as things are now. A `Judge` is the scheduler's to answer.

        Raises:
            Exception: of those that `failure_of` has words for.
        """
        match request:
            case Ping():
                return self._pong()
            case Register(job, script):
                return register(self._context, self._rows(), caller, viewer, job, script)
            case Await(job_id):
                self._visible(viewer, job_id)
                return masked(self._rows(), viewer, queries.status(self._rows(), job_id))
            case Judge() | ChangeJob() | ActOnJob():
                raise TypeError("this is the scheduler's to answer")
            case ListJobs(users, states, job_ids, ended):
                _bounded(job_ids)
                listed = queries.list_jobs(
                    self._rows(),
                    self._context.clock(),
                    users=users,
                    states=states,
                    job_ids=job_ids,
                    ended=ended,
                    visible=viewer.sees,
                )
                return masked(self._rows(), viewer, listed)
            case ListHistory(since, until, users, accounts):
                page = queries.history(
                    self._rows(),
                    self._context.clock(),
                    since=since,
                    until=until,
                    after=request.mark,
                    users=users,
                    accounts=accounts,
                    uid=viewer.only_uid,
                    visible=viewer.may_see,
                )
                return masked_history(self._rows(), viewer, page)
            case Explain(job_id):
                self._visible(viewer, job_id)
                return masked(self._rows(), viewer, queries.story(self._rows(), job_id))
            case Cancel(job_ids):
                return self._cancel(viewer, job_ids)
            case Withdraw(job_id):
                return self._withdraw(caller, viewer, job_id)
            case TrainOn(job_id, gpus):
                return self._train_on(caller, viewer, job_id, gpus)
            case FindCurves():
                cluster = self._cluster()
                return profile_requests.find_curves(
                    self._rows(), caller, request, cluster, self._context.clock()
                )
            case ListRates():
                return profile_requests.list_rates(self._rows(), caller, request)
            case AddRates():
                return profile_requests.add_rates(self._rows(), caller, request)
            case DeleteRates():
                return profile_requests.delete_rates(self._rows(), caller, request)

    def _visible(self, viewer: Viewer, job_id: int) -> QueueJob:
        row = queries.find_meant(self._rows(), job_id)
        if not viewer.sees(row):
            raise queries.UnknownJobError(job_id)
        return row

    def _cluster(self) -> Cluster:
        cluster = self._context.scheduler.cluster
        if cluster is None:
            raise RequestError(
                FailureCode.BUSY, "ef-schedd has not seen the cluster's nodes yet: try again"
            )
        return cluster

    @property
    def rows(self) -> Queue:
        """This thread's own view of the queue."""
        return self._rows()

    def _rows(self) -> Queue:
        if self._queue is None:
            self._queue = self._context.open_queue()
        return self._queue

    def _pong(self) -> Pong:
        context = self._context
        return Pong(
            version=context.version,
            cluster=context.cluster,
            pid=os.getpid(),
            user=context.user,
            advisory=context.advisory,
            started=context.started,
            last_tick=context.scheduler.ticked_at,
            gpu_types=context.scheduler.gpu_types,
        )

    def what_if(self, caller: Caller, viewer: Viewer, job: JobRequest) -> JobRequest:
        """What the scheduler is to judge.

        Raises:
            ModelError: the planner would refuse it.
        """
        request = replace(
            job,
            owner=caller.name,
            uid=caller.uid,
            submitted=self._context.clock(),
            max_gpus=max_gpus(self._context, job),
        )
        check_request(request, request.submitted)
        check_dependency(self._rows(), self._context.slurm, viewer, request.dependency, 0)
        check_array(self._rows(), self._context.slurm, caller.uid, request.array, 0)
        return request

    def check_waiting(self, viewer: Viewer, job_id: int, change: JobChange) -> None:
        """Refuse to let a job wait for one that whoever asks may not know of.

        Raises:
            ModelError: the change asks for that.
        """
        if change.dependency is not None:
            slurm = self._context.slurm
            check_dependency(self._rows(), slurm, viewer, change.dependency, job_id)

    def judged(
        self, viewer: Viewer, answer: WhatIf | WouldMeasure | WouldWait, words: str
    ) -> Judged:
        """The scheduler's answer for whoever asked."""
        if isinstance(answer, WouldWait):
            return Judged(None, (), words, waits=answer.gate)
        if isinstance(answer, WouldMeasure):
            return Judged(None, (), words, (), answer.sizes, answer.seconds)
        rows, verdict = self._rows(), answer.verdict
        others = masked_others(rows, viewer, others_of(rows, verdict.reason))
        verdict = replace(verdict, reason=masked_reason(rows, viewer, verdict.reason))
        return Judged(verdict, answer.schedule, masked_text(rows, viewer, words), others)

    @property
    def job_changes(self) -> JobChanges:
        """Who may change which job, and what they are told."""
        return JobChanges(self._rows(), self._context.visibility)

    def _cancel(self, viewer: Viewer, job_ids: tuple[int, ...]) -> Cancelled:
        _bounded(job_ids)
        found = {job_id: self._visible(viewer, job_id) for job_id in dict.fromkeys(job_ids)}
        active = [job_id for job_id, row in found.items() if row.state not in FINAL]
        done, refused = [], []
        seen = self._context.slurm.jobs(active)
        for job_id in found:
            why = _not_cancelled(seen.get(job_id))
            if why is None:
                done.append(job_id)
            else:
                refused.append(NotCancelled(job_id, why))
        if active:
            self._context.calls.wake(refresh=True)
        return Cancelled(tuple(done), tuple(refused))

    def _own(self, caller: Caller, viewer: Viewer, job_id: int) -> QueueJob:
        row = self._visible(viewer, job_id)
        if row.request.uid != caller.uid:
            raise RequestError(
                FailureCode.DENIED, f"job {job_id} belongs to {row.request.owner}, not to you"
            )
        return row

    def _train_on(self, caller: Caller, viewer: Viewer, job_id: int, gpus: int | None) -> TrainsOn:
        """Only where no promise and no measuring of the daemon's own counts on its speed."""
        queue, row = self._rows(), self._own(caller, viewer, job_id)
        if row.kind is not JobKind.BEST_EFFORT or row.measuring is not None:
            raise RequestError(
                FailureCode.BAD_REQUEST,
                f"job {job_id} trains on what its plan gives it: only a best-effort job that is "
                "not being measured may choose among its GPUs",
            )
        cost, why = row.request.overhead, f"{caller.name} wants it so"
        if train_on(queue, row.id, gpus, cost, self._context.clock(), why) is not None:
            self._context.calls.wake()
        running = queue.jobs.get(row.id).running
        if running is None:
            raise RequestError(FailureCode.BAD_REQUEST, f"job {job_id} holds no GPUs now")
        return TrainsOn(job_id, running.active_gpus, running.gpus)

    def _withdraw(self, caller: Caller, viewer: Viewer, job_id: int) -> Withdrawn:
        row = self._own(caller, viewer, job_id)
        if row.state is not JobState.CANCELLED:
            self._give_up(row, caller)
        self._context.calls.wake()
        return Withdrawn(job_id)

    def _give_up(self, row: QueueJob, caller: Caller) -> None:
        judged = f"job {row.request.slurm_job_id} has its verdict already: cancel it instead"
        queue = self._rows()
        with queue.transaction():
            if queue.jobs.get(row.id).state is not JobState.NEW:
                raise RequestError(FailureCode.BAD_REQUEST, judged)
            try:
                queue.jobs.move(
                    row.id,
                    JobState.CANCELLED,
                    at=self._context.clock(),
                    actor=caller.name,
                    why="submission given up by its owner",
                )
            except ForbiddenTransitionError:
                raise RequestError(FailureCode.BAD_REQUEST, judged) from None


def _bounded(job_ids: tuple[int, ...]) -> None:
    different = len(set(job_ids))
    if different > MOST_JOB_IDS:
        raise RequestError(
            FailureCode.TOO_LARGE, f"{different} job ids, at most {MOST_JOB_IDS} are accepted"
        )


def _not_cancelled(job: SlurmJob | None) -> str | None:
    """Why a job, as Slurm has it (None: not any more), is not cancelled; None if it is."""
    if job is None or job.may_be_cancelled:
        return None
    return f"Slurm reports it as {job.state.value}, not cancelled"
