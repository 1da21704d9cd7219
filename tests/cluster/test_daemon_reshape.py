"""Seconds from the decision to training again, by stage, next to a plain `scontrol requeue`.

Prints a table; asserts nothing on time. With the pacer, what remains is Slurm's part, the batch
script's and the daemon's own; with real torchrun, what its users wait for.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.daemon_bench import Bench, fresh_bench
from tests.cluster.training_jobs import new_job, training_request

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not os.environ.get("EF_LONG"), reason="a measurement: EF_LONG=1"),
]


@pytest.fixture
def bench(running_cluster: MiniSlurm) -> Iterator[Bench]:
    with fresh_bench(running_cluster) as bench:
        yield bench


def story(bench: Bench, job: int) -> list[dict[str, Any]]:
    shown = bench.cluster.poll(f"ef-squeue --explain {job} --json")
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


def test_reshape_of_real_training_by_stage(bench: Bench) -> None:
    """8 to 4 ranks for a newcomer, and back by a larger launch that takes over; the other two nodes
    are taken."""
    bench.occupy("n3,n4")
    first = bench.real_training("--sleep", "0.05")
    bench.wait_state(first, "running", timeout=90)
    time.sleep(5)
    second = bench.job(700, "--deadline=+60s", "--max-gpus=4")
    try:
        print_stages(bench, first, generation=2)
        bench.wait_state(second, "completed")
        print_stages(bench, first, generation=2, change=1)
    except AssertionError:
        print(bench.explain(first), bench.queue()[first], bench.site.log()[-1500:])
        raise
    bench.cluster.cancel_all()


def test_the_same_training_requeued_by_hand(bench: Bench, tmp_path: Path) -> None:
    """scontrol requeue, StartTime=now as soon as that is possible: what Slurm alone would take."""
    job = new_job(bench.cluster, tmp_path.name)
    job.submit(training_request(job, "--sleep", "0.05", nodes=2, gpus_per_node=4, iterations=9999))
    job.wait_for_iteration(100)
    began = float(
        bench.cluster.output(
            f"date +%s.%N; scontrol requeue {job.job_id};"
            f" until squeue -h -j {job.job_id} -o %T | grep -q PENDING; do sleep 0.1; done;"
            # Not within the second of the kill: see `earliest_release`.
            f" sleep $(date +%N | awk '{{print 1.01 - $1 / 1e9}}');"
            f" scontrol update jobid={job.job_id} StartTime=now",
        ).splitlines()[0]
    )
    job.wait_for_generation(2)
    launch, progress = job.read("launch.json"), job.read("progress.json")
    print("\nseconds after scontrol requeue:")
    print(f"  launched           {launch['started_at'] - began:6.2f}")
    print(f"  process started    {progress['started_at'] - began:6.2f}")
    print(f"  first iteration    {progress['first_iteration_at'] - began:6.2f}")
    job.run("scancel", str(job.job_id))


def print_stages(bench: Bench, job: int, generation: int, change: int = 0) -> None:
    """Wait for that launch to train, after that change of it, and print how it came about."""

    def reached() -> dict[str, Any] | None:
        progress = report(bench, job, "progress.json")
        there = (progress["generation"], progress["change"]) >= (generation, change)
        return progress if there and progress["first_iteration_at"] else None

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
    if change:
        print(f"  stood still for    {progress['change_seconds']:6.2f}")


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
