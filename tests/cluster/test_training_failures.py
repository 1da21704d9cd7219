"""Processes, agents and nodes killed at random instants: the training goes on from its newest good
checkpoint, at most one interval is done again, and the result is the same."""

import itertools
import os
import random
import time
from pathlib import Path

import pytest
from mini.client import MiniSlurm

from ef_slurm.model import LaunchSettings
from tests.cluster.training_jobs import (
    LONG,
    TrainingJob,
    assert_same_training,
    fixed_run,
    new_job,
    scripts,
    training_request,
)

pytestmark = [pytest.mark.cluster, pytest.mark.whole_machine]

INTERVAL = 2.0
"""Seconds between periodic checkpoints."""
KILLS = int(os.environ.get("EF_KILLS", 20 if LONG else 2))
"""Of processes and nodes, in one run of the test; EF_KILLS says how many."""


@pytest.fixture
def job(cluster: MiniSlurm, tmp_path: Path) -> TrainingJob:
    return new_job(cluster, tmp_path.name)


def kill_process(
    job: TrainingJob, node: str, kind: str, chance: random.Random, *, in_a_save: bool
) -> None:
    script = f"{scripts(job.cluster)}/kill_process.py"
    words = ["env", f"NODE={node}", "python3", script, str(job.job_id), kind]
    words.append(str(chance.randrange(100)))
    if in_a_save:
        words.append(f"{job.state_dir}/checkpoint")
    done = job.cluster.exec(*words, on=node, user="user1")
    assert done.returncode == 0, f"no {kind} of job {job.job_id} on {node}: {done.stderr}"


def resumed_at(job: TrainingJob, generation: int) -> int:
    """First iteration of a launch."""
    record = job.record()
    return int(next(e["iteration"] for e in record if e["generation"] == generation))


def last_iteration(job: TrainingJob) -> int:
    """The furthest that any launch has come."""
    return max(int(entry["iteration"]) for entry in job.record())


def seconds_done_again(job: TrainingJob, generation: int) -> float:
    """How long the launch before this one had trained beyond the point that it resumed at."""
    resumed = resumed_at(job, generation)
    record = [e for e in job.record() if e["generation"] < generation]
    before = [e for e in record if e["generation"] == record[-1]["generation"]]
    first = next((e["time"] for e in before if e["iteration"] >= resumed), None)
    return 0.0 if first is None else float(before[-1]["time"] - first)


@pytest.mark.timeout(3600 if LONG else 600)
def test_killed_at_random_instants(job: TrainingJob) -> None:
    """Every other process in the midst of a save, which takes a while for the model's ballast."""
    kinds = ("rank", "agent", "rank", "agent", "node") if LONG else ("rank", "agent")
    chance = random.Random(time.time_ns())
    model = ("--width", "64", "--samples", "100000", "--ballast", "64")
    job.submit(
        training_request(
            job,
            *model,
            *("--sleep", "0.05"),
            nodes=2,
            gpus_per_node=1,
            settings=LaunchSettings(checkpoint_interval=INTERVAL),
            iterations=10**6,
        )
    )
    generation = job.wait_for_generation(1)["generation"]
    for number, kind in enumerate(itertools.islice(itertools.cycle(kinds), KILLS)):
        # Launches in a row that save nothing would be the end of the job, as they should be.
        job.wait_for_checkpoint(resumed_at(job, generation) + 1)
        time.sleep(chance.random() * 2 * INTERVAL)
        node = chance.choice(job.read("launch.json")["nodes"].split(","))
        saved = job.read("progress.json")["checkpoint_iteration"]
        if kind == "node":
            job.cluster.kill(node)
        else:
            kill_process(job, node, kind, chance, in_a_save=number % 2 == 0)
        saving = job.saving()
        progress = job.wait_for_generation(generation + 1, timeout=300)
        if kind == "node":
            job.cluster.start(node)
        generation = progress["generation"]
        assert progress["corrupt_checkpoints"] == 0
        assert resumed_at(job, generation) >= saved, "a durable checkpoint was not used"
        again = seconds_done_again(job, generation)
        print(f"{kind} killed{' while saving' * saving}: {again:.1f} s trained again")
    # Beyond all that was done and lost: what is compared in the end is the whole record.
    job.wait_for_iteration(last_iteration(job) + 1)
    progress = job.stop()
    assert progress["phase"] == "stopped"
    job.verify_checkpoints()
    assert_same_training(job, fixed_run(job, *model, iterations=progress["iteration"]))


def test_requeued_by_hand(job: TrainingJob) -> None:
    """Slurm's TERM is the chance to save: nothing is done twice."""
    job.submit(training_request(job, "--sleep", "0.05", "--workers", "1"))
    job.wait_for_iteration(30)
    job.scontrol("requeue", str(job.job_id))
    job.wait_for_launch("interrupted")
    progress = job.read("progress.json")
    assert (progress["phase"], progress["exit_code"]) == ("stopped", 75)
    job.wait_for_requeue()
    # Slurm 26.05 starts it at once, and may have done so.
    job.shell(f"scontrol update jobid={job.job_id} StartTime=now || true")
    job.wait_for_launch("finished")
    record = job.record()
    assert [entry["iteration"] for entry in record] == list(range(len(record)))
    assert job.read("launch.json")["restart_count"] == 1


@pytest.mark.skipif(not LONG, reason="waits for Slurm to notice: EF_LONG=1")
def test_node_killed(job: TrainingJob) -> None:
    """Slurm's own requeue after a node failure."""
    job.submit(
        training_request(
            job,
            "--sleep",
            "0.1",
            nodes=2,
            gpus_per_node=1,
            settings=LaunchSettings(checkpoint_interval=INTERVAL),
        )
    )
    job.wait_for_checkpoint(10)
    victim = job.read("launch.json")["nodes"].split(",")[1]
    job.cluster.kill(victim)
    job.wait_for_state("PENDING")
    job.cluster.start(victim)
    job.wait_for_launch("finished", timeout=300)
    assert job.read("launch.json")["restart_count"] == 1
    assert_same_training(job, fixed_run(job))
    job.verify_checkpoints()


@pytest.mark.skipif(not LONG, reason="reconfigures the cluster: EF_LONG=1")
def test_preempted(job: TrainingJob) -> None:
    """A job of a better partition takes the nodes; afterwards the training goes on."""
    cluster = job.cluster
    configuration = "/etc/slurm/slurm.conf"
    before = cluster.output(["cat", configuration], user="root")
    changed = before + (
        "\nPreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\n"
        "PartitionName=urgent Nodes=ALL PriorityTier=1000 PreemptMode=OFF MaxTime=10\n"
    )
    try:
        cluster.write(configuration, changed, user="root")
        cluster.run("scontrol reconfigure")
        time.sleep(3)
        job.submit(training_request(job, "--sleep", "0.1", nodes=cluster.nodes, gpus_per_node=1))
        job.wait_for_iteration(20)
        everything = (f"-N{cluster.nodes}", "--exclusive", "--partition=urgent")
        cluster.sbatch(*everything, script="sleep 5", user="user2")
        job.wait_for_launch("interrupted")
        assert job.read("progress.json")["phase"] == "stopped"
        job.wait_for_launch("finished", timeout=300)
        record = job.record()
        assert [entry["iteration"] for entry in record] == list(range(len(record)))
    finally:
        cluster.write(configuration, before + "\n", user="root")
        cluster.run("scontrol reconfigure")
