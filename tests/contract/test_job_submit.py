"""`site-config/slurm/job_submit.lua` on the mini-Slurm: who may do what in ef-slurm's partition."""

from collections.abc import Callable, Mapping
from typing import Protocol

import pytest

from ef_slurm.slurm.comments import compose, new_words
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import OWNER_HELD, OWNER_RELEASED, HoldKind, JobUpdate, Shape, SlurmJob

pytestmark = pytest.mark.cluster

Submit = Callable[..., SlurmJob]
OURS = "#!/bin/bash\n# EF_STATE_DIR\nexec sleep 600\n"
PLAIN = "#!/bin/bash\nexec sleep 600\n"
SMALL = ("--nodes=1", "--time=5", "--job-name=contract", "--output=/dev/null")


class Guest(Protocol):
    """A user's session (conftest.py)."""

    def run(
        self, command: tuple[str, ...], variables: Mapping[str, str], text: str
    ) -> tuple[int, str, str]: ...


class Site(Protocol):
    """The mini-Slurm (conftest.py)."""

    def of(self, user: str) -> Slurm: ...

    def until(self, true: Callable[[], bool]) -> None: ...


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(guests: Mapping[str, Guest], command_site: Site) -> Run:
    """Run a command as a user: exit code, and all that was said."""
    plugins = command_site.of("user1").configuration().job_submit_plugins
    assert "lua" in plugins, "the mini-Slurm was brought up without job_submit.lua"

    def do(user: str, *command: str, text: str = "") -> tuple[int, str]:
        code, stdout, stderr = guests[user].run(command, {}, text)
        return code, stdout + stderr

    return do


def sbatch(run: Run, partition: str, script: str) -> tuple[int, str]:
    code, said = run("user1", "sbatch", *SMALL, "--parsable", "-p", partition, text=script)
    return code, said.strip()


def test_a_plain_submission_is_pointed_to_ef_sbatch(run: Run) -> None:
    for command in (
        ("sbatch", *SMALL, "--partition=ef", "--wrap=true"),
        ("srun", "--partition=ef", "true"),
        ("sbatch", *SMALL, "--partition=batch,ef", "--wrap=true"),
    ):
        code, said = run("user1", *command)
        assert code != 0
        assert "ef-sbatch --deadline" in said


def test_other_partitions_are_left_alone(run: Run, command_site: Site) -> None:
    code, job_id = sbatch(run, "batch", PLAIN)
    assert code == 0
    slurm = command_site.of("user1")
    command_site.until(lambda: slurm.job(int(job_id)).is_running)
    assert run("user1", "scontrol", "update", f"jobid={job_id}", "TimeLimit=3")[0] == 0


def test_every_job_starts_held(run: Run, command_site: Site) -> None:
    code, job_id = sbatch(run, "ef", OURS)
    assert code == 0
    assert command_site.of("user1").job(int(job_id)).hold is not HoldKind.NONE


def told(site: Site) -> bool:
    """Whether Slurm passes a plugin's sentence on to scontrol: 22.05 only says no."""
    return site.of("user1").configuration().version >= (23, 2, 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("Priority=100", "started by ef-slurm"),
        ("NumNodes=2-2", "min_nodes"),
        ("TresPerNode=gres:gpu:4", "tres_per_node"),
        ("ReqNodeList=n2", "req_nodes"),
        ("TimeLimit=4", "time_limit"),
        ("StartTime=now", "begin_time"),
        ("Partition=batch", "partition"),
    ],
)
def test_an_owner_can_neither_release_nor_reshape(
    run: Run, command_site: Site, change: str, why: str
) -> None:
    _, job_id = sbatch(run, "ef", OURS)
    before = command_site.of("user1").job(int(job_id))
    code, said = run("user1", "scontrol", "update", f"jobid={job_id}", change)
    assert code != 0
    assert why in said or not told(command_site)
    assert command_site.of("user1").job(int(job_id)) == before


def test_an_owners_release_is_a_word_to_the_daemon(run: Run, command_site: Site) -> None:
    _, text = sbatch(run, "ef", OURS)
    job_id = int(text)
    operator = command_site.of("ef-slurm")
    assert not operator.job(job_id).is_released_by_owner
    comment = compose("run 3 = a, b; 'c'", new_words(1_900_000_000.0, 0.0))
    assert operator.update(job_id, JobUpdate(comment=comment)).requested.comment == comment
    assert run("user1", "scontrol", "release", text)[0] == 0
    job = operator.job(job_id)
    assert job.requested.comment == f"run 3 = a, b; 'c'; {OWNER_RELEASED}"
    assert job.is_pending
    assert job.hold is not HoldKind.NONE
    assert job.is_released_by_owner
    operator.update(job_id, JobUpdate(comment=""))
    assert not operator.job(job_id).is_released_by_owner
    operator.release(job_id)
    command_site.until(lambda: operator.job(job_id).is_running)
    run("user1", "scontrol", "release", text)
    assert not operator.job(job_id).is_released_by_owner
    # A hold is one too, also of a job that runs, which Slurm itself would not do anything about.
    assert run("user1", "scontrol", "hold", text)[0] == 0
    job = operator.job(job_id)
    assert job.is_running
    assert job.is_held_by_owner
    assert job.requested.comment == OWNER_HELD


def test_an_owner_may_hold_and_cancel(run: Run, command_site: Site) -> None:
    _, job_id = sbatch(run, "ef", OURS)
    assert run("user1", "scontrol", "hold", job_id)[0] == 0
    assert command_site.of("ef-slurm").job(int(job_id)).is_held_by_owner
    assert run("user1", "scancel", job_id)[0] == 0
    slurm = command_site.of("user1")
    command_site.until(lambda: slurm.job(int(job_id)).is_final)


def test_no_job_is_moved_in_from_elsewhere(run: Run, command_site: Site) -> None:
    code, said = run(
        "user1", "sbatch", *SMALL, "--hold", "--parsable", "--partition=batch", text=PLAIN
    )
    assert code == 0
    code, said = run("user1", "scontrol", "update", f"jobid={said.strip()}", "Partition=ef")
    assert code != 0
    assert "ef-sbatch" in said or not told(command_site)


def test_ef_slurm_may_do_all_that(run: Run, command_site: Site) -> None:
    _, text = sbatch(run, "ef", OURS)
    job_id = int(text)
    operator = command_site.of("ef-slurm")
    shape = Shape(("n1", "n2"), 2)
    operator.update(job_id, JobUpdate(shape=shape, time_limit=600, start_now=True))
    operator.release(job_id)
    command_site.until(lambda: operator.job(job_id).is_running)
    assert operator.job(job_id).gpus == (("n1", 2), ("n2", 2))
