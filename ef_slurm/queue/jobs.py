"""The jobs of the queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ef_slurm.model import (
    ACTIVE,
    FINAL,
    BatchScript,
    Condition,
    Event,
    EventKind,
    JobRequest,
    JobState,
    Json,
    ModelError,
    QueueJob,
    QueueLimits,
    SlurmSettings,
    check_request,
    check_script,
)
from ef_slurm.queue import job_rows
from ef_slurm.queue.database import Database
from ef_slurm.queue.errors import (
    ConflictError,
    DuplicateJobError,
    ForbiddenTransitionError,
    NoSuchRowError,
)
from ef_slurm.queue.events import Events
from ef_slurm.queue.known_jobs import KnownJobs
from ef_slurm.queue.limits import Limits
from ef_slurm.queue.transitions import TRANSITIONS


class Jobs:
    """The table of jobs."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events
        self._known = KnownJobs(database)
        self._limits = Limits(database)

    @property
    def unreadable(self) -> Mapping[int, str]:
        """Rows that were left out of an answer: id → what is wrong with it."""
        return self._known.unreadable

    def add(
        self,
        request: JobRequest,
        script: BatchScript,
        *,
        actor: str,
        limits: QueueLimits | None = None,
        settings: SlurmSettings = (),
        slurm_submitted: float | None = None,
    ) -> QueueJob:
        """A new job, not judged yet.

        Args:
            script: what to submit again where Slurm loses the job.
            actor: who adds it, for the log.
            limits: what its owner and account may have; None for as much as they like.
            settings: what Slurm says that the job asks for; empty for not known yet.
            slurm_submitted: when Slurm says that it took it; None for not known yet.

        Raises:
            DuplicateJobError: its Slurm job is in the queue already.
            LimitError: one of the limits is reached.
            ModelError: it is no job for the queue, or another one of its owner's goes on in its
                state directory; the error names the field.
        """
        check_request(request, request.submitted)
        check_script(script)
        with self._database.transaction():
            # Under the lock: of many at once only as many are taken as there is room for.
            if limits is not None:
                self._limits.check(request, limits)
            present = self.of_slurm(request.slurm_job_id, request.cluster)
            if present is not None and present.state in ACTIVE:
                raise DuplicateJobError(f"Slurm job {request.slurm_job_id} is in the queue already")
            other = self._in_directory(request)
            if other is not None:
                wanted = f"one in which no other job goes on, as job {other} does"
                raise ModelError("state directory", request.state_dir, wanted)
            request = self.with_rows(request)
            columns = job_rows.request_columns(request)
            columns["iteration"] = columns["checkpoint_iteration"] = float(request.done)
            columns["slurm_settings"] = job_rows.settings_column(settings)
            columns["slurm_submitted"] = slurm_submitted
            job_id = self._database.insert("jobs", columns)
            self._database.insert("scripts", {"job_id": job_id, **job_rows.script_columns(script)})
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

    def with_rows(self, request: JobRequest) -> JobRequest:
        """The request, in which the jobs that it waits for have their own ids of the queue."""
        dependency = request.dependency
        if not dependency.conditions:
            return request

        def found(condition: Condition) -> Condition:
            if condition.job_id is None:
                return condition
            row = self.of_slurm(condition.job_id, request.cluster or None)
            return replace(condition, row=None if row is None else row.id)

        conditions = tuple(found(condition) for condition in dependency.conditions)
        return replace(request, dependency=replace(dependency, conditions=conditions))

    def _in_directory(self, request: JobRequest) -> int | None:
        """The Slurm job of the same owner that goes on in the same state directory."""
        row = self._database.one(
            "SELECT slurm_job_id FROM jobs INDEXED BY jobs_by_state"
            " WHERE state IN (SELECT value FROM json_each(?)) AND uid = ? AND state_dir = ?",
            (job_rows.states_list(ACTIVE), request.uid, request.state_dir),
        )
        return None if row is None else int(row[0])

    def get(self, job_id: int) -> QueueJob:
        """One job.

        Raises:
            NoSuchRowError: there is none of that id.
        """
        row = self._database.one("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None:
            raise NoSuchRowError(f"the queue has no job {job_id}")
        return self._known.value(row)

    def script(self, job_id: int) -> BatchScript:
        """What sbatch was given for a job.

        Raises:
            NoSuchRowError: there is no job of that id.
        """
        row = self._database.one("SELECT * FROM scripts WHERE job_id = ?", (job_id,))
        if row is None:
            raise NoSuchRowError(f"the queue has no job {job_id}")
        return job_rows.to_script(row)

    def of_slurm(self, slurm_job_id: int, cluster: str | None = None) -> QueueJob | None:
        """The job that has that Slurm id, or the latest that had (Slurm recycles ids), or None.

        An older job has it where it was submitted again.
        """
        row = self._database.one(
            "SELECT * FROM jobs WHERE slurm_job_id = :id AND cluster = ifnull(:cluster, cluster)"
            " ORDER BY ended_at IS NOT NULL, id DESC LIMIT 1",
            {"id": slurm_job_id, "cluster": cluster},
        )
        return None if row is None else self._known.value(row)

    def of_array(self, job_id: int) -> tuple[QueueJob, ...]:
        """The members of the latest array of that name (Slurm recycles ids), by number."""
        which = "INDEXED BY jobs_by_array WHERE array_job = :job_id"
        found = self._known.found(which, {"job_id": job_id})
        members: dict[int, QueueJob] = {}
        for job in found:
            request, latest = job.request, found[-1].request
            near = abs(request.submitted - latest.submitted) < _ARRAY_SECONDS
            if request.array is not None and request.uid == latest.uid and near:
                members[request.array.task] = job
        return tuple(members[task] for task in sorted(members))

    def all(
        self,
        states: Iterable[JobState] = ACTIVE,
        *,
        uid: int | None = None,
    ) -> tuple[QueueJob, ...]:
        """Jobs in the order in which they came.

        Args:
            states: in one of these.
            uid: of one owner only.
        """
        return self._known.found(
            "INDEXED BY jobs_by_state WHERE state IN (SELECT value FROM json_each(:states))"
            " AND (:uid IS NULL OR uid = :uid)",
            {"states": job_rows.states_list(states), "uid": uid},
        )

    def ended(self, states: Iterable[JobState], *, since: float) -> tuple[QueueJob, ...]:
        """Jobs that ended at `since` (UTC epoch seconds) or later, in the order in which they came.

        Args:
            states: in one of these now.
        """
        return self._known.found(
            "INDEXED BY jobs_by_ended_at WHERE ended_at >= :since"
            " AND state IN (SELECT value FROM json_each(:states))",
            {"states": job_rows.states_list(states), "since": since},
        )

    def ids_after(self, job_id: int) -> tuple[int, ...]:
        """The ids of all jobs that came later, in order."""
        rows = self._database.query("SELECT id FROM jobs WHERE id > ? ORDER BY id", (job_id,))
        return tuple(row["id"] for row in rows)

    def save(self, job: QueueJob, *, durable: bool = True) -> QueueJob:
        """Write everything that may change but the state; returns the job with its new revision.

        Args:
            durable: False for what the next report will tell again (progress).

        Raises:
            ConflictError: the row was changed since `job` was read.
            NoSuchRowError: there is none of that id.
        """
        known = self._known.of(job.id, job.revision)
        columns = job_rows.changing_columns(job, known)
        assignments = "".join(f"{name} = :{name}, " for name in columns)
        with self._database.transaction(durable=durable):
            touched = self._database.execute(
                f"UPDATE jobs SET {assignments}revision = revision + 1"  # noqa: S608 - values are bound
                " WHERE id = :id AND revision = :revision",
                {**columns, "id": job.id, "revision": job.revision},
            )
            if not touched:
                found = self.get(job.id).revision
                raise ConflictError(
                    f"job {job.id} was changed meanwhile (revision {found}, not {job.revision})"
                )
            if known is not None and "reason" not in columns:
                # What is written comes back as it is (an infinite time in a reason does not).
                saved = replace(
                    job,
                    request=known.request,
                    state=known.state,
                    held_from=known.held_from,
                    ended_at=known.ended_at,
                    revision=job.revision + 1,
                )
                self._known.keep(saved)
                return saved
            return self.get(job.id)

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
                " held_by = CASE WHEN :state IN ('held', 'lost') THEN held_by END,"
                " revision = revision + 1 WHERE id = :id",
                {
                    "id": job_id,
                    "state": to.value,
                    "held_from": job.state.value if to is JobState.HELD else None,
                    "ended_at": (at if ended_at is None else ended_at) if to in FINAL else None,
                },
            )
            if to in FINAL:
                self._abandon_intents(job_id, at)
            if to in (JobState.REJECTED, JobState.CANCELLED) and job.first_started_at is None:
                # Nobody submits it again, and its script is the largest part of it.
                self._database.execute("DELETE FROM scripts WHERE job_id = ?", (job_id,))
            change: dict[str, Json] = {"from": job.state.value, "to": to.value}
            self._events.log(
                Event(at, EventKind.STATE, actor, why, job_id, {**(data or {}), **change})
            )
            return self.get(job_id)

    def _abandon_intents(self, job_id: int, at: float) -> None:
        """Whoever ends a job: nothing of it is on its way any more.

        But it may be submitted again already: that intent tells whoever is to do it, or to undo it.
        """
        self._database.execute(
            "UPDATE intents SET state = 'abandoned', changed_at = ?"
            " WHERE job_id = ? AND action <> 'submit' AND state IN ('open', 'executed')",
            (at, job_id),
        )

    def complete(self, job_id: int, request: JobRequest) -> QueueJob:
        """Write what the request left open, and the account that Slurm has moved it to.

        Raises:
            NoSuchRowError: there is none of that id.
        """
        return self._rewrite(job_id, request, _COMPLETED)

    def _rewrite(self, job_id: int, request: JobRequest, names: Iterable[str]) -> QueueJob:
        columns = job_rows.request_columns(request)
        values = {name: columns[name] for name in names}
        assignments = "".join(f"{name} = :{name}, " for name in values)
        with self._database.transaction():
            self._database.execute(
                f"UPDATE jobs SET {assignments}revision = revision + 1 WHERE id = :id",  # noqa: S608 - values are bound
                {**values, "id": job_id},
            )
            return self.get(job_id)

    def change(self, job_id: int, request: JobRequest) -> QueueJob:
        """Write what its owner wants otherwise of the request.

        Raises:
            ModelError: it is no request for the queue; the error names the field.
            NoSuchRowError: there is none of that id.
        """
        check_request(request, request.submitted)
        return self._rewrite(job_id, self.with_rows(request), _CHANGED)

    def last_told(self, uid: int, model_name: str, precision: str) -> QueueJob | None:
        """The owner's latest job of a training whose script told iterations and batch size."""
        row = self._database.one(
            "SELECT * FROM jobs WHERE uid = ? AND model_name = ? AND precision = ?"
            " AND script_iterations IS NOT NULL AND script_global_batch_size IS NOT NULL"
            " ORDER BY id DESC LIMIT 1",
            (uid, model_name, precision),
        )
        return None if row is None else self._known.value(row)

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
                "UPDATE jobs SET slurm_job_id = ?, slurm_settings = '{}', slurm_submitted = NULL,"
                " revision = revision + 1 WHERE id = ?",
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


_ARRAY_SECONDS = 86400.0
"""Within which all of an array are submitted."""

_COMPLETED = (
    "iterations",
    "global_batch_size",
    "curves",
    "growth_curves",
    "curve_source",
    "assumed",
    "account",
    "if_infeasible",
)
"""Columns of the request that may be written later."""

_CHANGED = (
    "kind",
    "deadline",
    "grace",
    "if_infeasible",
    "iterations",
    "max_gpus",
    "assumed",
    "begin_at",
    "dependency",
)
"""Those that its owner may change."""
