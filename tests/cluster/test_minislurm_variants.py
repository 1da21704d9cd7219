"""The variants of the mini-Slurm are what they say, on a real Slurm."""

import pytest
from mini.client import MiniSlurm, wait_until

pytestmark = pytest.mark.cluster


def test_every_type_of_gpu_runs_a_job(typed_cluster: MiniSlurm) -> None:
    for gpu_type in ("a100", "3090", "3g.40gb", "1g.10gb"):
        job = typed_cluster.sbatch(f"--gres=gpu:{gpu_type}:2", script="echo $CUDA_VISIBLE_DEVICES")
        assert typed_cluster.wait_for_end(job) == "COMPLETED"
        output = typed_cluster.read(f"{typed_cluster.home('user1')}/slurm-{job}.out")
        assert len(output.strip().split(",")) == 2


def test_a_job_that_asks_for_no_memory_takes_all_of_its_node(
    tight_cluster: MiniSlurm,
) -> None:
    where = ["--nodelist=n1", "--gres=gpu:1"]
    first = tight_cluster.sbatch(*where, script="sleep 300")
    tight_cluster.wait_for_state(first, "RUNNING")
    second = tight_cluster.sbatch(*where, script="sleep 300")
    wait_until("a reason", lambda: tight_cluster.job(second)["Reason"] in ("Resources", "Priority"))


def test_an_idle_node_is_switched_off_and_comes_up_for_a_job(tight_cluster: MiniSlurm) -> None:
    tight_cluster.wait_for_node("n4", "idle~", timeout=120)
    where = ["--nodelist=n4", "--gres=gpu:1", "--mem-per-gpu=1000"]
    job = tight_cluster.sbatch(*where, script="sleep 300")
    tight_cluster.wait_for_state(job, "CONFIGURING", "RUNNING")
    tight_cluster.wait_for_state(job, "RUNNING", timeout=120)
