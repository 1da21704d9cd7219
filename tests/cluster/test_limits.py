"""Slurm's limits, licences and time limits: promises are kept beside what they do not let start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.daemon_bench import Bench

pytestmark = pytest.mark.cluster

EACH = "--mem-per-gpu=1000 --cpus-per-gpu=1"
SMALL = f"--qos=small {EACH}"
"""MaxTRESPerUser=gres/gpu=2, GrpTRES=gres/gpu=4."""


@pytest.fixture(scope="module")
def site(running_tight_cluster: MiniSlurm) -> Iterator[Bench]:
    bench = Bench(running_tight_cluster)
    bench.site.stop("KILL")
    bench.site.prepare()
    bench.site.start()
    yield bench
    bench.site.stop()


@pytest.fixture
def bench(site: Bench) -> Iterator[Bench]:
    yield site
    site.cluster.heal()
    wait_until("no active job", lambda: not site.active(), timeout=60)


def refused(bench: Bench, *words: str) -> str:
    """What a submission is refused with, which is what `--test-only` says as well."""
    answers = []
    for mode in ("--test-only", ""):
        command = bench.command(600, "--deadline=+20m", EACH, *words, mode)
        done = bench.cluster.run(command, user="user1", check=False)
        assert done.returncode, done.stdout
        assert "Traceback" not in done.stderr
        answers.append((done.returncode, done.stderr))
    assert answers[0] == answers[1]
    assert not bench.active()
    return answers[0][1]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--account=nobodys", "Invalid account"),
        ("--qos=none", "Invalid qos"),
        ("--time=3:00:00", "Requested time limit is invalid"),
        ("--time=0", "Requested time limit is invalid"),  # none at all, where MaxTime is two hours
        ("--licenses=solver:3", "Invalid license"),
        ("--chdir=/nonexistent", "No such file or directory"),
        ("--chdir=/root", "may not enter it"),
    ],
)
def test_a_test_only_says_what_a_submission_would_be_told(
    bench: Bench, option: str, words: str
) -> None:
    assert words in refused(bench, option)


def verdict(bench: Bench, iterations: int, *options: str) -> dict[str, Any]:
    """What `--test-only` answers, which is what a submission is answered."""
    answer = bench.submit(iterations, *options, "--test-only")
    again = bench.submit(iterations, *options)
    assert again["outcome"] == answer["outcome"]
    assert again["reason"]["code"] == answer["reason"]["code"]
    return answer


def test_limits_are_known_before_anything_is_promised(bench: Bench) -> None:
    """Nothing of this is tried on Slurm: a refused job leaves no Slurm job behind."""
    # Two minutes of training, and a minute for it.
    short = verdict(bench, 1200, "--deadline=+20m --max-gpus=1 --time=1", EACH)
    assert (short["outcome"], short["reason"]["code"]) == ("rejected", "time-limit")
    assert "--time=1:00" in short["reason"]["limit"]
    # Only 16 GPUs would do, and the partition gives a job three nodes of four.
    large = verdict(bench, 60 * 90, "--deadline=+75s", EACH)
    assert (large["outcome"], large["reason"]["code"]) == ("rejected", "limited")
    assert large["reason"]["limit"] == "MaxNodes=3 of partition ef"
    assert large["reason"]["gpus"] == 8
    # Only 4 would do, and its QOS gives a user two.
    small = verdict(bench, 60 * 32, "--deadline=+75s", SMALL)
    assert small["reason"]["limit"] == "MaxTRESPerUser=gres/gpu=2 of QOS small for user1"
    assert not bench.cluster.output("squeue --noheader")


def test_promises_are_kept_beside_a_job_that_limits_do_not_let_start(bench: Bench) -> None:
    """Somebody's own jobs have used up their QOS; their next one waits, and everybody else runs.

    Beside them one without a promise is ended by its time limit, which takes Slurm a minute.
    """
    endless = bench.job(100000, "--best-effort --max-gpus=1 --time=1", EACH)
    other = bench.cluster.sbatch(
        "--partition=batch", "--qos=small", "--gres=gpu:2", "--mem=1000", "--time=1",
        script="sleep 50",
    )  # fmt: skip
    bench.cluster.wait_for_state(other, "RUNNING")
    refused_now = bench.submit(150, "--deadline=+25s", SMALL)
    assert refused_now["outcome"] == "rejected", refused_now
    waits = bench.job(150, "--deadline=+4m", SMALL)
    licensed = [bench.job(150, "--deadline=+4m --licenses=solver:1", EACH) for _ in range(3)]
    free = bench.job(150, "--deadline=+3m", EACH, user="user2")
    running = set()

    def all_done() -> bool:
        jobs = bench.queue()
        running.add(sum(jobs[job]["state"] in ("starting", "running") for job in licensed))
        assert jobs[waits]["share"] <= 2
        return all(jobs[job]["state"] == "completed" for job in (waits, free, *licensed))

    wait_until("all to be done", all_done, timeout=240)
    assert max(running) <= 2
    for job in (waits, free, *licensed):
        assert bench.queue()[job]["promise_outcome"] == "kept", bench.explain(job)
        assert "risk" not in bench.explain(job)
    ended = bench.wait_state(endless, "failed", "cancelled", "completed", timeout=180)
    assert ended["state"] == "failed", bench.explain(endless)
    story = bench.explain(endless)
    assert "ended by its time limit (--time, 1:00)" in story
    assert "eleased in Slurm" not in story


def test_a_reservation_is_for_those_who_may_use_it(bench: Bench) -> None:
    name = "course"
    bench.cluster.run(
        f"scontrol create reservation reservationname={name} users=user1 nodes=n1 "
        "starttime=now duration=60"
    )
    try:
        time.sleep(6)  # one idle tick: the daemon must have seen it
        mine = bench.job(150, f"--deadline=+3m --reservation={name}", EACH)
        others = bench.job(150, "--deadline=+3m", EACH, user="user2")
        for words in ("--test-only", ""):
            command = bench.command(150, f"--deadline=+3m --reservation={name}", EACH, words)
            done = bench.cluster.run(command, user="user2", check=False)
            assert "Access denied to requested reservation" in done.stderr
        for job in (mine, others):
            ended = bench.wait_state(job, "completed", timeout=120)
            assert ended["promise_outcome"] == "kept", bench.explain(job)
        # Slurm's word, which stays when a job has ended.
        assert bench.cluster.job(mine)["NodeList"] == "n1"
        assert "n1" not in bench.cluster.job(others)["NodeList"]
    finally:
        bench.cluster.cancel_all()
        bench.cluster.run(f"scontrol delete reservationname={name}")
