"""ef-schedd on the mini-Slurm: real jobs through ef-sbatch, and everything that happens to them.

The jobs are `daemon_pacer.py`: quick to start, so that a test takes seconds.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import pytest
from mini.client import MiniSlurm, wait_until

from ef_slurm.daemon.observe.ends import MAX_FAILED_STARTS
from tests.cluster.daemon_bench import Bench

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def site(running_cluster: MiniSlurm) -> Iterator[Bench]:
    bench = Bench(running_cluster)
    bench.site.stop("KILL")
    bench.site.prepare()
    bench.site.start()
    yield bench
    bench.site.stop()


@pytest.fixture
def bench(site: Bench) -> Iterator[Bench]:
    """The site with a daemon that runs and no job; what goes wrong comes with the daemon's log."""
    yield site
    site.cluster.heal()
    wait_until(
        "no active job",
        lambda: not site.active(),
        timeout=60,
    )


def test_check_finds_nothing_wrong(bench: Bench) -> None:
    if bench.cluster.engine == "native":
        pytest.skip("the settings are the daemon's user's own, for this host is not the cluster's")
    shown = bench.cluster.output("ef-schedd check", user="ef-slurm", on="ctl")
    assert "ERROR" not in shown
    assert "WARNING" not in shown


def test_a_second_daemon_refuses(bench: Bench) -> None:
    again = bench.cluster.run("ef-schedd run", user="ef-slurm", on="ctl", check=False)
    assert again.returncode != 0
    assert "has a daemon already" in again.stderr


def test_metrics_are_told_on_its_socket(bench: Bench) -> None:
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('{path}'); "
        "s.sendall(b'GET /metrics HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n'); "
        "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )
    checked = bench.cluster.run("ef-schedd check", user="ef-slurm", on="ctl", check=False).stdout
    path = re.search(r"curl --unix-socket (\S+) ", checked)
    assert path is not None, checked
    program = ask.format(path=path[1])
    told = bench.cluster.output(f'python3 -c "{program}"', user="user1", on="ctl")
    assert told.startswith("HTTP/1.0 200"), told
    assert re.search(r'ef_slurm_gpus\{use="idle"\} [1-9]', told), told
    assert re.search(r'ef_slurm_slurm_command_seconds_count\{command="squeue"\} [1-9]', told)


@pytest.mark.flaky_on_busy_machine(
    reason="a shrink and a start must take no longer than the 14 s that the site says"
)
def test_a_newcomer_makes_another_shrink_and_both_promises_hold(bench: Bench) -> None:
    first = bench.job(5000, "--deadline=+5m")
    assert bench.wait_state(first, "running")["share"] == 16
    time.sleep(3)
    second = bench.job(1000, "--deadline=+36s")
    bench.wait_state(second, "running", timeout=20)
    assert 0 < bench.queue()[first]["share"] < 16, bench.explain(first)
    done = bench.wait_state(second, "completed", "failed", timeout=60)
    assert done["promise_outcome"] == "kept", bench.explain(second)
    assert bench.queue()[first]["promise"] == "safe", bench.explain(first)


@pytest.mark.flaky_on_busy_machine(
    reason="a pause and a start must leave 20 s of a deadline in 33 s"
)
def test_a_best_effort_job_is_paused_for_a_promise_and_goes_on(bench: Bench) -> None:
    idle = bench.job(1500, "--best-effort")
    bench.wait_state(idle, "running")
    time.sleep(2)
    urgent = bench.job(1800, "--deadline=+33s")  # 8 GPUs would not do
    bench.wait_state(idle, "paused", timeout=20)
    bench.wait_state(urgent, "completed", timeout=40)
    assert bench.wait_state(idle, "completed", timeout=60)["reshapes"] >= 1


def test_owner_cancels_requeues_and_holds(bench: Bench) -> None:
    job = bench.job(3000, "--deadline=+10m")
    bench.wait_state(job, "running")
    bench.cluster.run(f"scontrol requeue {job}", user="user1")
    wait_until("the daemon to see it", lambda: "not by ef-slurm" in bench.explain(job), timeout=30)
    bench.wait_state(job, "running")
    bench.cluster.run(f"scontrol requeuehold {job}", user="user1")
    bench.wait_state(job, "held")
    time.sleep(1.0)  # see `earliest_release`; this release is not the daemon's
    bench.cluster.run(f"scontrol release {job}", user="user1")
    bench.wait_state(job, "running")
    bench.cluster.run(f"scancel {job}", user="user1")
    bench.wait_state(job, "cancelled")


def test_what_never_began_because_somebody_was_too_quick_goes_on(bench: Bench) -> None:
    """More often than a training may fail: its node refuses each of these starts."""
    job = bench.job(500_000, "--best-effort")

    def in_slurm() -> str:
        return bench.cluster.output(f"scontrol show job {job}")

    def runs() -> None:
        for _ in range(2):  # the daemon may hear later than Slurm that a run has ended
            bench.wait_state(job, "running")
            wait_until("Slurm to run it", lambda: "JobState=RUNNING" in in_slurm())

    for _ in range(2 * MAX_FAILED_STARTS):  # some are a second late, and no harm is done
        runs()
        bench.cluster.run("bash", user="root", stdin=WITHIN_A_SECOND.format(job=job))
        time.sleep(1.0)  # until the run, if it was refused, has ended
    runs()
    refused = bench.explain(job).count("before its script began")
    bench.cluster.run(f"scancel {job}", user="user1")
    if not refused:  # never by Slurm 26.05, nor where the commands below take a second
        pytest.skip("none of them began in the second in which the one before was revoked")


WITHIN_A_SECOND = """
until [ $(date +%1N) = 0 ]; do :; done
scontrol requeuehold {job}
until scontrol show job {job} | grep -q JobState=PENDING; do :; done
scontrol update jobid={job} StartTime=now
scontrol release {job}
"""
"""Puts a job back and starts it, as a rule in the same second of slurmctld's clock."""


def test_an_operators_hold_of_a_running_job_is_respected(bench: Bench) -> None:
    job = bench.job(3000, "--deadline=+10m")
    bench.wait_state(job, "running")
    bench.cluster.run(f"bash -c 'scontrol requeuehold {job} && scontrol hold {job}'", user="root")
    held = bench.wait_state(job, "held")
    assert (held["promise"], held["promise_outcome"]) == ("at-risk", "open")
    assert "held in Slurm by an operator" in bench.explain(job)
    time.sleep(3)
    assert bench.queue()[job]["state"] == "held"
    bench.cluster.run(f"scontrol release {job}", user="root")
    bench.wait_state(job, "running")
    bench.cluster.run(f"scancel {job}", user="user1")
    done = bench.wait_state(job, "cancelled")
    assert (done["promise_outcome"], done["promise_fault"]) == ("void", "owner")


def test_other_peoples_jobs_are_planned_around(bench: Bench) -> None:
    other = bench.cluster.sbatch(
        "--partition=batch", "--nodelist=n1", "--gres=gpu:4", "--time=5", script="sleep 200"
    )
    bench.cluster.wait_for_state(other, "RUNNING")
    time.sleep(6)  # one idle tick: the daemon must have seen it
    job = bench.job(600, "--deadline=+2m")
    running = bench.wait_state(job, "running")
    assert running["share"] == 2 or "n1" not in running["nodes"]
    assert bench.cluster.job_state(other) == "RUNNING"
    bench.wait_state(job, "completed")
    assert bench.cluster.job(other)["Restarts"] == "0"


def test_a_drained_node_is_left(bench: Bench) -> None:
    job = bench.job(4000, "--deadline=+10m")
    bench.wait_state(job, "running")
    bench.cluster.run("scontrol update nodename=n2 state=drain reason=test")

    def moved() -> bool:
        row = bench.queue()[job]
        return row["state"] == "running" and "n2" not in row["nodes"]

    wait_until("the job to leave n2", moved, timeout=40)
    assert "n2" not in bench.cluster.job(job)["NodeList"]


@pytest.mark.skipif(not os.environ.get("EF_LONG"), reason="Slurm takes a minute: EF_LONG=1")
def test_a_dead_node_is_left(bench: Bench) -> None:
    job = bench.job(8000, "--deadline=+15m")
    bench.wait_state(job, "running")
    bench.cluster.kill("n2")

    def moved() -> bool:
        row = bench.queue()[job]
        return row["state"] == "running" and "n2" not in row["nodes"]

    wait_until("the job to run without n2", moved, timeout=150)
    assert "n2" in bench.explain(job)
    assert bench.queue()[job]["promise"] == "safe"


@pytest.mark.parametrize("seconds", [0, 8], ids=["before it has saved", "after"])
def test_slurmctld_goes_and_comes_back(bench: Bench, seconds: float) -> None:
    """It saves its state every five seconds; what is younger it has forgotten.

    So it is to know the job at least, before the daemon releases it.
    """
    bench.site.stop()
    answer = bench.submit(1500, "--deadline=+5m")
    time.sleep(7)
    bench.site.start()
    job = bench.register(answer)
    bench.wait_state(job, "running")
    time.sleep(seconds)
    bench.cluster.kill("ctl", "slurmctld")
    time.sleep(8)
    bench.cluster.start("ctl", "slurmctld")
    done = bench.wait_state(job, "completed", timeout=120)
    assert done["promise_outcome"] == "kept", bench.explain(job)


def test_the_daemon_killed_at_bad_moments_loses_nothing(bench: Bench) -> None:
    first = bench.job(2000, "--deadline=+5m")
    for number in range(6):
        time.sleep(0.3 * number)
        bench.site.stop("KILL")
        bench.site.start()
        if number == 2:
            second = bench.job(900, "--deadline=+45s")
    for job in (first, second):
        done = bench.wait_state(job, "completed", "failed", "lost", timeout=150)
        assert done["state"] == "completed", bench.explain(job)


def test_users_cannot_touch_each_others_jobs(bench: Bench) -> None:
    job = bench.job(3000, "--deadline=+10m")
    bench.wait_state(job, "running")
    other = bench.cluster.run(f"ef-scancel {job}", user="user2", check=False)
    assert other.returncode != 0
    assert bench.state(job) == "running"
    plain = bench.cluster.run("sbatch --partition=ef --wrap=true", user="user1", check=False)
    assert plain.returncode != 0
    assert "ef-sbatch" in plain.stderr
