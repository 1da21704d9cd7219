"""Companions on real Slurm, and a job that gives nodes back while it runs: the Slurm side of live
changes. The ranks are played by a command that keeps the contract, in the last test they are a
training's; the daemon is played by the test."""

import itertools
import shlex
import time
from pathlib import Path

import pytest
from mini.client import MiniSlurm, wait_until

from ef_slurm.contract import companion_comment
from ef_slurm.launch import LaunchRequest
from tests.cluster.training_jobs import (
    LONG,
    TrainingJob,
    assert_same_training,
    fixed_run,
    new_job,
    training_request,
)

pytestmark = pytest.mark.cluster

RANKS = """
trap 'exit 0' TERM
env | grep -E '^(SLURM_|EF_|CUDA_VISIBLE|MINE)' >"$EF_STATE_DIR/.env.$SLURMD_NODENAME"
mv "$EF_STATE_DIR/.env.$SLURMD_NODENAME" "$EF_STATE_DIR/there.$SLURMD_NODENAME"
until [ -e "$EF_STATE_DIR/leave.$SLURMD_NODENAME" ] || [ -e "$EF_STATE_DIR/leave.all" ]; do
    sleep 0.1
done
"""


class LiveJob:
    """A job on two nodes whose ranks leave when they are told."""

    def __init__(self, cluster: MiniSlurm, name: str):
        self.cluster = cluster
        self.job: TrainingJob = new_job(cluster, name)
        self.state = shlex.quote(self.job.state_dir)
        self.job.submit(
            LaunchRequest(
                command=("bash", "-c", RANKS),
                torchrun=False,
                state_dir=self.job.state_dir,
                order_file=f"{self.job.state_dir}/order.json",
                iterations=1,
                global_batch_size=1,
                cpus_per_gpu=1,
                sbatch_options=("--partition=batch", "--time=20", "--nodes=2", "--gres=gpu:2"),
            ),
            "--nodelist=n1,n2",
        )
        self.environment("n2")

    def environment(self, node: str) -> dict[str, str]:
        """What the ranks of a node see, once they are there."""
        text = wait_until(
            f"ranks on {node}",
            lambda: self.job.shell(f"cat {self.state}/there.{node} 2>/dev/null || true"),
            timeout=60,
        )
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def leave(self, *nodes: str) -> None:
        for node in nodes:
            self.job.shell(f"touch {self.state}/leave.{node}")


# The native engine's hosts are one machine: those of a node are its supervisor's.
STEPDS = """
hosts=${MINISLURM_LAYOUT%/guest/*}/hosts
[ -e "$hosts/$MINISLURM_HOST" ] && set -- --parent "$(cat "$hosts/$MINISLURM_HOST")"
pgrep -a "$@" slurmstepd
"""


def stepds(cluster: MiniSlurm, node: str) -> str:
    """The processes of steps on a node."""
    return cluster.run(STEPDS, on=node, check=False).stdout


def wait_until_empty(cluster: MiniSlurm, *nodes: str) -> None:
    wait_until(
        "no step on them", lambda: not any(stepds(cluster, node) for node in nodes), timeout=60
    )


def allocated(cluster: MiniSlurm) -> set[str]:
    states = cluster.node_states()
    return {node for node, state in states.items() if not state.lower().startswith("idle")}


@pytest.fixture
def live(cluster: MiniSlurm, tmp_path: Path) -> LiveJob:
    return LiveJob(cluster, tmp_path.name)


def test_a_companion_comes_and_goes_while_the_job_runs(cluster: MiniSlurm, live: LiveJob) -> None:
    job = live.job
    companion = job.prepare(1)
    shown = cluster.job(companion)
    assert shown["JobState"] == "PENDING"
    assert shown["Reason"] == "JobHeldUser"
    comment = job.run("squeue", "--noheader", f"--jobs={companion}", "--format=%k").strip()
    assert comment == companion_comment(job.job_id, 1, 1)
    assert (shown["Partition"], shown["UserId"].split("(")[0]) == ("batch", "user1")
    assert shown["Requeue"] == "0"
    job.start_companion(companion, "n3", "n4")
    seen = live.environment("n4")
    assert seen["EF_JOB_ID"] == str(job.job_id)
    assert (seen["EF_GENERATION"], seen["EF_CHANGE"]) == ("1", "1")
    assert (seen["EF_NODES"], seen["EF_NODE_RANK"], seen["EF_NUM_NODES"]) == ("n3,n4", "1", "2")
    assert (seen["SLURM_JOB_ID"], seen["SLURM_GPUS_ON_NODE"]) == (str(companion), "2")
    assert seen["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert seen["EF_STATE_DIR"] == job.state_dir
    assert "companion of launch 1" in job.shell(f"cat {shlex.quote(job.directory)}/log.companion")
    # Its ranks leave as agreed: it has not failed, and the first job goes on.
    live.leave("n3", "n4")
    assert cluster.wait_for_state(companion, "COMPLETED")["ExitCode"] == "0:0"
    # The next change: the owner cancels this one, whose ranks leave within KillWait.
    job.shell(f"rm {live.state}/there.n[34] {live.state}/leave.n[34]")
    second = job.prepare(2)
    job.start_companion(second, "n3")
    live.environment("n3")
    job.run("scancel", str(second))
    cluster.wait_for_state(second, "CANCELLED")
    assert cluster.job_state(job.job_id) == "RUNNING"
    # The one after that is still there when its launch ends, and one is still held.
    job.shell(f"rm {live.state}/there.n3")
    third = job.prepare(3)
    job.start_companion(third, "n3")
    live.environment("n3")
    fourth = job.prepare(4)
    job.run("scancel", str(job.job_id))
    cluster.wait_for_state(job.job_id, "CANCELLED")
    cluster.wait_for_state(fourth, "CANCELLED")
    assert cluster.wait_for_state(third, "COMPLETED")["ExitCode"] == "0:0"
    wait_until("idle nodes", lambda: not allocated(cluster), timeout=60)


def test_nodes_are_given_back_while_the_step_goes_on(cluster: MiniSlurm, live: LiveJob) -> None:
    """No drained node, no killed step: what leaves is empty before Slurm is told."""
    job = live.job
    assert stepds(cluster, "n2")
    live.leave("n2")
    wait_until_empty(cluster, "n2")
    assert stepds(cluster, "n1")
    assert allocated(cluster) == {"n1", "n2"}
    job.scontrol("update", f"jobid={job.job_id}", "ReqNodeList=n1")
    began = time.monotonic()
    wait_until("a free n2", lambda: allocated(cluster) == {"n1"}, timeout=60)
    print(f"free after {time.monotonic() - began:.2f} s")
    shown = cluster.job(job.job_id)
    assert (shown["JobState"], shown["NumNodes"], shown["NodeList"]) == ("RUNNING", "1", "n1")
    print(job.run("scontrol", "show", "step", str(job.job_id)), job.run("squeue", "--steps"))
    # Another job has the node while the step goes on.
    other = cluster.sbatch("--nodelist=n2", "--gres=gpu:2", script="#!/bin/bash\nsleep 1\n")
    cluster.wait_for_state(other, "COMPLETED")
    assert job.read("launch.json")["state"] == "running"
    live.leave("n1")
    assert cluster.wait_for_state(job.job_id, "COMPLETED")["ExitCode"] == "0:0"
    wait_until("idle nodes", lambda: not allocated(cluster), timeout=60)
    print(job.run("sacct", "-j", str(job.job_id), "--format=jobid,state,exitcode,nnodes,elapsed"))


@pytest.mark.skipif(not LONG, reason="a minute and a half; the daemon's test holds most: EF_LONG=1")
def test_a_training_grows_and_shrinks_while_it_trains(cluster: MiniSlurm, tmp_path: Path) -> None:
    """4, 8, 4 and 2 ranks in one launch, on nodes of two Slurm jobs, as the fixed run has it."""
    job = new_job(cluster, tmp_path.name)
    slowly = f"{job.directory}/slowly"
    job.shell(f"mkdir -p {shlex.quote(job.directory)} && touch {shlex.quote(slowly)}")
    arguments = ("--wrapper", "parallel", "--sleep", "0.5", "--slowly", slowly)
    request = training_request(job, *arguments, nodes=2, iterations=600, cpus_per_gpu=1)
    job.submit(request, "--nodelist=n1,n2")
    assert job.wait_for_generation(1)["live"]
    companion = job.prepare(1)
    job.start_companion(companion, "n3", "n4")
    wait_until(
        "ranks of the companion",
        lambda: job.read("progress.json")["ready"].split(",") == ["n3", "n4"],
        timeout=120,
    )
    grown = job.resize(1, "n1", "n2", "n3", "n4")
    assert (grown["world_size"], grown["nodes"]) == (8, "n1,n2,n3,n4")
    time.sleep(1)
    shrunk = job.resize(2, "n1", "n2")
    assert cluster.wait_for_state(companion, "COMPLETED")["ExitCode"] == "0:0"
    less = job.resize(3, "n1")
    wait_until_empty(cluster, "n2")
    job.scontrol("update", f"jobid={job.job_id}", "ReqNodeList=n1")
    wait_until("a free n2", lambda: allocated(cluster) == {"n1"}, timeout=60)
    print([progress["change_seconds"] for progress in (grown, shrunk, less)])
    job.shell(f"rm {shlex.quote(slowly)}")
    launch = job.wait_for_launch("finished")
    assert (launch["generation"], launch["restart_count"]) == (1, 0)
    assert job.wait_for_state("COMPLETED")["ExitCode"] == "0:0"
    assert_same_training(job, fixed_run(job, iterations=600))
    record = job.record()
    assert [world for world, _ in itertools.groupby(e["world"] for e in record)] == [4, 8, 4, 2]
