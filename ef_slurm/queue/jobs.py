"""The jobs of the queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from sqlite3 import Row
from typing import Any

from ef_slurm.model import (
    ACTIVE,
    FINAL,
    BatchScript,
    Event,
    EventKind,
    IfInfeasible,
    JobKind,
    JobRequest,
    JobState,
    Json,
    PromiseState,
    QueueJob,
)
from ef_slurm.queue import codec
from ef_slurm.queue.database import Database
from ef_slurm.queue.errors import (
    ConflictError,
    DuplicateJobError,
    ForbiddenTransitionError,
    NoSuchRowError,
)
from ef_slurm.queue.events import Events
from ef_slurm.queue.transitions import TRANSITIONS


class Jobs:
    """The table of jobs."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events
        self._decoded: dict[int, QueueJob] = {}

    def add(self, request: JobRequest, script: BatchScript, *, actor: str) -> QueueJob:
        """A new job, not judged yet.

        Args:
            script: what to submit again where Slurm loses the job.
            actor: who adds it, for the log.

        Raises:
            DuplicateJobError: its Slurm job is in the queue already.
        """
        with self._database.transaction():
            present = self.of_slurm(request.slurm_job_id, request.cluster)
            if present is not None and present.state in ACTIVE:
                raise DuplicateJobError(f"Slurm job {request.slurm_job_id} is in the queue already")
            job_id = self._database.insert("jobs", _request_columns(request))
            self._database.insert("scripts", {"job_id": job_id, **_script_columns(script)})
            self._events.log(
                Event(
                    at=request.submitted,
                    kind=EventKind.SUBMITTED,
                    actor=actor,
                    message=f"submitted as Slurm job {request.slurm_job_id}",
                    job_id=job_id,
                    data={"slurm_job_id": request.slurm_job_id},
                )
            )
            return self.get(job_id)

    def get(self, job_id: int) -> QueueJob:
        """One job.

        Raises:
            NoSuchRowError: there is none of that id.
        """
        row = self._database.one("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None:
            raise NoSuchRowError(f"the queue has no job {job_id}")
        return self._job(row)

    def script(self, job_id: int) -> BatchScript:
        """What sbatch was given for a job.

        Raises:
            NoSuchRowError: there is no job of that id.
        """
        row = self._database.one("SELECT * FROM scripts WHERE job_id = ?", (job_id,))
        if row is None:
            raise NoSuchRowError(f"the queue has no job {job_id}")
        return BatchScript(
            text=row["text"],
            options=codec.load_strings(row["options"]),
            arguments=codec.load_strings(row["arguments"]),
            directory=row["directory"],
        )

    def of_slurm(self, slurm_job_id: int, cluster: str | None = None) -> QueueJob | None:
        """The latest job with that Slurm id (Slurm recycles ids), or None."""
        row = self._database.one(
            "SELECT * FROM jobs WHERE slurm_job_id = :id AND cluster = ifnull(:cluster, cluster)"
            " ORDER BY id DESC LIMIT 1",
            {"id": slurm_job_id, "cluster": cluster},
        )
        return None if row is None else self._job(row)

    def all(
        self,
        states: Iterable[JobState] = ACTIVE,
        *,
        uid: int | None = None,
        ended_since: float | None = None,
    ) -> tuple[QueueJob, ...]:
        """Jobs in the order in which they came.

        Args:
            states: in one of these.
            uid: of one owner only.
            ended_since: leave out those that ended earlier.
        """
        rows = self._database.query(
            "SELECT * FROM jobs WHERE state IN (SELECT value FROM json_each(:states))"
            " AND uid = ifnull(:uid, uid)"
            " AND (:since IS NULL OR ended_at IS NULL OR ended_at >= :since) ORDER BY id",
            {
                "states": codec.dump([state.value for state in states]),
                "uid": uid,
                "since": ended_since,
            },
        )
        return tuple(self._job(row) for row in rows)

    def save(self, job: QueueJob, *, durable: bool = True) -> QueueJob:
        """Write everything that may change but the state; returns the job with its new revision.

        Args:
            durable: False for what the next report will tell again (progress).

        Raises:
            ConflictError: the row was changed since `job` was read.
            NoSuchRowError: there is none of that id.
        """
        columns = _changing_columns(job)
        assignments = ", ".join(f"{name} = :{name}" for name in columns)
        with self._database.transaction(durable=durable):
            touched = self._database.execute(
                f"UPDATE jobs SET {assignments}, revision = revision + 1"
                " WHERE id = :id AND revision = :revision",
                {**columns, "id": job.id, "revision": job.revision},
            )
            saved = self.get(job.id)
            if not touched:
                raise ConflictError(
                    f"job {job.id} was changed meanwhile (revision {saved.revision}, "
                    f"not {job.revision})"
                )
            return saved

    def move(
        self,
        job_id: int,
        to: JobState,
        *,
        at: float,
        actor: str,
        why: str,
        ended_at: float | None = None,
        data: Mapping[str, Json] | None = None,
    ) -> QueueJob:
        """Move a job to another state and log it. Moving to the state that it has does nothing.

        Args:
            at: when that is noticed, UTC epoch seconds.
            why: a sentence for the log.
            ended_at: when the job ended, where that was earlier.
            data: numbers for the log, beside from and to.

        Raises:
            ForbiddenTransitionError: `to` may not follow its state.
            NoSuchRowError: there is none of that id.
        """
        with self._database.transaction():
            job = self.get(job_id)
            if job.state is to:
                return job
            if to not in TRANSITIONS[job.state]:
                raise ForbiddenTransitionError(
                    f"job {job_id} is {job.state.value}: it cannot become {to.value}"
                )
            self._database.execute(
                "UPDATE jobs SET state = :state, held_from = :held_from, ended_at = :ended_at,"
                " revision = revision + 1 WHERE id = :id",
                {
                    "id": job_id,
                    "state": to.value,
                    "held_from": job.state.value if to is JobState.HELD else None,
                    "ended_at": (at if ended_at is None else ended_at) if to in FINAL else None,
                },
            )
            change: dict[str, Json] = {"from": job.state.value, "to": to.value}
            self._events.log(
                Event(at, EventKind.STATE, actor, why, job_id, {**(data or {}), **change})
            )
            return self.get(job_id)

    def rebind(self, job_id: int, slurm_job_id: int, *, at: float, actor: str) -> QueueJob:
        """Let another Slurm job carry the job, after it had to be submitted again.

        Raises:
            DuplicateJobError: that Slurm job carries another job.
        """
        with self._database.transaction():
            job = self.get(job_id)
            other = self.of_slurm(slurm_job_id, job.request.cluster)
            if other is not None and other.id != job_id and other.state in ACTIVE:
                raise DuplicateJobError(f"Slurm job {slurm_job_id} carries job {other.id}")
            self._database.execute(
                "UPDATE jobs SET slurm_job_id = ?, revision = revision + 1 WHERE id = ?",
                (slurm_job_id, job_id),
            )
            self._events.log(
                Event(
                    at=at,
                    kind=EventKind.SUBMITTED,
                    actor=actor,
                    message=f"submitted again as Slurm job {slurm_job_id}",
                    job_id=job_id,
                    data={"slurm_job_id": slurm_job_id, "was": job.request.slurm_job_id},
                )
            )
            return self.get(job_id)

    def _job(self, row: Row) -> QueueJob:
        """The row as a value; decoded again only when its revision has grown."""
        known = self._decoded.get(row["id"])
        if known is not None and known.revision == row["revision"]:
            return known
        job = _job(row)
        # A revision that is rolled back would come again with other values.
        if not self._database.in_transaction:
            if len(self._decoded) >= _MOST_DECODED:
                self._decoded.clear()
            self._decoded[job.id] = job
        return job


_MOST_DECODED = 20_000


def _request_columns(request: JobRequest) -> dict[str, Any]:
    return {
        "slurm_job_id": request.slurm_job_id,
        "cluster": request.cluster,
        "owner": request.owner,
        "uid": request.uid,
        "account": request.account,
        "partition": request.partition,
        "name": request.name,
        "submitted": request.submitted,
        "kind": request.kind.value,
        "deadline": request.deadline,
        "grace": request.grace,
        "if_infeasible": request.if_infeasible.value,
        "iterations": request.iterations,
        "global_batch_size": request.global_batch_size,
        "curves": codec.dump_curves(request.curves),
        "curve_source": request.curve_source,
        "overhead": codec.dump_overhead(request.overhead),
        "max_gpus": request.max_gpus,
        "max_time": request.max_time,
        "state_dir": request.state_dir,
    }


def _script_columns(script: BatchScript) -> dict[str, Any]:
    return {
        "text": script.text,
        "options": codec.dump_strings(script.options),
        "arguments": codec.dump_strings(script.arguments),
        "directory": script.directory,
    }


def _changing_columns(job: QueueJob) -> dict[str, Any]:
    return {
        "best_effort": int(job.best_effort),
        "generation": job.generation,
        "iteration": job.iteration,
        "checkpoint_iteration": job.checkpoint_iteration,
        "rate": job.rate,
        "progress_at": job.progress_at,
        "first_started_at": job.first_started_at,
        "running": codec.dump_running(job.running),
        "plan": codec.dump_schedule(job.plan),
        "finish": job.finish,
        "promise": job.promise.value,
        "reason": None if job.reason is None else codec.dump_reason(job.reason),
        "last_reshape": codec.finite(job.last_reshape),
        "reshapes": job.reshapes,
        "failed_starts": job.failed_starts,
        "exit_code": job.exit_code,
        "note": job.note,
    }


def _request(row: Row) -> JobRequest:
    return JobRequest(
        slurm_job_id=row["slurm_job_id"],
        cluster=row["cluster"],
        owner=row["owner"],
        uid=row["uid"],
        account=row["account"],
        partition=row["partition"],
        name=row["name"],
        submitted=row["submitted"],
        kind=JobKind(row["kind"]),
        deadline=row["deadline"],
        grace=row["grace"],
        if_infeasible=IfInfeasible(row["if_infeasible"]),
        iterations=row["iterations"],
        global_batch_size=row["global_batch_size"],
        curves=codec.load_curves(row["curves"]),
        curve_source=row["curve_source"],
        overhead=codec.load_overhead(row["overhead"]),
        max_gpus=row["max_gpus"],
        max_time=row["max_time"],
        state_dir=row["state_dir"],
    )


def _job(row: Row) -> QueueJob:
    held_from, reason, last = row["held_from"], row["reason"], row["last_reshape"]
    return QueueJob(
        id=row["id"],
        request=_request(row),
        state=JobState(row["state"]),
        revision=row["revision"],
        held_from=None if held_from is None else JobState(held_from),
        best_effort=bool(row["best_effort"]),
        generation=row["generation"],
        iteration=row["iteration"],
        checkpoint_iteration=row["checkpoint_iteration"],
        rate=row["rate"],
        progress_at=row["progress_at"],
        first_started_at=row["first_started_at"],
        running=codec.load_running(row["running"]),
        plan=codec.load_schedule(row["plan"]),
        finish=row["finish"],
        promise=PromiseState(row["promise"]),
        reason=None if reason is None else codec.load_reason(reason),
        last_reshape=float("-inf") if last is None else last,
        reshapes=row["reshapes"],
        failed_starts=row["failed_starts"],
        ended_at=row["ended_at"],
        exit_code=row["exit_code"],
        note=row["note"],
    )
