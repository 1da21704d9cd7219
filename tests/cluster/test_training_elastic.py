"""An elastic run is the fixed-size run: same samples, same losses, in a job that Slurm moved."""

import itertools
import shlex
from pathlib import Path

import pytest
from mini.client import MiniSlurm

from tests.cluster.training_jobs import (
    ITERATIONS,
    LONG,
    TrainingJob,
    assert_same_training,
    fixed_run,
    new_job,
    training_request,
)

pytestmark = [pytest.mark.cluster, pytest.mark.whole_machine]

CASES = [("adamw", 4), ("sgd", None), ("adamw", None), ("sgd", 4)]
"""Optimizer; most samples in one forward pass, None for no accumulation."""


@pytest.fixture
def job(cluster: MiniSlurm, tmp_path: Path) -> TrainingJob:
    return new_job(cluster, tmp_path.name)


@pytest.mark.parametrize(("optimizer", "limit"), CASES if LONG else CASES[:1])
def test_moved_run_equals_fixed_run(job: TrainingJob, optimizer: str, limit: int | None) -> None:
    arguments = ("--optimizer", optimizer, "--sleep", "0.02")
    job.submit(training_request(job, *arguments, max_batch_per_gpu=limit))
    many = 4 if LONG else 2
    worlds = []
    for nodes, gpus, iteration in ((2, many, 60), (1, 1, 130)):
        job.wait_for_iteration(iteration)
        progress = job.stop()
        worlds.append(progress["world_size"])
        assert progress["phase"] == "stopped"
        assert progress["checkpoint_iteration"] == progress["stop_iteration"]
        job.reshape(nodes, gpus)
    job.wait_for_launch("finished")
    job.wait_for_state("COMPLETED")
    worlds.append(job.read("progress.json")["world_size"])
    assert worlds == [2, 2 * many, 1]

    assert_same_training(job, fixed_run(job, "--optimizer", optimizer))
    record = job.record()
    assert len(record) == ITERATIONS  # nothing was done twice
    assert [w for w, _ in itertools.groupby(e["world"] for e in record)] == worlds


@pytest.mark.skipif(not LONG, reason="the tests beside it hold the same in less time: EF_LONG=1")
def test_other_parts_of_one_allocation_equal_the_fixed_run(job: TrainingJob) -> None:
    """Two nodes of 4 GPUs: on one of them, on a node, on all, in one run of the Slurm job."""
    job.shell(f"mkdir -p {shlex.quote(job.state_dir)}")
    job.order("relaunch", gpus=1)
    job.submit(training_request(job, "--sleep", "0.1", nodes=2, gpus_per_node=4))
    job.wait_for_iteration(20)
    for gpus in (4, 8):
        generation = job.order("relaunch", gpus=gpus)
        assert job.wait_for_generation(generation + 1)["world_size"] == gpus
    assert job.wait_for_launch("finished")["restart_count"] == 0
    assert job.wait_for_state("COMPLETED")["Restarts"] == "0"

    assert_same_training(job, fixed_run(job))
    record = job.record()
    assert len(record) == ITERATIONS  # nothing was done twice
    assert [w for w, _ in itertools.groupby(e["world"] for e in record)] == [1, 4, 8]


def test_shrink_in_place(job: TrainingJob) -> None:
    """Stop, resize the running job, relaunch on the nodes that are left: no requeue."""
    job.submit(training_request(job, "--sleep", "0.02", nodes=2))
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
