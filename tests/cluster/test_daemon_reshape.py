"""Seconds from the decision to training again, by stage, next to a plain `scontrol requeue`.

Prints a table; asserts nothing on time. The job is the pacer, so what remains is Slurm's part, the
batch script's and the daemon's own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.daemon_bench import Bench
from tests.cluster.minislurm import MiniSlurm, wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not os.environ.get("EF_LONG"), reason="a measurement: EF_LONG=1"),
]

PLAIN = """#!/bin/bash
#SBATCH --partition=batch --requeue --gres=gpu:4 --nodes=1
trap 'exit 0' TERM
date +%s.%N >> {log}
sleep 300 & wait
"""


@pytest.fixture
def bench(running_cluster: MiniSlurm) -> Iterator[Bench]:
    bench = Bench(running_cluster)
    bench.site.stop("KILL")
    bench.site.prepare()
    bench.site.start()
    yield bench
    bench.site.stop()
    bench.cluster.heal()


def story(bench: Bench, job: int) -> list[dict[str, Any]]:
    shown = bench.cluster.output(f"ef-squeue --explain {job} --json", user="user1")
    events: list[dict[str, Any]] = json.loads(shown)["events"]
    return events


def report(bench: Bench, job: int, file: str) -> dict[str, Any]:
    directory = bench.queue()[job]["state_dir"]
    value: dict[str, Any] = json.loads(bench.cluster.output(f"cat {directory}/{file}"))
    return value


def test_reshape_by_stage(bench: Bench) -> None:
    first = bench.job(30_000, "--best-effort")
    bench.wait_state(first, "running")
    time.sleep(3)
    second = bench.job(1000, "--deadline=+40s")
    print_stages(bench, first, generation=2)
    bench.wait_state(second, "completed")
    print_stages(bench, first, generation=3)
    bench.cluster.cancel_all()
    for hurried in (False, True):
        print(f"plain scontrol requeue{', StartTime=now' if hurried else ''}: ", end="")
        print(f"{plain_requeue(bench, hurried=hurried):.2f} s until the script runs again")


def print_stages(bench: Bench, job: int, generation: int) -> None:
    """Wait for that launch to train, and print how it came about."""

    def reached() -> dict[str, Any] | None:
        progress = report(bench, job, "progress.json")
        trains = progress["generation"] >= generation and progress["first_iteration_at"]
        return progress if trains else None

    progress = wait_until(f"launch {generation} to train", reached, timeout=90)
    assert progress is not None
    launch = report(bench, job, "launch.json")
    events = story(bench, job)
    shares = [e for e in events if e["kind"] == "share" and e["data"]["from"]]
    began = shares[-1]["at"]
    at = {
        "launched": launch["started_at"],
        "process started": progress["started_at"],
        "first iteration": progress["first_iteration_at"],
    }
    for event in events:
        if event["kind"] == "intent" and event["at"] >= began:
            at.setdefault(event["data"]["action"], event["at"])
    print(f"\n{shares[-1]['message']}\nseconds after the decision:")
    for stage, moment in sorted(at.items(), key=lambda pair: pair[1]):
        print(f"  {stage:<18} {moment - began:6.2f}")


def plain_requeue(bench: Bench, *, hurried: bool) -> float:
    """Seconds until a plain job's script runs again; `hurried` lifts Slurm's begin time."""
    log = f"{bench.cluster.home('user1')}/plain-{time.monotonic_ns()}"
    job = bench.cluster.sbatch(script=PLAIN.format(log=log))
    bench.cluster.wait_for_state(job, "RUNNING")
    time.sleep(2)
    hurry = (
        f"until squeue -h -j {job} -o %T | grep -q PENDING; do sleep 0.1; done;"
        f" scontrol update jobid={job} StartTime=now"
    )
    began = bench.cluster.output(
        f"date +%s.%N; scontrol requeue {job}; {hurry if hurried else 'true'}"
    ).splitlines()[0]

    def started() -> list[str]:
        lines = bench.cluster.output(f"cat {log}").splitlines()
        return lines[1:]

    again = wait_until("the plain job to run again", started, timeout=180)
    bench.cluster.run(f"scancel {job}")
    return float(again[0]) - float(began)


def test_submission_costs_little_more_than_sbatch(bench: Bench) -> None:
    times: dict[str, list[float]] = {"sbatch": [], "ef-sbatch": []}
    for _ in range(3):
        for name, command in (
            ("sbatch", "sbatch --partition=batch --hold --wrap=true"),
            ("ef-sbatch", bench.command(100, "--deadline=+30m")),
        ):
            shown = bench.cluster.output(
                f"a=$(date +%s.%N); {command} >/dev/null; b=$(date +%s.%N); echo $a $b",
                user="user1",
            )
            first, second = (float(word) for word in shown.split())
            times[name].append(second - first)
    for name, seconds in times.items():
        print(f"\n{name}: median {sorted(seconds)[1]:.2f} s to the answer", end="")
    print()
