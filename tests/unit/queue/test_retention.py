"""Ended jobs are forgotten after a while, everything else stays."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from ef_slurm.model import (
    Event,
    EventKind,
    Fault,
    IntentAction,
    IntentState,
    JobState,
    Outcome,
    PromiseOutcome,
    QueueJob,
    Reason,
    ReasonCode,
    Settlement,
    Verdict,
    planner_id,
)
from ef_slurm.queue.errors import NoSuchRowError, QueueError
from ef_slurm.queue.store import Queue

Add = Callable[..., QueueJob]
TABLES = ("jobs", "scripts", "promises", "verdicts", "intents")


def note(queue: Queue, at: float, job_id: int | None = None) -> None:
    queue.events.log(Event(at, EventKind.NODE, "ef-schedd", "so it was", job_id))


def lived(queue: Queue, job: QueueJob, ended: float | None) -> QueueJob:
    """A job with a row in every table, which ended then."""
    reason = Reason(ReasonCode.STARTED, gpus=4)
    verdict = Verdict(planner_id(job.id), Outcome.PROMISED, reason, share=4, finish=8000.0)
    queue.promises.record(verdict, at=1010.0, explanation="promised")
    queue.jobs.move(job.id, JobState.ADMITTED, at=1010.0, actor="ef-schedd", why="promised")
    intent = queue.intents.open(job.id, 0, IntentAction.RELEASE, {}, at=1011.0, why="start")
    queue.intents.advance(intent.id, IntentState.ABANDONED, at=1012.0)
    queue.jobs.save(replace(queue.jobs.get(job.id), first_started_at=1012.0))
    if ended is not None:
        cancelled = Settlement(PromiseOutcome.VOID, Fault.OWNER, "cancelled")
        queue.promises.settle(job.id, cancelled, at=ended)
        queue.jobs.move(job.id, JobState.CANCELLED, at=ended, actor="user1", why="cancelled")
    return queue.jobs.get(job.id)


def count(queue: Queue, table: str) -> int:
    row = queue._database.one(f"SELECT count(*) FROM {table}")
    assert row is not None
    number: int = row[0]
    return number


def test_what_ended_before_goes_with_all_that_belongs_to_it(queue: Queue, add: Add) -> None:
    old = lived(queue, add(1), 2000.0)
    recent, active = lived(queue, add(2), 3000.0), lived(queue, add(3), None)
    note(queue, 1999.0)
    note(queue, 2501.0)
    kept = [queue.events.all(job_id=job.id) for job in (recent, active)]
    assert queue.retention.prune(2500.0, limit=1000) > 0
    with pytest.raises(NoSuchRowError):
        queue.jobs.get(old.id)
    assert queue.jobs.get(recent.id) == recent
    assert queue.jobs.get(active.id) == active
    assert [queue.events.all(job_id=job.id) for job in (recent, active)] == kept
    assert queue.events.all(job_id=old.id) == ()
    assert [event.at for event in queue.events.all(kinds=[EventKind.NODE])] == [2501.0]
    assert {table: count(queue, table) for table in TABLES} == dict.fromkeys(TABLES, 2)


def test_nothing_to_forget_is_nothing_written(queue: Queue, add: Add) -> None:
    lived(queue, add(1), 2000.0)
    with Queue.open(queue.path) as other:
        version = other.data_version()
        assert queue.retention.prune(2000.0, limit=10) == 0
        assert other.data_version() == version


def test_a_piece_is_no_larger_than_was_said(queue: Queue, add: Add) -> None:
    for number in range(1, 6):
        job = lived(queue, add(number), 1500.0 + number)
        for _ in range(7):
            note(queue, 2100.0, job.id)  # Slurm told later that it had ended
    total = sum(count(queue, table) for table in ("events", *TABLES))
    pieces: list[int] = []
    while not pieces or pieces[-1] >= 10:
        pieces.append(queue.retention.prune(2000.0, limit=10))
        # A job is there as long as something about it is.
        assert all(queue.jobs.all(JobState) or event.job_id is None for event in queue.events.all())
    # The rows of its last job come on top; scripts go with their jobs and are not counted.
    assert max(pieces) <= 10 + 4
    assert sum(pieces) == total - 5
    assert sum(count(queue, table) for table in ("events", *TABLES)) == 0


def test_younger_events_cannot_be_deleted_by_anybody(queue: Queue, add: Add) -> None:
    lived(queue, add(1), 2000.0)
    active = lived(queue, add(2), None)
    queue.retention.prune(2500.0, limit=1000)
    with pytest.raises(QueueError, match="append-only"):
        queue._database.execute("DELETE FROM events WHERE job_id = ?", (active.id,))
    note(queue, 2500.0)
    with pytest.raises(QueueError, match="append-only"):
        queue._database.execute("DELETE FROM events WHERE job_id IS NULL")
    with pytest.raises(QueueError, match="append-only"):
        queue._database.execute("UPDATE events SET message = ''")


def test_a_job_that_came_back_stays(queue: Queue, add: Add) -> None:
    job = lived(queue, add(1), None)
    queue.jobs.move(job.id, JobState.LOST, at=2000.0, actor="ef-schedd", why="Slurm forgot it")
    queue.jobs.move(job.id, JobState.PAUSED, at=2100.0, actor="ef-schedd", why="found again")
    assert queue.retention.prune(9000.0, limit=1000) == 0
    assert queue.jobs.get(job.id).state is JobState.PAUSED
