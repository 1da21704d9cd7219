"""An elastic run is the fixed-size run: same samples, same losses, in a job that Slurm moved."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.launch import LaunchRequest
from tests.cluster.training_jobs import SCRIPTS, Cluster, TrainingJob

pytestmark = pytest.mark.cluster

BATCH = 30
ITERATIONS = 210
LONG = bool(os.environ.get("EF_LONG"))
CASES = [("adamw", 4), ("sgd", None), ("adamw", None), ("sgd", 4)]
"""Optimizer; most samples in one forward pass, None for no accumulation."""


@pytest.fixture
def job(cluster: Cluster, tmp_path: Path) -> Iterator[TrainingJob]:
    job = TrainingJob(cluster, f"/shared/home/user1/{tmp_path.name} ü'")
    yield job
    job.cancel()


def request(job: TrainingJob, *arguments: str, **options: object) -> LaunchRequest:
    values: dict[str, object] = {
        "command": (
            f"{SCRIPTS}/chars.py",
            "--record",
            f"{job.directory}/record",
            *arguments,
        ),
        "state_dir": job.state_dir,
        "iterations": ITERATIONS,
        "global_batch_size": BATCH,
        "gpus_per_node": 2,
        "sbatch_options": ("--partition=batch", "--time=20"),
    }
    return LaunchRequest(**{**values, **options})  # type: ignore[arg-type]


def assert_same_training(job: TrainingJob, reference: list[dict[str, float]]) -> None:
    """Every iteration was done once, with the samples and the loss of the reference.

    (An iteration that is done again after a failure must give the same once more.)
    """
    done = {entry["iteration"]: entry for entry in job.record()}
    assert sorted(done) == list(range(len(reference)))
    for expected in reference:
        found = done[expected["iteration"]]
        assert found["indices"] == expected["indices"]
        assert found["lr"] == expected["lr"]
        assert found["loss"] == pytest.approx(expected["loss"], rel=2e-4)


@pytest.mark.parametrize(("optimizer", "limit"), CASES if LONG else CASES[:1])
def test_moved_run_equals_fixed_run(job: TrainingJob, optimizer: str, limit: int | None) -> None:
    arguments = ("--optimizer", optimizer, "--sleep", "0.02")
    job.submit(request(job, *arguments, max_batch_per_gpu=limit))
    worlds = []
    for nodes, gpus, iteration in ((2, 4, 60), (1, 1, 130)):
        job.wait_for_iteration(iteration)
        progress = job.stop()
        worlds.append(progress["world_size"])
        assert progress["phase"] == "stopped"
        assert progress["checkpoint_iteration"] == progress["stop_iteration"]
        job.reshape(nodes, gpus)
    job.wait_for_launch("finished")
    job.wait_for_state("COMPLETED")
    worlds.append(job.read("progress.json")["world_size"])
    assert worlds == [2, 8, 1]

    fixed = TrainingJob(job.cluster, f"{job.directory}/fixed")
    job.run("mkdir", "-p", fixed.directory)
    job.run(
        "python3",
        f"{SCRIPTS}/chars.py",
        *("--iterations", str(ITERATIONS), "--batch", str(BATCH), "--optimizer", optimizer),
        *("--record", f"{fixed.directory}/record"),
    )
    record = job.record()
    assert_same_training(job, fixed.record())
    assert len(record) == ITERATIONS  # nothing was done twice
    assert [w for w, _ in itertools.groupby(e["world"] for e in record)] == [2, 8, 1]


def test_shrink_in_place(job: TrainingJob) -> None:
    """Stop, resize the running job, relaunch on the nodes that are left: no requeue."""
    job.submit(request(job, "--sleep", "0.02", nodes=2))
    job.wait_for_iteration(20)
    progress = job.stop()
    assert progress["world_size"] == 4
    first = job.read("launch.json")["nodes"].split(",")[0]
    job.scontrol("update", f"jobid={job.job_id}", f"ReqNodeList={first}")
    job.order("relaunch")
    job.wait_for_launch("finished")
    assert job.read("launch.json")["nodes"] == first
    assert job.read("launch.json")["restart_count"] == 0
    assert job.read("progress.json")["world_size"] == 2
    assert len(job.record()) == ITERATIONS
