"""What a tick of the daemon costs, by how many jobs are active and how many have ended before.

    pytest -s tests/benchmarks/test_tick.py

The whole scheduler on a queue on disk and the Slurm in memory. All active jobs run or wait to, and
nothing new happens: what is left is what every tick pays. A tick comes every second; every second
one writes everybody's progress, every fifth one asks Slurm. Ended jobs ended evenly over the last
30 days, a third each as completed, rejected and cancelled, with 10 events and a script of 14.5 kB.
Times are CPU time of this process.
"""

from __future__ import annotations

import math
import os
import sqlite3
import statistics
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.model import BatchScript, QueueJob, ThroughputCurve
from ef_slurm.queue.store import Queue
from tests.unit.daemon.world import START, World

pytestmark = pytest.mark.benchmark

ACTIVE = (10, 500, 2000)
ENDED = (0, 10_000, 100_000)
DAYS = 30
SCRIPT_BYTES = 14_500
EVENTS = 10
TICKS = 40


def add_history(path: Path, count: int) -> None:
    """Jobs that have ended, written past the queue's own code: it would take hours."""
    numbers = (
        "WITH RECURSIVE numbers (n) AS"
        " (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count) "
    )
    values = {
        "count": count,
        "start": START,
        "days": DAYS * 86400.0,
        "bytes": SCRIPT_BYTES,
        "events": EVENTS,
    }
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            numbers + "INSERT INTO jobs (slurm_job_id, cluster, owner, uid, account, partition,"
            " name, submitted, kind, if_infeasible, iterations, global_batch_size, curves,"
            " curve_source, overhead, state_dir)"
            " SELECT 10000000 + n, '', 'user2', 0, '', 'ef', 'old', :start, 'best-effort',"
            """ 'reject', 100, 8, '{"gpu":[[1,10.0],[2,18.0],[4,32.0],[8,56.0]]}', '',"""
            """ '{"start":1.0,"reshape":1.0,"shrink":1.0,"per_doubling":0.0}', '/shared/old'"""
            " FROM numbers",
            values,
        )
        connection.execute(
            "INSERT INTO scripts SELECT id, hex(randomblob(:bytes / 2)), '[]', '[]', '' FROM jobs",
            values,
        )
        connection.execute("UPDATE jobs SET state = 'admitted' WHERE id % 3 = 0")
        connection.execute(
            "UPDATE jobs SET ended_at = :start - :days * (:count - id) / :count, state ="
            " CASE id % 3 WHEN 0 THEN 'completed' WHEN 1 THEN 'rejected' ELSE 'cancelled' END",
            values,
        )
        values["count"] = EVENTS
        connection.execute(
            numbers + "INSERT INTO events (at, job_id, kind, actor, message, data)"
            " SELECT ended_at, id, CASE n WHEN 1 THEN 'measured' ELSE 'state' END, 'ef-schedd',"
            """ 'it was so', '{"what":"rate","value":10.0,"gpus":1}' FROM jobs, numbers""",
            values,
        )


def submit(world: World) -> None:
    """A job for one GPU that does not end, with a script of the usual size."""
    add = world.queue.jobs.add
    script = BatchScript(os.urandom(SCRIPT_BYTES // 2).hex())
    with mock.patch.object(
        world.queue.jobs, "add", lambda request, _, actor: add(request, script, actor=actor)
    ):
        world.submit(10**9, None, curve=ThroughputCurve.of({1: 10.0}))


def settle_once(world: World) -> None:
    """Let the Slurm in memory look at its jobs once a tick, not with each of many commands."""
    settle = world.cluster.settle
    settled = -math.inf

    def once(now: float) -> None:
        nonlocal settled
        if now > settled:
            settled = now
            settle(now)

    world.cluster.settle = once  # type: ignore[method-assign]


class Ticks:
    """Ticks of a daemon, one second after another, and how many state directories they read."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._reads = 0
        read = world.bench.read

        def reading(job: QueueJob) -> JobReports:
            self._reads += 1
            return read(job)

        world.bench.read = reading  # type: ignore[method-assign]

    def measure(self, count: int) -> tuple[list[float], float]:
        """CPU milliseconds of each tick, and the state directories that one read on average."""
        spent = []
        self._reads = 0
        for _ in range(count):
            self._world.clock.now += 1.0
            self._world.bench.advance()
            before = time.process_time()
            self._world.scheduler.tick()
            spent.append(1000 * (time.process_time() - before))
        return spent, self._reads / count


@pytest.mark.timeout(0)
@pytest.mark.parametrize("ended", ENDED)
def test_what_a_tick_costs(tmp_path: Path, ended: int) -> None:
    path = tmp_path / "queue.sqlite"
    Queue.open(path).close()
    if ended:
        add_history(path, ended)
    before = time.process_time()
    world = World(path, nodes=max(ACTIVE) // 8, gpus_per_node=8)
    world.settings = replace(world.settings, replan_interval=math.inf)
    world.restart()
    settle_once(world)
    print(f"\n{ended} ended: opened in {1000 * (time.process_time() - before):.1f} ms")
    ticks = Ticks(world)
    print("| active | ended | median ms | mean ms | longest ms | state directories read |")
    present = 0
    for active in ACTIVE:
        for _ in range(active - present):
            submit(world)
        present = active
        ticks.measure(20)  # let them start
        spent, reads = ticks.measure(TICKS)
        median, mean = statistics.median(spent), statistics.fmean(spent)
        print(
            f"| {active} | {ended} | {median:.1f} | {mean:.1f} | {max(spent):.1f} | {reads:.0f} |"
        )
        assert len(world.queue.jobs.all()) == active
    world.queue.close()
