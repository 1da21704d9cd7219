"""Companions on real Slurm, and a job that gives nodes back while it runs: the Slurm side of live
changes. The ranks are played by a command that keeps the contract; the daemon, by the test."""

import shlex
import time
from pathlib import Path

import pytest
from mini.client import MiniSlurm, wait_until

from ef_slurm.contract import companion_comment
from ef_slurm.launch import LaunchRequest
from tests.cluster.training_jobs import TrainingJob, new_job

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

    def prepare(self, change: int) -> int:
        """Order a companion; its job id."""
        self.job.order("prepare", change=change)
        found = wait_until(
            f"a companion for change {change}",
            lambda: [c for c in [self.job.read("companion.json")] if c.get("change") == change],
            timeout=60,
        )
        assert found[0]["slurm_job_id"], found
        return int(found[0]["slurm_job_id"])

    def start(self, companion: int, *nodes: str) -> None:
        """As the daemon does: shape, release."""
        count = len(nodes)
        self.job.scontrol(
            "update",
            f"jobid={companion}",
            f"NumNodes={count}-{count}",
            f"NumTasks={count}",
            f"NumCPUs={2 * count}",
            f"ReqNodeList={','.join(nodes)}",
            "TresPerNode=gres:gpu:2",
        )
        self.job.scontrol("release", str(companion))
        self.cluster.wait_for_state(companion, "RUNNING")

    def stepds(self, node: str) -> str:
        """The processes of steps on a node."""
        return self.cluster.exec("pgrep", "-a", "slurmstepd", on=node).stdout

    def wait_until_empty(self, *nodes: str) -> None:
        wait_until("no step on them", lambda: not any(map(self.stepds, nodes)), timeout=60)

    def allocated(self) -> set[str]:
        states = self.cluster.node_states()
        return {node for node, state in states.items() if not state.lower().startswith("idle")}


@pytest.fixture
def live(cluster: MiniSlurm, tmp_path: Path) -> LiveJob:
    return LiveJob(cluster, tmp_path.name)


def test_a_companion_comes_and_goes_while_the_job_runs(cluster: MiniSlurm, live: LiveJob) -> None:
    job = live.job
    companion = live.prepare(1)
    shown = cluster.job(companion)
    assert shown["JobState"] == "PENDING"
    assert shown["Reason"] == "JobHeldUser"
    comment = job.run("squeue", "--noheader", f"--jobs={companion}", "--format=%k").strip()
    assert comment == companion_comment(job.job_id, 1, 1)
    assert (shown["Partition"], shown["UserId"].split("(")[0]) == ("batch", "user1")
    assert shown["Requeue"] == "0"
    live.start(companion, "n3", "n4")
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
    second = live.prepare(2)
    live.start(second, "n3")
    live.environment("n3")
    job.run("scancel", str(second))
    cluster.wait_for_state(second, "CANCELLED")
    assert cluster.job_state(job.job_id) == "RUNNING"
    # The one after that is still there when its launch ends, and one is still held.
    job.shell(f"rm {live.state}/there.n3")
    third = live.prepare(3)
    live.start(third, "n3")
    live.environment("n3")
    fourth = live.prepare(4)
    job.run("scancel", str(job.job_id))
    cluster.wait_for_state(job.job_id, "CANCELLED")
    cluster.wait_for_state(fourth, "CANCELLED")
    assert cluster.wait_for_state(third, "COMPLETED")["ExitCode"] == "0:0"
    wait_until("idle nodes", lambda: not live.allocated(), timeout=60)


def test_nodes_are_given_back_while_the_step_goes_on(cluster: MiniSlurm, live: LiveJob) -> None:
    """No drained node, no killed step: what leaves is empty before Slurm is told."""
    job = live.job
    assert live.stepds("n2")
    live.leave("n2")
    live.wait_until_empty("n2")
    assert live.stepds("n1")
    assert live.allocated() == {"n1", "n2"}
    job.scontrol("update", f"jobid={job.job_id}", "ReqNodeList=n1")
    began = time.monotonic()
    wait_until("a free n2", lambda: live.allocated() == {"n1"}, timeout=60)
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
    wait_until("idle nodes", lambda: not live.allocated(), timeout=60)
    print(job.run("sacct", "-j", str(job.job_id), "--format=jobid,state,exitcode,nnodes,elapsed"))
