"""A real training that grows and shrinks while it trains: the daemon, the batch script and the
training library together, on real Slurm."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.daemon_bench import Bench, fresh_bench
from tests.cluster.training_jobs import scripts

pytestmark = pytest.mark.cluster


@pytest.fixture
def bench(running_cluster: MiniSlurm) -> Iterator[Bench]:
    with fresh_bench(running_cluster) as bench:
        yield bench


def told(bench: Bench, job: int) -> dict[str, Any]:
    """What the training reports."""
    directory = bench.queue()[job]["state_dir"]
    text = bench.cluster.run(f"cat {directory}/progress.json", check=False).stdout
    value: dict[str, Any] = json.loads(text or "{}")
    return value


def wait_for_nodes(bench: Bench, job: int, nodes: str) -> dict[str, Any]:
    """The report of a job as soon as it trains on these nodes."""

    def there() -> dict[str, Any] | None:
        seen = told(bench, job)
        return seen if seen.get("nodes") == nodes and seen.get("phase") == "running" else None

    try:
        found = wait_until(f"job {job} to train on {nodes}", there, timeout=150)
    except AssertionError as error:
        log = bench.cluster.run(f"cat {bench.queue()[job]['state_dir']}/*.json", check=False)
        words = f"{bench.explain(job)}\n{log.stdout}\n{bench.site.log()[-3000:]}"
        raise AssertionError(f"{error}\n{words}") from None
    assert found is not None
    return found


def test_a_job_grows_and_shrinks_while_it_trains(bench: Bench) -> None:
    cluster = bench.cluster
    bench.occupy("n3,n4")
    other = bench.occupy("n2")
    cluster.wait_for_state(other, "RUNNING")
    first = bench.real_training("--wrapper", "parallel", "--sleep", "0.02")
    small = wait_for_nodes(bench, first, "n1")
    assert small["live"], small
    cluster.run(f"scancel {other}")
    grown = wait_for_nodes(bench, first, "n1,n2")
    assert (grown["world_size"], grown["change"], grown["generation"]) == (8, 1, 1)
    shown = cluster.output("squeue --noheader --states=RUNNING --partition=ef --format='%i %N %k'")
    assert f"ef-slurm: companion of {first}, launch 1, change 1" in shown
    row = bench.queue()[first]
    assert row["nodes"] == ["n1", "n2"]
    (companion,) = row["companions"]
    assert companion["nodes"] == ["n2"]
    number = companion["job_id"]
    wait_until(
        "the daemon to see it",
        lambda: [one["state"] for one in bench.queue()[first]["companions"]] == ["joined"],
        timeout=60,
    )
    found = json.loads(cluster.poll(f"ef-squeue --json -j {number}"))
    assert [job["job_id"] for job in found["jobs"]] == [first]
    told_of = cluster.poll(f"ef-squeue --explain {number}")
    assert f"Its companion, Slurm job {number}, trains with it on n2." in told_of
    # It may run as long as its job.
    cluster.run(f"scontrol update jobid={number} TimeLimit=3")
    assert bench.gpus_given_twice() == []
    wait_until(
        "the companion's longer time limit",
        lambda: cluster.job(number).get("TimeLimit", "00:03:00") != "00:03:00",
        timeout=60,
    )
    # Somebody is promised what needs one of its nodes.
    second = bench.job(300, "--deadline=+90s")
    shrunk = wait_for_nodes(bench, first, "n1")
    bench.wait_state(second, "running", "completed")
    assert (shrunk["world_size"], shrunk["generation"]) == (4, 1)
    assert shrunk["iteration"] >= grown["iteration"]
    assert bench.gpus_given_twice() == []
    job = cluster.job(first)
    assert (job["JobState"], job["Restarts"], job["NodeList"]) == ("RUNNING", "0", "n1")
    print(bench.explain(first))
    print(f"stood still: {grown['change_seconds']:.2f} s, {shrunk['change_seconds']:.2f} s")
    cluster.cancel_all()


WRAPPERS = ("parallel", "ddp") if os.environ.get("EF_LONG") else ("parallel",)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_job_of_unknown_speed_measures_itself_in_one_launch(bench: Bench, wrapper: str) -> None:
    """Beside it, with EF_LONG=1, one that cannot: 30 s for each size, and a launch."""
    options = f"--max-gpus=4 --best-effort --global-batch-size=32 --model-name={wrapper}"
    script = f"{scripts(bench.cluster)}/chars.py --wrapper {wrapper} --sleep 0.02"
    shown = bench.cluster.output(
        f"ef-sbatch --parsable {options} {script} --iterations 50000", user="user1"
    )
    job = int(shown)
    wait_until("its verdict", lambda: bench.queue()[job]["verdict"], timeout=240)
    story = json.loads(bench.cluster.poll(f"ef-squeue --explain {job} --json"))
    bench.cluster.cancel_all()
    rates = [one["data"] for one in story["events"] if one["data"].get("what") == "rate"]
    words = bench.explain(job)
    print(words)
    print(told(bench, job))
    if wrapper == "parallel":
        assert {rate["gpus"] for rate in rates if rate.get("brief")} == {4, 2, 1}, words
        assert "Launched again" not in words.partition("Measured while it trained")[0]


@pytest.mark.flaky_on_busy_machine(reason="each size needs a steady rate within 100 s")
def test_a_curve_is_measured_on_purpose_in_one_launch(bench: Bench) -> None:
    """ef-profile run of what changes its size while it trains: nothing is launched again."""
    options = "--gpus=1,4 --seconds-per-size=10 --max-time=6m --model-name=lively"
    script = f"{scripts(bench.cluster)}/chars.py --wrapper parallel --sleep 0.2"
    run = f"ef-profile run {options} --json {script} --iterations 500000 --batch 32"
    done = bench.cluster.run(run, user="user1", check=False, timeout=400)
    assert done.stdout, done.stderr
    answer = json.loads(done.stdout)
    words = f"{done.stderr}\n{bench.explain(answer['job_id'])}"
    assert (done.returncode, answer["problem"]) == (0, ""), words
    assert {one["gpus"] for one in answer["sizes"] if one["rate"] is not None} == {1, 4}, words
    assert "Launched again" not in words
    print(words)
