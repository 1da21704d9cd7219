"""Rows that hold what nobody can have meant are set aside, and do not end anybody's work."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ef_slurm.model import ACTIVE, EventKind, JobState, PromiseOutcome, QueueJob
from ef_slurm.queue.errors import RefusedRowError, RowError, UnreadableRowError
from tests.unit.daemon.world import World

MEMORY = Path("/dev/shm")
POISON = {
    "no curves": "curves = '{}x'",
    "curves of no number": """curves = '{"gpu": [[1, "much"]]}'""",
    "an overhead below nothing": """overhead = '{"start": -5.0}'""",
    "a state that there is not": "promise = 'perhaps'",
    "a block of none": """running = '{"block": 7}'""",
    "text that is no UTF-8": "kind = CAST(x'ff80' AS TEXT)",
    "an endless reason": "reason = '" + "[" * 900 + "]" * 900 + "'",
}
STRANGE = {
    "an infinite rate": "rate = 9e999",
    "a negative rate": "rate = -1.0",
    "beyond its end": "iteration = 1e300, checkpoint_iteration = 1e300",
    "reports of the year 5450": "progress_at = 1.1e15",
    "a note that is no UTF-8": "note = CAST(x'c328' AS TEXT)",
    "a note that moves the cursor": "note = char(27) || '[2J'",
}


@pytest.fixture
def world() -> Iterator[World]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        world = World(Path(directory) / "queue.sqlite")
        yield world
        world.queue.close()


def write(world: World, job: QueueJob, change: str) -> None:
    """Write into a row what no code of ours would, as an older version may have."""
    world.queue.close()
    with closing(sqlite3.connect(world.path)) as file:
        file.execute("PRAGMA ignore_check_constraints = ON")
        file.execute(f"UPDATE jobs SET {change}, revision = revision + 1 WHERE id = {job.id}")
        file.commit()
    world.restart()


def assert_kept(world: World, job: QueueJob) -> None:
    world.run_until(lambda: world.state(job) is JobState.COMPLETED, limit=3000.0)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert promise.outcome is PromiseOutcome.KEPT


@pytest.mark.parametrize("name", POISON)
def test_a_queue_with_such_a_row_starts_again(world: World, name: str) -> None:
    bad, good = world.submit(20_000, 3000.0), world.submit(6_000, 3000.0)
    world.run(30)
    write(world, bad, POISON[name])
    world.run(5)
    assert [job.id for job in world.queue.jobs.all(ACTIVE)] == [good.id]
    with pytest.raises(UnreadableRowError, match=f"job {bad.id} of the queue"):
        world.queue.jobs.get(bad.id)
    told = [e.message for e in world.queue.events.all(kinds=[EventKind.DAEMON])]
    (told_once,) = [message for message in told if "set aside" in message]
    assert f"job {bad.id} of the queue (Slurm job {bad.request.slurm_job_id})" in told_once
    assert told_once.isprintable()
    assert_kept(world, good)
    world.restart()
    assert_kept(world, world.submit(2_000, 1000.0))


@pytest.mark.parametrize("name", STRANGE)
def test_what_a_report_once_left_there_is_taken_for_what_it_can_be(world: World, name: str) -> None:
    bad, good = world.submit(20_000, 3000.0), world.submit(6_000, 3000.0)
    world.run(30)
    write(world, bad, STRANGE[name])
    row = world.row(bad)
    assert row.rate is None or 0 <= row.rate < 1e12
    assert 0 <= row.checkpoint_iteration <= 20_000
    world.run(30)
    assert_kept(world, good)


def test_measurements_that_nobody_can_have_taken_are_not_recalled(world: World) -> None:
    job = world.submit(20_000, 3000.0)
    for value in ("1e300", "-1e9", '"inf"', "null"):
        data = f'{{"what": "start", "value": {value}, "gpus": 4, "owner": "user1"}}'
        world.queue.close()
        with closing(sqlite3.connect(world.path)) as file:
            file.execute(
                "INSERT INTO events (at, job_id, kind, actor, message, data)"
                " VALUES (1, ?, 'measured', 'ef-schedd', '?', ?)",
                (job.id, data),
            )
            file.execute(
                "INSERT INTO events (at, job_id, kind, actor, message, data)"
                " VALUES (1, ?, 'nothing', 'ef-schedd', '?', '[7]')",
                (job.id,),
            )
            file.commit()
        world.restart()
    assert_kept(world, job)


@pytest.mark.parametrize("value", [2**63, -(2**70), "\ud800", -1])
def test_what_no_row_can_hold_is_that_rows_problem(world: World, value: object) -> None:
    job = world.submit(20_000, 3000.0)
    column = "note" if isinstance(value, str) else "generation"
    database = world.queue._database
    with pytest.raises(RefusedRowError):
        database.execute(f"UPDATE jobs SET {column} = ? WHERE id = ?", (value, job.id))
    assert issubclass(RefusedRowError, RowError)
    assert world.row(job).note == ""
