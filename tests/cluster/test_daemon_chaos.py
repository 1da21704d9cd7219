"""A burst from two users, other people's jobs, a drained node, and kill -9 of the daemon all along.

Quick in CI; EF_LONG=1 kills it 50 times.
"""

from __future__ import annotations

import os
import random
import shlex
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.daemon_bench import Bench

pytestmark = [pytest.mark.cluster, pytest.mark.whole_machine]

LONG = bool(os.environ.get("EF_LONG"))
KILLS = 50 if LONG else 6
JOBS = 20 if LONG else 8
AT_ONCE = 4
"""Submissions at the same moment: as many as two cores bear."""
ENDS = frozenset({"completed", "rejected"})

# Bash on the daemon's host: quicker than a command from outside for every kill.
KILLER = """
pid={pid}
for pause in {pauses}; do
    sleep $pause
    kill -KILL $pid
    setsid nohup ef-schedd run >>{log} 2>&1 </dev/null &
    pid=$!
done
"""


@pytest.fixture
def bench(running_cluster: MiniSlurm) -> Iterator[Bench]:
    bench = Bench(running_cluster)
    bench.site.stop("KILL")
    bench.site.prepare()
    yield bench
    bench.site.stop()
    bench.cluster.heal()


def answers_now(cluster: MiniSlurm) -> bool:
    return cluster.run("ef-squeue", user="user1", check=False).returncode == 0


def test_nothing_is_lost_or_done_twice(bench: Bench) -> None:
    dice = random.Random(7)
    daemon = bench.site.start()
    other = bench.cluster.sbatch(
        "--partition=batch", "--nodelist=n4", "--gres=gpu:2", "--time=2", script="sleep 45"
    )
    wishes = [
        (
            dice.randrange(200, 900),
            f"--deadline=+{dice.randrange(60, 400)}s --if-infeasible=wait"
            if number % 4
            else "--best-effort",
            f"user{number % 2 + 1}",
        )
        for number in range(JOBS)
    ]
    pauses = " ".join(f"{dice.uniform(0.5, 6):.2f}" for _ in range(KILLS))
    with ThreadPoolExecutor(AT_ONCE + 1) as pool:
        killer = pool.submit(
            bench.cluster.run,
            KILLER.format(pid=daemon, pauses=pauses, log=shlex.quote(bench.site.log_file)),
            user="ef-slurm",
            on="ctl",
            timeout=KILLS * 20 + 60,
        )
        answers = [
            pool.submit(bench.job, iterations, options, "--verdict-timeout=60", user=user)
            for iterations, options, user in wishes
        ]
        jobs = sorted(answer.result() for answer in answers)
        while not killer.done():
            assert not bench.gpus_given_twice()
            time.sleep(1)
        killer.result()
    wait_until("the last daemon", lambda: answers_now(bench.cluster))
    assert len(set(jobs)) == JOBS
    bench.cluster.run("scontrol update nodename=n3 state=drain reason=test")
    deadline = time.monotonic() + 600
    while bench.active():
        assert not bench.gpus_given_twice()
        assert time.monotonic() < deadline, bench.site.log()
        time.sleep(1)
    rows = bench.queue()
    ends = {job: rows[job]["state"] for job in jobs}
    assert set(ends.values()) <= ENDS, {
        job: bench.explain(job) for job, state in ends.items() if state not in ENDS
    }
    assert bench.cluster.job(other)["Restarts"] == "0"
    broken = [job for job in jobs if rows[job]["promise_outcome"] == "broken"]
    late = [bench.explain(job) for job in broken]
    # Each second without a daemon may cost a promise its slack; none may be broken without a word.
    assert all("at risk" in story for story in late), late
    print(f"\n{KILLS} kills, {JOBS} jobs: {ends}, broken: {broken}")
