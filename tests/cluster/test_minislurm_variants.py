"""A variant of the mini-Slurm is what it says; what jobs make of it: `test_variant_promises`."""

import pytest
from mini.client import MiniSlurm, wait_until

pytestmark = pytest.mark.cluster


def test_a_job_that_asks_for_no_memory_takes_all_of_its_node(tight_cluster: MiniSlurm) -> None:
    where = ["--nodelist=n1", "--gres=gpu:1"]
    first = tight_cluster.sbatch(*where, script="sleep 300")
    tight_cluster.wait_for_state(first, "RUNNING")
    second = tight_cluster.sbatch(*where, script="sleep 300")
    wait_until("a reason", lambda: tight_cluster.job(second)["Reason"] in ("Resources", "Priority"))
