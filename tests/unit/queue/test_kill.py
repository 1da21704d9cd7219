"""kill -9 at any instant: what was acknowledged is there, and nothing is there by half."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from ef_slurm.model import EventKind, IntentState, JobState
from ef_slurm.queue.store import Queue

WRITER = Path(__file__).with_name("writer.py")
KILLS = 25


def test_a_killed_writer_loses_nothing_that_it_was_told(path: Path) -> None:
    chance = random.Random(20260715)
    told = 0
    with subprocess.Popen(
        [sys.executable, str(WRITER), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        for _ in range(KILLS):
            print(file=writers.stdin, flush=True)
            writer = int(writers.stdout.readline())
            acknowledged = [int(writers.stdout.readline()) for _ in range(chance.randint(1, 4))]
            time.sleep(chance.uniform(0.0, 0.05))
            os.kill(writer, signal.SIGKILL)
            acknowledged += [int(line) for line in iter(writers.stdout.readline, "end\n")]
            told = max([told, *acknowledged])
            with Queue.open(path) as queue:
                check(queue, told)
        writers.stdin.close()
    assert told >= KILLS


def check(queue: Queue, told: int) -> None:
    jobs = queue.jobs.all(JobState)
    assert len(jobs) >= told
    for job in jobs:
        events = queue.events.all(job_id=job.id)
        moves = [event for event in events if event.kind is EventKind.STATE]
        intents = [event for event in events if event.kind is EventKind.INTENT]
        # The writer adds, admits and opens an intent in one transaction, and closes in another.
        assert events[0].kind is EventKind.SUBMITTED
        assert [move.data["to"] for move in moves][:1] == ["admitted"]
        assert len(intents) >= 1
        unfinished = queue.intents.unfinished_of(job.id)
        if job.state is JobState.STARTING:
            assert unfinished is None
            assert intents[-1].data["state"] == IntentState.CLOSED.value
        else:
            assert job.state is JobState.ADMITTED
            assert unfinished is not None
    with sqlite3.connect(queue.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
