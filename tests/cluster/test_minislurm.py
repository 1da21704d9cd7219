"""What all other cluster tests lean on: the mini-Slurm is a real Slurm, set up as it says."""

import os
import re
import time

import pytest
from mini.client import CHECKOUT, MiniSlurm, wait_until

from ef_slurm.slurm.interface import earliest_release

pytestmark = pytest.mark.cluster

ALLREDUCE = CHECKOUT / "tests" / "cluster" / "allreduce"


@pytest.fixture
def accounting(cluster: MiniSlurm) -> MiniSlurm:
    if not cluster.accounting:
        pytest.skip(f"no accounting on {cluster.suite} ({cluster.engine} engine)")
    return cluster


def test_torchrun_adds_up_over_two_nodes_and_each_rank_has_its_own_gpu(cluster: MiniSlurm) -> None:
    gpus = cluster.gpus_per_node
    script = cluster.write("allreduce.py", (ALLREDUCE / "allreduce.py").read_text(), user="user1")
    batch = cluster.write(
        "allreduce.sbatch", (ALLREDUCE / "allreduce.sbatch").read_text(), user="user1"
    )
    submitted = cluster.output(
        ["sbatch", "--parsable", f"--gres=gpu:{gpus}", batch, script], user="user1"
    )
    state = cluster.wait_for_end(int(submitted), timeout=300)
    output = cluster.read(f"{cluster.home('user1')}/slurm-{submitted}.out")
    assert state == "COMPLETED", output

    pattern = r"^rank (\d+) of (\d+) on (\w+) has GPU (\d+): sum (\d+)$"
    ranks = re.findall(pattern, output, re.MULTILINE)
    world = 2 * gpus
    assert sorted(int(rank) for rank, *_ in ranks) == list(range(world)), output
    assert {int(size) for _, size, *_ in ranks} == {world}
    assert {int(total) for *_, total in ranks} == {world * (world + 1) // 2}
    seen = sorted((node, int(gpu)) for _, _, node, gpu, _ in ranks)
    assert seen == [(node, gpu) for node in ("n1", "n2") for gpu in range(gpus)]


def test_gpus_are_counted_and_shown_to_the_job(cluster: MiniSlurm) -> None:
    gpus = cluster.gpus_per_node
    half = max(1, gpus // 2)
    where = ["--nodelist=n1", f"--gres=gpu:{half}"]
    script = "echo devices $CUDA_VISIBLE_DEVICES; sleep 60"
    jobs = [cluster.sbatch(*where, script=script) for _ in range(gpus // half + 1)]
    for job in jobs[:-1]:
        cluster.wait_for_state(job, "RUNNING")
    # Until it has been looked at, a pending job has no reason.
    wait_until(
        "the last to lack resources",
        lambda: cluster.job(jobs[-1])["Reason"] in ("Resources", "Priority"),
    )
    assert cluster.job(jobs[-1])["JobState"] == "PENDING"

    def devices() -> list[int]:
        text = "".join(cluster.read(f"{cluster.home('user1')}/slurm-{j}.out") for j in jobs[:-1])
        lines = re.findall(r"^devices ([\d,]+)$", text, re.MULTILINE)
        return sorted(int(d) for line in lines for d in line.split(","))

    assert wait_until("both jobs' output", lambda: len(devices()) == gpus and devices()) == list(
        range(gpus)
    )


def test_a_user_cannot_cancel_the_job_of_another(accounting: MiniSlurm) -> None:
    job = accounting.sbatch(script="sleep 300", user="user2")
    accounting.wait_for_state(job, "RUNNING")
    refused = accounting.run(["scancel", str(job)], user="user1", check=False)
    assert "denied" in refused.stderr or "Invalid user" in refused.stderr
    assert accounting.job_state(job) == "RUNNING"
    refused = accounting.run(["scontrol", "hold", str(job)], user="user1", check=False)
    assert refused.returncode != 0
    accounting.run(["scancel", str(job)], user="user2")
    assert accounting.wait_for_end(job) == "CANCELLED"


def test_the_operator_requeues_holds_and_releases_the_job_of_a_user(
    accounting: MiniSlurm,
) -> None:
    job = accounting.sbatch(script="echo start ${SLURM_RESTART_COUNT:-0}; sleep 300", user="user1")
    accounting.wait_for_state(job, "RUNNING")
    accounting.run(["scontrol", "requeuehold", str(job)], user="ef-slurm")
    held = accounting.wait_for_state(job, "PENDING")
    assert held["Reason"] == "JobHeldUser" or held["Priority"] == "0"
    accounting.run(["scontrol", "hold", str(job)], user="ef-slurm")
    refused = accounting.run(["scontrol", "release", str(job)], user="user1", check=False)
    assert refused.returncode != 0
    accounting.run(["scontrol", "update", f"jobid={job}", "StartTime=now"], user="ef-slurm")
    time.sleep(earliest_release(time.time()) - time.time())
    accounting.run(["scontrol", "release", str(job)], user="ef-slurm")
    running = accounting.wait_for_state(job, "RUNNING")
    assert running["Restarts"] == "1"


def test_sacct_shows_the_job_with_account_and_gpus(accounting: MiniSlurm) -> None:
    job = accounting.sbatch("--gres=gpu:1", "--comment=for sacct", script="true", user="user2")
    accounting.wait_for_end(job)

    def row() -> list[str]:
        fields = "--format=User,Account,State,AllocTRES,Comment"
        line = accounting.output(["sacct", "-X", "-n", "-P", "-j", str(job), fields])
        return line.split("|") if "COMPLETED" in line else []

    user, account, state, tres, comment = wait_until("the job in sacct", row)
    assert (user, account, state, comment) == ("user2", "acct2", "COMPLETED", "for sacct")
    assert "gres/gpu=1" in tres


def test_limits_are_enforced(accounting: MiniSlurm) -> None:
    change = ["sacctmgr", "-i", "modify", "account", "acct1", "set"]
    accounting.run([*change, "GrpTRES=gres/gpu=1"])
    try:
        job = accounting.sbatch("--gres=gpu:2", script="true", user="user1")
        reason = wait_until("a reason", lambda: accounting.job(job)["Reason"].strip("None"))
        assert "Grp" in reason
    finally:
        accounting.run([*change, "GrpTRES=gres/gpu=-1"])


def test_the_daemons_user_is_an_operator_and_nobody_else_is(accounting: MiniSlurm) -> None:
    rows = accounting.output(["sacctmgr", "-n", "-P", "show", "user", "format=user,adminlevel"])
    levels = dict(row.split("|") for row in rows.splitlines())
    levels.pop("root")
    assert levels == {"ef-slurm": "Operator", "user1": "None", "user2": "None"}


def test_the_checkout_is_importable_on_every_host(cluster: MiniSlurm) -> None:
    program = "import ef_slurm, numpy, click, jinja2; print(ef_slurm.__file__)"
    for host in ("login", "ctl", "n1"):
        assert "ef_slurm" in cluster.output(["python3", "-c", program], user="user1", on=host)


@pytest.mark.skipif(not os.environ.get("EF_LONG"), reason="Slurm takes a minute: EF_LONG=1")
def test_a_node_whose_slurmd_dies_goes_down_its_job_is_requeued_and_it_comes_back(
    cluster: MiniSlurm,
) -> None:
    job = cluster.sbatch("--nodelist=n2", script="sleep 300")
    cluster.wait_for_state(job, "RUNNING")
    cluster.kill("n2")
    cluster.wait_for_node("n2", "down", timeout=120)
    requeued = cluster.wait_for_state(job, "PENDING")
    assert requeued["Restarts"] == "1"
    cluster.start("n2")
    cluster.wait_for_node("n2", "idle", "mixed")


def test_slurmd_alone_can_be_killed_and_its_job_lives_on(cluster: MiniSlurm) -> None:
    job = cluster.sbatch("--nodelist=n3", script="sleep 300")
    cluster.wait_for_state(job, "RUNNING")
    cluster.kill("n3", "slurmd")
    cluster.start("n3", "slurmd")
    cluster.wait_for_node("n3", "mixed")
    assert cluster.job_state(job) == "RUNNING"


def test_slurmctld_can_be_killed_and_remembers_its_jobs(cluster: MiniSlurm) -> None:
    job = cluster.sbatch(script="sleep 300")
    cluster.wait_for_state(job, "RUNNING")
    cluster.wait_for_saved_state()
    cluster.kill("ctl", "slurmctld")
    assert "is DOWN" in cluster.output("scontrol ping || true")
    cluster.start("ctl", "slurmctld")
    wait_until("slurmctld", lambda: "is UP" in cluster.output("scontrol ping || true"))
    assert cluster.job_state(job) == "RUNNING"
