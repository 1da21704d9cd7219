"""The views answer what docs/queue.md says, in the very commands that stand there."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.model import (
    ACTOR,
    FINAL,
    Event,
    EventKind,
    Fault,
    JobState,
    Json,
    NoticeKind,
    PromiseOutcome,
    Settlement,
)
from ef_slurm.queue.store import Queue
from ef_slurm.queue.views import VIEWS
from tests.unit.queue.test_migrations import VERSION_1

GUIDE = Path(__file__).parents[3] / "docs" / "queue.md"
COMMANDS = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.S | re.M)
START = 1_000_000.0
DAY = 86_400.0


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """Six jobs: one kept its promise, one was cancelled, one runs (see version_1.sql)."""
    path = tmp_path / "queue.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text(encoding="utf-8"))
    with Queue.open(path) as queue:
        told = "promise kept: training complete"
        queue.notices.add(1, NoticeKind.KEPT, event_id=1, at=START, wait=0.0, message=told)
        yield queue


def rows(queue: Queue, sql: str) -> list[dict[str, Any]]:
    return [dict(row) for row in queue._database.query(sql)]


def share(queue: Queue, job_id: int, at: float, gpus: int) -> None:
    data: dict[str, Json] = {"from": 0, "to": gpus, "nodes": "n1"}
    queue.events.log(Event(at, EventKind.SHARE, ACTOR, "share", job_id, data))


def end(queue: Queue, job_id: int, at: float, state: JobState = JobState.FAILED) -> None:
    queue.jobs.move(job_id, state, at=at, actor=ACTOR, why="test")


def picked(row: Mapping[str, Any], *names: str) -> list[Any]:
    return [row[name] for name in names]


def test_active_jobs(queue: Queue) -> None:
    found = rows(queue, "SELECT * FROM active_jobs")
    assert [row["slurm_job_id"] for row in found] == [4, 5, 6]
    assert picked(found[2], "state", "gpus", "kind", "promise") == [
        *("running", 16),
        *("deadline", "safe"),
    ]
    assert found[2]["deadline"] == "1970-01-12 14:03:10"
    assert found[2]["slack_hours"] == 0.01
    assert picked(found[1], "gpus", "deadline", "slack_hours") == [0, None, None]


def test_of_a_held_job_nothing_is_predicted(queue: Queue) -> None:
    end(queue, 6, START + 100.0, JobState.HELD)
    found = rows(queue, "SELECT * FROM active_jobs")[2]
    assert picked(found, "state", "predicted_finish", "slack_hours") == ["held", None, None]


def test_promises(queue: Queue) -> None:
    found = rows(queue, "SELECT * FROM promise_report")
    assert [row["outcome"] for row in found] == ["kept", "void", "open", "open"]
    # Promised for 600 s after the start, and complete 42 s after it.
    assert found[0]["early_hours"] == pytest.approx((600 - 42) / 3600, abs=0.006)
    assert found[3]["ended"] is None
    (record,) = rows(queue, "SELECT * FROM promise_record")
    assert record["account"] == "acct1"
    assert picked(record, "given", "still_open", "kept", "broken", "void") == [4, 2, 1, 0, 1]
    assert record["kept_percent"] == 100.0
    assert record["mean_prediction_error_hours"] == 0.08


def test_shares_over_time(queue: Queue) -> None:
    end(queue, 6, START + 100.0)
    share(queue, 5, START + 200.0, 8)
    share(queue, 5, START + 3800.0, 2)
    end(queue, 5, START + 7400.0)
    found = rows(queue, "SELECT * FROM share_history")
    held = [picked(row, "slurm_job_id", "gpus", "gpu_hours") for row in found]
    assert held == [
        [1, 16, round(16 * 42 / 3600, 4)],
        [3, 16, round(16 * 18 / 3600, 4)],
        [6, 16, round(16 * 40 / 3600, 4)],
        [5, 8, 8.0],
        [5, 2, 2.0],
    ]
    assert found[3]["until"] == found[4]["since"] == "1970-01-12 14:50:00.000"


@pytest.mark.parametrize("state", [one for one in JobState if one in FINAL - {JobState.COMPLETED}])
def test_no_share_lasts_beyond_the_end(queue: Queue, state: JobState) -> None:
    end(queue, 6, START + 100.0, state)
    (found,) = rows(queue, "SELECT * FROM share_history WHERE slurm_job_id = 6")
    assert found["gpu_hours"] == round(16 * 40 / 3600, 4)
    (held,) = (share for share in queue.past.shares(START) if share.job_id == 6)
    assert held.end == START + 100.0


def test_what_was_told(queue: Queue) -> None:
    (found,) = rows(queue, "SELECT * FROM notice_record")
    assert picked(found, "slurm_job_id", "kind", "state", "tries") == [1, "kept", "open", 0]


def test_a_days_summary(queue: Queue) -> None:
    end(queue, 6, START + 100.0)
    midnight = START - START % DAY + DAY
    share(queue, 5, midnight - 3600.0, 4)
    end(queue, 5, midnight + DAY + 7200.0)
    found = {row["day"]: row for row in rows(queue, "SELECT * FROM day_summary")}
    assert list(found) == ["1970-01-12", "1970-01-13", "1970-01-14"]
    first = found["1970-01-12"]
    assert picked(first, "submitted", "promised", "rejected", "completed") == [6, 4, 1, 1]
    assert picked(first, "failed", "cancelled", "kept", "broken", "void") == [1, 1, 1, 0, 1]
    early = 16 * (42 + 18 + 40) / 3600
    assert first["gpu_hours"] == pytest.approx(early + 4, abs=0.01)
    assert found["1970-01-13"]["gpu_hours"] == pytest.approx(4 * 24, abs=0.01)
    assert found["1970-01-14"]["gpu_hours"] == pytest.approx(4 * 2, abs=0.01)
    assert found["1970-01-14"]["failed"] == 1


def test_a_view_follows_the_code(queue: Queue) -> None:
    queue._database.execute("DROP VIEW day_summary")
    queue._database.execute("CREATE VIEW day_summary AS SELECT 1")
    Queue.open(queue.path).close()
    (row,) = rows(queue, "SELECT count(*) AS days, max(submitted) AS most FROM day_summary")
    assert row["most"] == 6
    version = queue.data_version()
    Queue.open(queue.path).close()
    assert queue.data_version() == version


def test_the_guide_names_every_view_and_column(queue: Queue) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for view in VIEWS:
        section = text.split(f"\n## {view}\n")[1].split("\n## ")[0]
        names = [row["name"] for row in queue._database.query(f"PRAGMA table_info({view})")]
        missing = [name for name in names if f"`{name}`" not in section]
        assert not missing, f"{view}: {missing}"


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_the_guides_commands_run(queue: Queue, tmp_path: Path, command: str) -> None:
    # What is under way is counted until today: a job that runs since 1970 has many days.
    lost = Settlement(PromiseOutcome.BROKEN, Fault.CLUSTER, "nodes went away")
    queue.promises.settle(6, lost, at=START + 100.0)
    end(queue, 6, START + 100.0)
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={**os.environ, "QUEUE": str(queue.path), "PATH": programs},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    if "promise_record" in command:
        assert json.loads(ran.stdout)[0]["given"] == 4
    elif "share_history" in command:
        assert "n[1-4]" in ran.stdout
        assert "acct1" in ran.stdout
    elif "history.sqlite" in command:
        with closing(sqlite3.connect(tmp_path / "history.sqlite")) as copy:
            assert copy.execute("SELECT submitted FROM days").fetchall() == [(6,)]
    elif "broken" in command:
        assert ran.stdout.splitlines()[1].startswith("6,user1,")
        assert ran.stdout.splitlines()[1].endswith(",cluster")
    elif "active_jobs" in command:
        assert ran.stdout.count("user1") == 1  # the one that has a deadline and is left
    else:
        assert "1970-01-12" in ran.stdout


def test_the_guide_has_commands() -> None:
    assert COMMANDS[0].startswith("QUEUE=")
    assert len(COMMANDS) >= 7
