"""What Slurm made of an update."""

from __future__ import annotations

from ef_slurm.model import Block
from ef_slurm.slurm.read_back import differences_of, undone_after_release
from ef_slurm.slurm.types import HeldGpus, JobBaseState, JobUpdate, Shape
from tests.unit.daemon.make import TWO_NODES, slurm_job

UPDATE = JobUpdate(Shape(TWO_NODES.nodes, 4))


def test_a_job_that_runs_is_judged_by_what_it_holds() -> None:
    """Slurm shows other node counts of a running job than of a pending one."""
    running = slurm_job(JobBaseState.RUNNING, on=TWO_NODES, asks=Block("gpu", ("n9",), 1))
    assert differences_of(UPDATE, running)
    assert undone_after_release(UPDATE, running) == []
    elsewhere = slurm_job(JobBaseState.RUNNING, on=Block("gpu", ("n1",), 2))
    assert undone_after_release(UPDATE, elsewhere) == [
        "GPUs are 2 on n1, not gpu:4 on each of its nodes"
    ]


def test_a_job_that_pends_is_judged_by_what_it_asks_for() -> None:
    assert undone_after_release(UPDATE, slurm_job(asks=TWO_NODES)) == []
    assert undone_after_release(UPDATE, slurm_job())[1] == "GPUs per node is gpu:1, not gpu:4"


def test_several_types_on_a_node_are_added_up() -> None:
    held = (HeldGpus("n1", "a100", 2), HeldGpus("n1", "t4", 2), HeldGpus("n2", "a100", 4))
    running = slurm_job(JobBaseState.RUNNING, on=TWO_NODES, held=held)
    assert undone_after_release(UPDATE, running) == []
