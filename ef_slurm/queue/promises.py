"""Answers to newcomers, and the promises among them."""

from __future__ import annotations

from sqlite3 import Row

from ef_slurm.model import (
    ACTOR,
    Event,
    EventKind,
    Fault,
    Json,
    Outcome,
    Promise,
    PromiseOutcome,
    Reason,
    ReasonCode,
    Settlement,
    StoredVerdict,
    Verdict,
    planner_id,
    queue_id,
)
from ef_slurm.queue import codec
from ef_slurm.queue.database import Database
from ef_slurm.queue.errors import NoSuchRowError, QueueError
from ef_slurm.queue.events import Events
from ef_slurm.queue.jobs import Jobs


class Promises:
    """The tables of verdicts and promises."""

    def __init__(self, database: Database, events: Events, jobs: Jobs) -> None:
        self._database = database
        self._events = events
        self._jobs = jobs

    def record(self, verdict: Verdict, *, at: float, explanation: str) -> StoredVerdict:
        """Write the planner's answer to a job; a promise in it is given at the same time.

        The job's state is the caller's to move.

        Args:
            explanation: the answer in a sentence, for its owner and the log.
        """
        job_id = queue_id(verdict.job_id)
        with self._database.transaction():
            row_id = self._database.insert(
                "verdicts",
                {
                    "job_id": job_id,
                    "at": at,
                    "outcome": verdict.outcome.value,
                    "reason": codec.dump_reason(verdict.reason),
                    "share": verdict.share,
                    "finish": verdict.finish,
                    "earliest_deadline": verdict.earliest_deadline,
                    "explanation": explanation,
                },
            )
            self._events.log(
                Event(
                    at=at,
                    kind=EventKind.VERDICT,
                    actor=ACTOR,
                    message=explanation,
                    job_id=job_id,
                    data={
                        "outcome": verdict.outcome.value,
                        "share": verdict.share,
                        "finish": verdict.finish,
                        "earliest_deadline": verdict.earliest_deadline,
                    },
                )
            )
            if verdict.outcome is Outcome.PROMISED:
                self._give(job_id, verdict, at)
            return self._one(row_id)

    def _give(self, job_id: int, verdict: Verdict, at: float) -> None:
        request = self._jobs.get(job_id).request
        if request.deadline is None or verdict.finish is None:
            raise QueueError(f"job {job_id}: a promise needs a deadline and a predicted finish")
        self._database.insert(
            "promises",
            {
                "job_id": job_id,
                "given_at": at,
                "deadline": request.deadline,
                "grace": request.grace,
                "finish": verdict.finish,
                "share": verdict.share,
                "curves": codec.dump_curves(request.curves),
                "overhead": codec.dump_overhead(request.overhead),
            },
        )
        self._events.log(
            Event(
                at=at,
                kind=EventKind.PROMISED,
                actor=ACTOR,
                message=f"promised with {verdict.share} GPUs",
                job_id=job_id,
                data={
                    "deadline": request.deadline,
                    "finish": verdict.finish,
                    "share": verdict.share,
                },
            )
        )

    def renew(self, job_id: int, *, at: float, why: str) -> bool:
        """Replace a job's open promise by one for its request as it is now; False without one.

        The request must be one that whatever keeps the old promise keeps too.
        """
        with self._database.transaction():
            old = self.of(job_id)
            if old is None or not self.settle(
                job_id, Settlement(PromiseOutcome.REPLACED, None, why), at=at
            ):
                return False
            name = planner_id(job_id)
            reason = Reason(ReasonCode.KEPT, gpus=old.share)
            again = Verdict(name, Outcome.PROMISED, reason, old.share, old.finish)
            self.record(again, at=at, explanation=f"promised as before: {why}")
            return True

    def verdict(self, job_id: int) -> StoredVerdict | None:
        """The latest answer to a job, or None if it was not judged yet."""
        row = self._database.one(
            "SELECT * FROM verdicts WHERE job_id = ? ORDER BY id DESC LIMIT 1", (job_id,)
        )
        return None if row is None else _verdict(row)

    def _one(self, verdict_id: int) -> StoredVerdict:
        row = self._database.one("SELECT * FROM verdicts WHERE id = ?", (verdict_id,))
        if row is None:
            raise NoSuchRowError(f"the queue has no verdict {verdict_id}")
        return _verdict(row)

    def of(self, job_id: int) -> Promise | None:
        """The latest promise to a job, or None."""
        row = self._database.one(
            "SELECT * FROM promises WHERE job_id = ? ORDER BY id DESC LIMIT 1", (job_id,)
        )
        return None if row is None else _promise(row)

    def open(self) -> dict[int, float]:
        """When the open promises were given (UTC epoch seconds), by the queue's job id."""
        rows = self._database.query("SELECT job_id, given_at FROM promises WHERE outcome = 'open'")
        return {row["job_id"]: row["given_at"] for row in rows}

    def has_any(self) -> bool:
        """Whether any promise was ever given."""
        return self._database.one("SELECT 1 FROM promises LIMIT 1") is not None

    def all(self, *, given_since: float | None = None) -> tuple[Promise, ...]:
        """Promises in the order in which they were given."""
        rows = self._database.query(
            "SELECT * FROM promises WHERE :since IS NULL OR given_at >= :since ORDER BY id",
            {"since": given_since},
        )
        return tuple(_promise(row) for row in rows)

    def settle(self, job_id: int, settlement: Settlement, *, at: float) -> bool:
        """Write how a job's open promise ended; False if it has none open.

        Args:
            at: when that became known, UTC epoch seconds.
        """
        outcome = settlement.outcome
        fault = "" if settlement.fault is None else settlement.fault.value
        with self._database.transaction():
            touched = self._database.execute(
                "UPDATE promises SET outcome = :outcome, fault = :fault, settled_at = :at"
                " WHERE job_id = :job_id AND outcome = 'open'",
                {"outcome": outcome.value, "fault": fault, "at": at, "job_id": job_id},
            )
            if touched:
                data: dict[str, Json] = {
                    "from": PromiseOutcome.OPEN.value,
                    "to": outcome.value,
                    "fault": fault,
                }
                message = f"promise {outcome.value}: {settlement.why}"
                self._events.log(Event(at, EventKind.PROMISE, ACTOR, message, job_id, data))
            return bool(touched)

    def take_back(self, job_id: int, *, at: float, why: str) -> bool:
        """Open a job's latest promise again, which was called broken wrongly; False if it was not.

        Args:
            at: when that became known, UTC epoch seconds.
            why: a sentence for the log.
        """
        with self._database.transaction():
            touched = self._database.execute(
                "UPDATE promises SET outcome = 'open', fault = '', settled_at = NULL"
                " WHERE id = (SELECT max(id) FROM promises WHERE job_id = ?)"
                " AND outcome = 'broken'",
                (job_id,),
            )
            if touched:
                data: dict[str, Json] = {
                    "from": PromiseOutcome.BROKEN.value,
                    "to": PromiseOutcome.OPEN.value,
                }
                message = f"promise open again: {why}"
                self._events.log(Event(at, EventKind.PROMISE, ACTOR, message, job_id, data))
            return bool(touched)


def _verdict(row: Row) -> StoredVerdict:
    return StoredVerdict(
        id=row["id"],
        job_id=row["job_id"],
        at=row["at"],
        outcome=Outcome(row["outcome"]),
        reason=codec.load_reason(row["reason"]),
        share=row["share"],
        finish=row["finish"],
        earliest_deadline=row["earliest_deadline"],
        explanation=row["explanation"],
    )


def _promise(row: Row) -> Promise:
    return Promise(
        id=row["id"],
        job_id=row["job_id"],
        given_at=row["given_at"],
        deadline=row["deadline"],
        grace=row["grace"],
        finish=row["finish"],
        share=row["share"],
        curves=codec.load_curves(row["curves"]),
        overhead=codec.load_overhead(row["overhead"]),
        outcome=PromiseOutcome(row["outcome"]),
        fault=Fault(row["fault"]) if row["fault"] else None,
        settled_at=row["settled_at"],
    )
