"""The queue is lost under twenty jobs with promises; then its host is. All promises are kept.

Sixteen GPUs and a GPU for each job, so that some run while others wait for their turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.daemon_bench import Bench, idle_bench

pytestmark = pytest.mark.cluster

JOBS = 20


class Daemon:
    """ef-schedd's own command line, on its hosts."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.queue = f"{bench.site.paths['ef_lib']}/queue.sqlite"

    def call(self, words: str, *, on: str = "ctl") -> tuple[int, str]:
        """Exit code and what was said."""
        command = f"ef-schedd {words} 2>&1"
        done = self.bench.cluster.run(command, user="ef-slurm", on=on, check=False)
        return done.returncode, done.stdout

    def lose(self) -> None:
        """The daemon is killed, and its disk is gone."""
        self.bench.site.stop("KILL")
        self.bench.cluster.run(f"rm -f {self.queue} {self.queue}-*", user="root", on="ctl")


@pytest.fixture
def bench(running_cluster: MiniSlurm) -> Iterator[Bench]:
    with idle_bench(running_cluster) as bench:
        yield bench


def test_a_lost_queue_and_a_lost_host_cost_no_promise(bench: Bench) -> None:
    daemon = Daemon(bench)
    bench.site.start()
    words = f"--array=0-{JOBS - 1} --max-gpus=1 --deadline=+15m"
    sent = bench.cluster.run(bench.command(250, words), user="user1", check=False)
    assert sent.returncode == 0, sent.stderr + bench.site.log()
    held = bench.job(250, "--deadline=+20m")
    assert bench.cluster.run(f"ef-scontrol hold {held}", user="user1").returncode == 0

    def run_and_wait() -> bool:
        states = [job["state"] for job in bench.queue().values()]
        return states.count("running") >= 4

    wait_until("some of them train", run_and_wait, timeout=120)
    code, said = daemon.call("backup /tmp/ef-rebuild.sqlite")
    assert code == 0, said
    before = bench.queue()
    assert len(before) == JOBS + 1
    outcomes = [row["promise_outcome"] for row in before.values()]
    stand = outcomes.count("open")
    assert stand + outcomes.count("kept") == JOBS
    running = [job for job, row in before.items() if row["state"] == "running"]
    daemon.lose()

    # A new queue would forget them all, and stop them.
    code, said = daemon.call("run")
    assert (code, "ef-schedd rebuild" in said) == (2, True), said
    code, said = daemon.call("rebuild --dry-run --backup=/tmp/ef-rebuild.sqlite")
    assert code == 0, said
    assert "Nothing was written" in said
    code, said = daemon.call("rebuild --replace")
    assert code == 0, said
    told = re.search(r"(\d+) of them with a promise that stands", said)
    assert told is not None, said
    assert 0 < int(told[1]) <= stand
    bench.site.start()
    bench.check_promises(before)
    assert bench.state(held) == "held"

    if bench.cluster.engine == "docker":
        another_host(bench, daemon)
        bench.check_promises(before)
    assert bench.cluster.run(f"ef-scancel {held}", user="user1", check=False).returncode == 0
    wait_until("all of them end", lambda: not bench.active(), timeout=300)
    rows = bench.queue()
    ends = {job: (row["state"], row["promise_outcome"]) for job, row in rows.items() if job != held}
    assert set(ends.values()) == {("completed", "kept")}, (
        ends,
        bench.explain(next(job for job, end in ends.items() if end != ("completed", "kept"))),
    )
    assert {rows[job]["generation"] for job in running} == {1}


def another_host(bench: Bench, daemon: Daemon) -> None:
    """The standby takes over while the daemon hangs, and the first host takes it back."""
    pid = bench.cluster.output(f"cat {daemon.queue}.lock", on="ctl").split()[1]
    bench.cluster.run(f"kill -STOP {pid}", user="root", on="ctl")
    bench.cluster.run(
        f"install -d -o ef-slurm -m 0700 {bench.site.paths['ef_lib']}", user="root", on="login"
    )
    code, said = daemon.call("run --once", on="login")
    assert (code, "ef-schedd takeover" in said) == (2, True), said
    code, said = daemon.call("takeover", on="login")
    assert code == 0, said
    assert "with a promise that stands" in said
    # The other one comes back, and ends before it does anything.
    bench.cluster.run(f"kill -CONT {pid}", user="root", on="ctl")
    gone = f"grep -qs ef-schedd /proc/{pid}/cmdline && echo there || true"
    wait_until("it ends", lambda: not bench.cluster.output(gone, on="ctl").strip(), timeout=60)
    assert "has taken over: this one ends" in bench.site.log()
    code, said = daemon.call("run")
    assert (code, "takeover" in said) == (2, True), said
    bench.cluster.run(f"rm -f {daemon.queue}*", user="root", on="login")
    code, said = daemon.call("takeover")
    assert code == 0, said
    bench.site.start()
