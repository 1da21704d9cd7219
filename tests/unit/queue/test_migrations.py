"""A queue of an older version becomes one of this version, whole or not at all."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ef_slurm.model import (
    ACTIVE,
    BatchScript,
    HeldBy,
    JobState,
    PromiseOutcome,
    PromiseState,
)
from ef_slurm.queue import database
from ef_slurm.queue.errors import QueueError, QueueMissingError
from ef_slurm.queue.migrations import MIGRATIONS
from ef_slurm.queue.store import Queue

VERSION_1 = Path(__file__).with_name("version_1.sql")
OPENER = Path(__file__).with_name("opener.py")
SCRIPT = BatchScript(
    '#!/bin/bash\n# it\'s a script\ntrue "$@"\n',
    ("--account=acct1", "--time=60"),
    ("--data", "a b"),
    "/home/user1",
)
STATES = [
    JobState.COMPLETED,
    JobState.REJECTED,
    JobState.CANCELLED,
    JobState.ADMITTED,
    JobState.ADMITTED,
    JobState.RUNNING,
]
OPENED = 1 if os.environ.get("EF_LONG") else 25
"""Each so manyth queue of those that were killed at a statement is opened and looked through."""
RANDOM_KILLS = 8
MANY = 40


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A queue as ef-slurm wrote it before the second schema."""
    path = tmp_path / "queue.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text(encoding="utf-8"))
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        number: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return number


def columns(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[1] for row in connection.execute("PRAGMA table_info(jobs)")}


def check(path: Path) -> None:
    """Everything that was in the old queue is in the new one."""
    with Queue.open(path) as queue:
        jobs = queue.jobs.all(JobState)
        assert [job.state for job in jobs] == STATES
        assert {queue.jobs.script(job.id) for job in jobs} == {SCRIPT}
        assert jobs[4].failed_starts == 2
        assert jobs[5].promise is PromiseState.SAFE
        assert jobs[5].share == 16
        outcomes = [promise.outcome for promise in queue.promises.all()]
        assert outcomes == [
            PromiseOutcome.KEPT,
            PromiseOutcome.VOID,
            PromiseOutcome.OPEN,
            PromiseOutcome.OPEN,
        ]
        assert len(queue.events.all()) == 51
        assert queue.plans.last() is not None
        assert queue.owner.record() is not None
        # It can be written to, and its triggers are there.
        queue.jobs.move(jobs[5].id, JobState.HELD, at=2e6, actor="user1", why="test")
        with pytest.raises(QueueError, match="append-only"):
            queue._database.execute("DELETE FROM events")
        with pytest.raises(QueueError, match="not rewritten"):
            queue._database.execute("UPDATE promises SET outcome = 'void' WHERE outcome = 'kept'")
    assert version(path) == len(MIGRATIONS)
    assert not {"script", "options", "arguments", "directory", "fruitless"} & columns(path)


def test_a_queue_of_the_first_version_opens(old: Path) -> None:
    assert version(old) == 1
    check(old)


def test_whoever_only_reads_does_not_migrate(old: Path) -> None:
    with pytest.raises(QueueMissingError, match="start ef-schedd once"):
        Queue.open(old, read_only=True)
    assert version(old) == 1
    assert "script" in columns(old)


class Copies:
    """Keeps the files of a queue as they are before each SQL statement: what `kill -9` would leave.

    To read them lets go of SQLite's locks, which nobody else is there to respect.
    """

    def __init__(self, old: Path, directory: Path) -> None:
        self._old = old
        self._directory = directory
        self._plain = sqlite3.connect
        self.made: list[Path] = []

    def connect(self, *arguments: Any, **keywords: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = self._plain(*arguments, **keywords)
        connection.set_trace_callback(self._keep)
        return connection

    def _keep(self, _sql: str) -> None:
        copy = self._directory / f"{len(self.made)}.sqlite"
        for end in ("", "-wal", "-shm"):
            file = self._old.with_name(self._old.name + end)
            if file.exists():
                shutil.copyfile(file, copy.with_name(copy.name + end))
        self.made.append(copy)


def test_killed_at_any_statement_it_is_the_old_or_the_new_queue(old: Path, tmp_path: Path) -> None:
    copies = Copies(old, tmp_path)
    with mock.patch("sqlite3.connect", copies.connect):
        Queue.open(old).close()
    versions = [version(copy) for copy in copies.made]
    # Until the commit nothing is to be seen of it, and a kill after it takes nothing back.
    assert len(versions) > 30
    assert versions == sorted(versions)
    assert set(versions) <= {1, len(MIGRATIONS)}
    assert versions[0] == 1
    for copy in copies.made[::OPENED]:
        check(copy)
    check(copies.made[-1])


def enlarge(path: Path) -> None:
    """So much in it that a migration takes a while."""
    with closing(sqlite3.connect(path)) as connection, connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(jobs)")][1:]
        changed = {"slurm_job_id": "slurm_job_id + 1000 * number", "state": "'new'"}
        picked = ", ".join(changed.get(name, name) for name in names)
        connection.execute(
            f"WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1"
            f" FROM numbers WHERE number < {MANY})"
            f" INSERT INTO jobs ({', '.join(names)}) SELECT {picked} FROM numbers, jobs"
        )
        connection.execute("UPDATE jobs SET script = script || hex(randomblob(7000))")


def written(path: Path) -> int:
    """Bytes that wait in the file's write-ahead log."""
    log = path.with_name(path.name + "-wal")
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def test_killed_at_any_time_nothing_is_lost(old: Path) -> None:
    enlarge(old)
    with closing(sqlite3.connect(old)) as connection:
        scripts = connection.execute("SELECT id, script FROM jobs ORDER BY id").fetchall()
    size = old.stat().st_size
    chance = random.Random(20261126)
    interrupted = 0
    for _ in range(RANDOM_KILLS):
        enough = chance.randrange(size)
        with subprocess.Popen([sys.executable, str(OPENER), str(old)]) as opener:
            while opener.poll() is None and written(old) <= enough:
                time.sleep(0.001)
            interrupted += opener.poll() is None and written(old) > 0
            opener.kill()
        if version(old) == len(MIGRATIONS):
            break
    assert interrupted >= RANDOM_KILLS // 2
    with Queue.open(old) as queue:
        kept = queue._database.query("SELECT job_id, text FROM scripts ORDER BY job_id")
        assert [tuple(row) for row in kept] == scripts
        assert len(queue.jobs.all(JobState)) == len(scripts)


def test_a_new_queue_has_what_a_migrated_one_has(old: Path, tmp_path: Path) -> None:
    Queue.open(old).close()
    new = tmp_path / "new.sqlite"
    Queue.open(new).close()
    assert schema(new) == schema(old)


def test_of_jobs_that_are_held_already_the_note_says_by_whom(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(database, "MIGRATIONS", MIGRATIONS[:15])
        Queue.open(old).close()
    stalled = '{"code":"stalled"}'
    held = {  # note, held here, reason → by its owner
        ("held by user1: ef-scontrol release lets it go on", 1, None): True,
        ("held by user1x: ef-scontrol release lets it go on", 1, None): False,
        ("held by its owner (scontrol hold): ef-scontrol release lets it go on", 1, None): True,
        ("held in Slurm by its owner: ef-scontrol release lets it go on", 0, None): True,
        ("held in Slurm by its owner: ef-scontrol release lets it go on", 1, None): False,
        ("held in Slurm by an operator: ef-scontrol release lets it go on", 0, None): False,
        ("no iteration for 30 min", 0, stalled): True,
        ("no iteration for 30 min", 1, stalled): False,
        ("Slurm: held by user1: it says", 1, None): False,
        ("", 0, None): False,
    }
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(jobs)")][1:]
        copied = ", ".join({"slurm_job_id": "slurm_job_id + ?"}.get(name, name) for name in names)
        connection.execute("DROP TRIGGER jobs_begin")
        connection.execute("UPDATE jobs SET state = 'held', held_from = state WHERE id = 4")
        ids = {}
        for number, (note, here, reason) in enumerate(held):
            connection.execute(
                f"INSERT INTO jobs ({', '.join(names)}) SELECT {copied} FROM jobs WHERE id = 4",
                (1000 + number,),
            )
            (made,) = connection.execute("SELECT last_insert_rowid()").fetchone()
            ids[made] = (note, here, reason)
            connection.execute(
                "UPDATE jobs SET note = ?, held_here = ?, reason = ? WHERE id = ?",
                (note, here, reason, made),
            )
    with Queue.open(old) as queue:
        found = {
            ids[job.id]: job.held_by for job in queue.jobs.all({JobState.HELD}) if job.id in ids
        }
        assert {job.held_by for job in queue.jobs.all(ACTIVE - {JobState.HELD})} == {None}
    owner = {key: HeldBy.OWNER if own else HeldBy.OPERATOR for key, own in held.items()}
    assert found == owner


def schema(path: Path) -> set[tuple[str, str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, name, tbl_name FROM sqlite_schema").fetchall()
        return {(kind, name, table) for kind, name, table in rows}
