"""What the daemon asks with every tick costs the same however much lies in the queue."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from ef_slurm.model import PUT_BACK, Event, EventKind, JobState, QueueJob, QueueLimits
from ef_slurm.queue import job_rows
from ef_slurm.queue.limits import Limits
from ef_slurm.queue.store import Queue

Add = Callable[..., QueueJob]


@pytest.fixture
def statements(queue: Queue) -> list[str]:
    """The SQL that is executed, with its values."""
    heard: list[str] = []
    queue._database._connection.set_trace_callback(heard.append)
    return heard


def plan_of(queue: Queue, sql: str) -> str:
    return "; ".join(row["detail"] for row in queue._database.query(f"EXPLAIN QUERY PLAN {sql}"))


def test_no_question_of_a_tick_goes_through_a_whole_table(
    queue: Queue, add: Add, statements: list[str]
) -> None:
    job = add()
    queue._database.execute("ANALYZE")
    statements.clear()
    queue.jobs.all()
    queue.jobs.get(job.id)
    queue.jobs.of_slurm(100, "mini")
    Limits(queue._database).check(job.request, QueueLimits(jobs=2, jobs_per_user=2))
    queue.jobs.ended([JobState.REJECTED, JobState.CANCELLED], since=5.0)
    queue.intents.unfinished_of(job.id)
    queue.promises.of(job.id)
    queue.promises.verdict(job.id)
    queue.events.last(EventKind.MEASURED, 10)
    queue.events.all(job_id=job.id)
    queue.events.lost_a_run(job.id, 5.0)
    queue.retention.prune(5.0, limit=10)
    asked = [sql for sql in statements if sql.startswith("SELECT")]
    assert len(asked) >= 15
    for sql in asked:
        found = plan_of(queue, sql)
        tables = ("jobs", "events", "promises", "verdicts", "intents", "scripts")
        assert not any(f"SCAN {table}" in found for table in tables), f"{sql}: {found}"


def test_ended_jobs_are_found_by_when_they_ended(
    queue: Queue, add: Add, statements: list[str]
) -> None:
    add()
    queue.jobs.ended([JobState.REJECTED], since=5.0)
    (sql,) = (sql for sql in statements if "ended_at >=" in sql)
    assert "jobs_by_ended_at" in plan_of(queue, sql)


def test_a_row_is_decoded_once(queue: Queue, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [add(number) for number in range(1, 6)]
    decoded: list[int] = []
    decode = job_rows.to_job

    def counting(row: object) -> QueueJob:
        job = decode(row)  # type: ignore[arg-type]
        decoded.append(job.id)
        return job

    monkeypatch.setattr(job_rows, "to_job", counting)
    with Queue.open(queue.path) as other:
        assert other.jobs.all() == tuple(rows)
        assert other.jobs.all() == tuple(rows)
        assert decoded == [job.id for job in rows]
        decoded.clear()
        moved = queue.jobs.move(rows[2].id, JobState.CANCELLED, at=1.0, actor="", why="")
        decoded.clear()
        assert moved not in other.jobs.all()
        assert other.jobs.all(JobState)[2] == moved
        assert decoded == [moved.id]


def test_no_script_is_read_with_the_jobs(queue: Queue, add: Add, statements: list[str]) -> None:
    add()
    statements.clear()
    queue.jobs.all()
    assert not any("scripts" in sql for sql in statements)
    columns = queue._database.query("PRAGMA table_info(jobs)")
    assert not {"script", "options", "arguments", "directory"} & {row["name"] for row in columns}


def test_the_last_measurements_are_read_and_no_others(
    queue: Queue, add: Add, statements: list[str]
) -> None:
    job = add()
    for number in range(50):
        kind = EventKind.MEASURED if number % 2 else EventKind.NODE
        queue.events.log(Event(float(number), kind, "ef-schedd", "", job.id))
    statements.clear()
    found = queue.events.last(EventKind.MEASURED, 3)
    assert [event.at for event in found] == [45.0, 47.0, 49.0]
    assert len(statements) == 1


def test_an_undone_transaction_leaves_no_values_behind(queue: Queue, add: Add) -> None:
    job = add()
    for iteration in (1.0, 2.0):
        with suppress(RuntimeError), queue.transaction():
            assert queue.jobs.save(replace(job, iteration=iteration)).iteration == iteration
            raise RuntimeError
        assert queue.jobs.get(job.id) == job


@pytest.mark.parametrize(
    ("kind", "data", "lost"),
    [
        (EventKind.NODE, {}, True),  # as earlier versions wrote it
        (EventKind.NODE, {PUT_BACK: False}, False),
        (EventKind.USER, {PUT_BACK: True}, True),
        (EventKind.USER, {PUT_BACK: False}, False),
        (EventKind.ERROR, {"nodes": "n1"}, False),
    ],
)
def test_a_job_has_lost_a_run_if_it_was_not_its_own_doing(
    queue: Queue, add: Add, kind: EventKind, data: dict[str, str | bool], lost: bool
) -> None:
    job, other = add(slurm_job_id=100), add(slurm_job_id=101)
    queue.events.log(Event(7.0, kind, "ef-schedd", "it is put back", job.id, data))
    assert queue.events.lost_a_run(job.id, 7.0) is lost
    assert not queue.events.lost_a_run(job.id, 7.5)
    assert not queue.events.lost_a_run(other.id, 7.0)
