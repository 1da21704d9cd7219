"""The batch script on real Slurm, without the training library's help: other commands, two jobs on
one node, arguments that shells trip over."""

import json
import shlex
from functools import partial
from pathlib import Path

import pytest
from mini.client import MiniSlurm, wait_until

from ef_slurm.launch import LaunchRequest
from tests.cluster.training_jobs import TrainingJob, new_job, training_request

pytestmark = pytest.mark.cluster


@pytest.fixture
def job(cluster: MiniSlurm, tmp_path: Path) -> TrainingJob:
    return new_job(cluster, tmp_path.name)


# Any command: counts, keeps its state, obeys the order, in plain shell.
COMMAND = """
n=$(cat "$EF_STATE_DIR/n" 2>/dev/null || echo 0)
while [ "$n" -lt "$EF_ITERATIONS" ]; do
    n=$((n + 1)); echo "$n" >"$EF_STATE_DIR/n"; sleep 0.1
    if grep -q '"action": "stop"' "$EF_ORDER_FILE" &&
        grep -q "\\"generation\\": $EF_GENERATION," "$EF_ORDER_FILE"; then exit 75; fi
done
printf '%s\\n' "$@" >"$EF_STATE_DIR/arguments"
env | grep -E '^(SLURM_NTASKS|SBATCH_|EF_|CUDA_VISIBLE)' | sort >"$EF_STATE_DIR/environment"
"""


def test_any_command_is_stopped_and_goes_on(job: TrainingJob) -> None:
    words = ("it's", 'a "b" $HOME', "é\nü", "")
    job.submit(
        LaunchRequest(
            command=("bash", "-c", COMMAND, "count", *words),
            torchrun=False,
            state_dir=job.state_dir,
            order_file=f"{job.state_dir}/order.json",
            iterations=60,
            global_batch_size=1,
            job_name='it\'s a "name" ü',
            sbatch_options=("--partition=batch", "--time=5", "--gres=gpu:2"),
        )
    )
    job.wait_for_launch("running")
    generation = job.order("stop")
    assert job.wait_for_launch("waiting")["exit_code"] == 75
    job.order("relaunch")
    launch = job.wait_for_launch("finished")
    assert launch["generation"] == generation + 1
    shown = job.wait_for_state("COMPLETED")
    assert shown["ExitCode"] == "0:0"
    state = shlex.quote(job.state_dir)
    assert job.shell(f"cat {state}/arguments") == 'it\'s\na "b" $HOME\né\nü\n\n'
    environment = job.shell(f"cat {state}/environment")
    assert "CUDA_VISIBLE_DEVICES=0,1\n" in environment
    assert f"EF_JOB_ID={job.job_id}\n" in environment
    assert job.log().count("ef-slurm: launch") == 2


# Says what it sees, and trains until it is wanted elsewhere.
LOOKS = """
env | grep -E '^(SLURM_|EF_|CUDA_VISIBLE|OMP_NUM)' >"$EF_STATE_DIR/.env"
mv "$EF_STATE_DIR/.env" "$EF_STATE_DIR/env.$EF_GENERATION"
[ "$EF_GENERATION" = 5 ] && exit 0
while ! grep -qs "generation.: $EF_GENERATION," "$EF_ORDER_FILE"; do sleep 0.1; done
exit 75
"""


def test_a_part_of_the_gpus_is_all_that_a_launch_sees(job: TrainingJob) -> None:
    """Also after its processes were killed on it: then it has all again."""
    job.submit(
        LaunchRequest(
            command=("bash", "-c", f'[ "$EF_NODE_RANK" = 0 ] || exec sleep 3\n{LOOKS}'),
            torchrun=False,
            state_dir=job.state_dir,
            order_file=f"{job.state_dir}/order.json",
            iterations=1,
            global_batch_size=1,
            cpus_per_gpu=1,
            sbatch_options=("--partition=batch", "--time=5", "--nodes=2", "--gres=gpu:4"),
        )
    )
    seen: list[dict[str, str]] = []
    state = shlex.quote(job.state_dir)
    for generation, gpus in enumerate((2, 1, 4, None, None), start=1):
        read = partial(job.shell, f"cat {state}/env.{generation} 2>/dev/null || true")
        text = wait_until(f"launch {generation}", read, timeout=60)
        seen.append(dict(line.split("=", 1) for line in text.splitlines()))
        if gpus is not None:
            job.order("relaunch", gpus=gpus)
        elif generation == 4:
            step = seen[-1]["SLURM_STEP_ID"]
            job.run("scancel", "--signal=KILL", f"{job.job_id}.{step}")
    assert job.wait_for_state("COMPLETED")["Restarts"] == "0"
    names = ("EF_NODES", "EF_GPUS_PER_NODE", "CUDA_VISIBLE_DEVICES", "SLURM_NNODES")
    cpus = ("SLURM_GPUS_ON_NODE", "SLURM_CPUS_ON_NODE")
    assert [tuple(env[name] for name in (*names, *cpus)) for env in seen] == [
        ("n1,n2", "4", "0,1,2,3", "2", "4", "4"),
        ("n1", "2", "0,1", "1", "2", "2"),
        ("n1", "1", "0", "1", "1", "1"),
        ("n1", "4", "0,1,2,3", "1", "4", "4"),
        ("n1,n2", "4", "0,1,2,3", "2", "4", "4"),
    ]
    assert "not again on 4 of its GPUs" in job.log()
    launch = job.read("launch.json")
    assert (launch["state"], launch["failures"]) == ("finished", 0)


def test_two_jobs_on_one_node(cluster: MiniSlurm, tmp_path: Path) -> None:
    jobs = [new_job(cluster, f"{tmp_path.name}-{n}") for n in range(2)]
    for job in jobs:
        job.submit(training_request(job, "--sleep", "0.02", gpus_per_node=1), "--nodelist=n1")
    launches = [job.wait_for_launch("finished") for job in jobs]
    assert launches[0]["nodes"] == launches[1]["nodes"] == "n1"
    assert launches[0]["port"] != launches[1]["port"]
    began = [launch["started_at"] for launch in launches]
    ended = [launch["updated_at"] for launch in launches]
    assert max(began) < min(ended), "the jobs did not overlap"
    losses = [[entry["loss"] for entry in job.record()] for job in jobs]
    assert losses[0] == losses[1]


def test_checkpoint_of_another_batch_size_ends_the_job(job: TrainingJob) -> None:
    job.submit(training_request(job, iterations=5))
    job.wait_for_state("COMPLETED")
    job.submit(training_request(job, iterations=9, global_batch_size=31))
    shown = job.wait_for_state("FAILED")
    assert shown["ExitCode"] == "78:0"
    assert "saved with global batch size 30, this run has 31" in job.log()
    assert json.loads(job.shell(f"cat {shlex.quote(job.state_dir)}/launch.json"))["generation"] == 2
    job.verify_checkpoints()
