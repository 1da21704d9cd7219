"""Jobs put back into a queue from their records, whatever state they are in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ef_slurm.model import (
    ACTOR,
    Companion,
    Event,
    EventKind,
    JobRecord,
    Json,
    Promise,
    QueueJob,
    StoredVerdict,
)
from ef_slurm.queue import codec, job_rows
from ef_slurm.queue.database import Database
from ef_slurm.queue.events import Events

_TRIGGERS = ("jobs_begin", "jobs_move", "promises_stand")
"""They hold a job to its way from NEW on, and a promise to its word: here both have come from
elsewhere."""


class Restore:
    """Writes records into the tables. Only for a queue that nobody else uses yet."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    @contextmanager
    def open(self) -> Iterator[None]:
        """A transaction in which jobs may be put back."""
        marks = ", ".join("?" * len(_TRIGGERS))
        with self._database.transaction():
            triggers = self._database.query(
                f"SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name IN ({marks})",  # noqa: S608 - values are bound
                _TRIGGERS,
            )
            for trigger in triggers:
                self._database.execute(f"DROP TRIGGER {trigger['name']}")
            yield
            for trigger in triggers:
                self._database.execute(trigger["sql"])

    def put(self, record: JobRecord, *, at: float, why: str) -> None:
        """Write one job, its script, its latest verdict and promise; inside `open`.

        What the queue has of that job already is overwritten; its events stay.

        Args:
            at: now, UTC epoch seconds.
            why: a sentence for its story.

        Raises:
            RefusedRowError: they contradict each other, or another job.
        """
        job = record.job
        with self._database.transaction():
            self._upsert("jobs", "id", _job_columns(job))
            if record.script is not None:
                script = job_rows.script_columns(record.script)
                self._upsert("scripts", "job_id", {"job_id": job.id, **script})
            if record.verdict is not None:
                self._put_once("verdicts", "at", _verdict_columns(job.id, record.verdict))
            if record.promise is not None:
                # One that a backup still has open was replaced since.
                self._database.execute(
                    "UPDATE promises SET outcome = 'replaced', settled_at = :at"
                    " WHERE job_id = :job_id AND outcome = 'open' AND given_at <> :at",
                    {"job_id": job.id, "at": record.promise.given_at},
                )
                self._put_once("promises", "given_at", _promise_columns(job.id, record.promise))
            for companion in record.companions:
                self._upsert("companions", "id", _companion_columns(job.id, companion))
            self._tell(job, at, why)

    def _upsert(self, table: str, key: str, columns: dict[str, Any]) -> None:
        names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        sets = ", ".join(f"{name} = :{name}" for name in columns if name != key)
        self._database.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - values are bound
            f" ON CONFLICT ({key}) DO UPDATE SET {sets}",
            columns,
        )

    def _put_once(self, table: str, moment: str, columns: dict[str, Any]) -> None:
        """In the place of the row that is told by its job and its moment."""
        self._database.execute(
            f"DELETE FROM {table} WHERE job_id = :job_id AND {moment} = :{moment}",  # noqa: S608 - values are bound
            {"job_id": columns["job_id"], moment: columns[moment]},
        )
        self._database.insert(table, columns)

    def _tell(self, job: QueueJob, at: float, why: str) -> None:
        request, running = job.request, job.running
        data: dict[str, Json] = {"slurm_job_id": request.slurm_job_id, "state": job.state.value}
        self._events.log(Event(at, EventKind.DAEMON, ACTOR, why, job.id, data))
        if running is not None:
            data = {
                "from": 0,
                "to": running.gpus,
                "nodes": ",".join(running.block.nodes),
                "gpus_per_node": running.block.gpus_per_node,
            }
            words = f"holds {running.gpus} GPUs"
            self._events.log(Event(at, EventKind.SHARE, ACTOR, words, job.id, data))


def _job_columns(job: QueueJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state.value,
        "held_from": None if job.held_from is None else job.held_from.value,
        "ended_at": job.ended_at,
        "revision": job.revision + 1,
        **job_rows.request_columns(job.request),
        **job_rows.changing_columns(job),
    }


def _companion_columns(job_id: int, companion: Companion) -> dict[str, Any]:
    return {
        "id": companion.id,
        "job_id": job_id,
        "generation": companion.generation,
        "change": companion.change,
        "state": companion.state.value,
        "block": codec.dump_block(companion.block),
        "ordered_at": companion.ordered_at,
        "changed_at": companion.changed_at,
        "slurm_job_id": companion.slurm_job_id,
        "note": companion.note,
    }


def _verdict_columns(job_id: int, verdict: StoredVerdict) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "at": verdict.at,
        "outcome": verdict.outcome.value,
        "reason": codec.dump_reason(verdict.reason),
        "share": verdict.share,
        "finish": verdict.finish,
        "earliest_deadline": verdict.earliest_deadline,
        "explanation": verdict.explanation,
    }


def _promise_columns(job_id: int, promise: Promise) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "given_at": promise.given_at,
        "deadline": promise.deadline,
        "grace": promise.grace,
        "finish": promise.finish,
        "share": promise.share,
        "curves": codec.dump_curves(promise.curves),
        "overhead": codec.dump_overhead(promise.overhead),
        "outcome": promise.outcome.value,
        "fault": "" if promise.fault is None else promise.fault.value,
        "settled_at": promise.settled_at,
    }
