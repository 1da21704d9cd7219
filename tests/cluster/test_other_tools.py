"""Other people's tools, and Python, in place of a person at ef-sbatch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mini.client import CHECKOUT, MiniSlurm, wait_until

from tests.cluster.test_cli import RATES, People

pytestmark = pytest.mark.cluster
long = pytest.mark.skipif(
    not os.environ.get("EF_LONG"), reason="needs a mirror of PyPI, 300 MB of it: EF_LONG=1"
)

PACKAGES = (
    *("submitit==1.5.4", "hydra-core==1.3.8", "hydra-submitit-launcher==1.2.0"),
    *("snakemake==9.27.1", "snakemake-executor-plugin-slurm==2.8.0"),
)
SMALL = "EF_SBATCH_DEADLINE=+20m EF_SBATCH_ITERATIONS=1 EF_SBATCH_GLOBAL_BATCH_SIZE=1"
# As docs/tools.md says: ef-sbatch under sbatch's name, before Slurm's in PATH.
FRONT = (
    "mkdir -p ~/front && ln -sf $(command -v ef-sbatch) ~/front/sbatch && export PATH=~/front:$PATH"
)


@pytest.fixture(scope="module")
def site(running_cluster: MiniSlurm) -> Iterator[People]:
    people = People(running_cluster)
    people.site.stop("KILL")
    people.site.prepare()
    people.site.start()
    yield people
    people.site.stop()


@pytest.fixture
def people(site: People) -> Iterator[People]:
    yield site
    site.cluster.output("squeue -h -o %A | xargs --no-run-if-empty scancel")
    site.cluster.heal()
    wait_until("no active job", lambda: not site.queue(""), timeout=60)


@pytest.fixture(scope="module")
def tools(running_cluster: MiniSlurm) -> str:
    """Where the hosts find the packages."""
    if not running_cluster.accounting:
        pytest.skip("the tools ask sacct")
    ask = "python3 -c \"import sys; print(*sys.version_info[:2], sep='.')\""
    version = running_cluster.output(ask).strip()
    place = Path(".pytest_cache") / f"other-tools-{version}"
    if not (CHECKOUT / place).exists():
        fetch(version, CHECKOUT / place)
    return f"{running_cluster.checkout}/{place}"


def fetch(version: str, place: Path) -> None:
    """Install the packages for a release of Python that is not this one."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheels = place.with_name(f"{place.name}.wheels")
    subprocess.run([*pip, "wheel", "--wheel-dir", str(wheels), *PACKAGES], check=True)
    names = [file.name.split("-")[:2] for file in wheels.glob("*.whl")]
    platforms = [f"--platform={glibc}_x86_64" for glibc in ("manylinux2014", "manylinux_2_28")]
    new = place.with_name(f"{place.name}.new")
    subprocess.run(
        [
            *(*pip, "install", "--no-deps", "--target", str(new), "--only-binary=:all:"),
            *("--implementation=cp", f"--python-version={version}", *platforms),
            *("--find-links", str(wheels), *(f"{name}=={number}" for name, number in names)),
        ],
        check=True,
    )
    new.rename(place)


FROM_PYTHON = """
import sys
from datetime import timedelta

import ef_slurm

def submit(seconds):
    return ef_slurm.submit(
        sys.argv[1], "--rates", sys.argv[2], deadline=timedelta(seconds=seconds), iterations=30000,
        global_batch_size=32, throughput=sys.argv[2],
    )

try:
    submit(60)
except ef_slurm.NotPromisedError as refused:
    assert refused.offer is not None
    print("refused", refused)
job = submit(5400)
assert job.promise.outcome is ef_slurm.PromiseOutcome.OPEN, job.status
assert job.promise.slack > timedelta(0), job.promise
before = job.deadline
print(job.update(deadline=before + timedelta(hours=1)))
assert abs(job.deadline - before - timedelta(hours=1)) < timedelta(seconds=1), job.deadline
try:
    job.wait(timeout=1)
except TimeoutError as late:
    print(late)
job.cancel()
assert job.wait(timeout=60) is ef_slurm.JobState.CANCELLED
assert ef_slurm.job(job.id).promise.outcome is ef_slurm.PromiseOutcome.VOID
try:
    ef_slurm.job(job.id + 1000)
except ef_slurm.UnknownJobError:
    print(job.id)
"""


def test_from_python(people: People) -> None:
    """`ef_slurm.submit` as a notebook on a login node calls it."""
    script = f"python3 - CHECKOUT/tests/cluster/daemon_pacer.py {RATES}"
    done = people.type(script, stdin=FROM_PYTHON)
    assert done.returncode == 0, done.stdout + done.stderr
    refused, changed, late, job = done.stdout.splitlines()
    assert refused.startswith("refused Not promised: ")
    assert "deadline from " in changed
    assert late.endswith(" after 1 s")
    assert people.queue()[int(job)]["state"] == "cancelled"
    assert done.stderr == ""


STEPS = """#!/bin/bash
#SBATCH --output=steps-%j.log
#EF --iterations=1 --global-batch-size=8 --throughput=8:1
echo "once on $SLURMD_NODENAME: $SLURM_NNODES nodes"
srun --unbuffered --output=steps-%j-%t.log bash -c 'echo "task $SLURM_PROCID on $SLURMD_NODENAME"'
"""


def test_a_script_that_starts_its_own_steps_runs_once(people: People) -> None:
    """Through the link, as a wrapper calls sbatch: on two nodes, one task on each."""
    sbatch = f"{FRONT}; EF_SBATCH_DEADLINE=+10m sbatch"
    done = people.type(f"{sbatch} -p ef", stdin=STEPS)
    assert done.returncode == 0, done.stderr
    job = int(done.stdout.splitlines()[0].removeprefix("Submitted batch job "))
    wait_until("it has ended", lambda: people.queue()[job]["state"] == "completed", timeout=90)
    told = people.cluster.output(f"cd ~ && cat steps-{job}.log", user="user1")
    assert [line for line in told.splitlines() if line.startswith("once on ")] == [
        f"once on {told.split('once on ')[1].split(':')[0]}: 2 nodes"
    ]
    tasks = people.cluster.output(f"cd ~ && cat steps-{job}-[01].log", user="user1")
    hosts = [line.rpartition(" ")[2] for line in tasks.splitlines()]
    assert len(hosts) == len(set(hosts)) == 2
    # A job of another partition is Slurm's; nothing of ours is in the way.
    other = people.type(f"{FRONT}; sbatch -p debug --test-only --wrap=true", user="user1")
    assert "ef-sbatch" not in other.stderr


SUBMITIT = """
import time
import submitit

executor = submitit.AutoExecutor(folder="submitit/%j", cluster="slurm")
executor.update_parameters(
    timeout_min=10, slurm_partition="ef", gpus_per_node=1, cpus_per_task=1, mem_gb=1,
)
job = executor.submit(sum, [2, 3])
print(job.job_id, job.result())
assert job.get_info(mode="force")["State"] in ("RUNNING", "COMPLETING", "COMPLETED"), job.get_info()
executor.update_parameters(slurm_setup=["#EF --deadline=+30m"])
sleeper = executor.submit(time.sleep, 600)
while sleeper.watcher.get_state(sleeper.job_id, mode="force") != "RUNNING":
    time.sleep(1)
sleeper.cancel(check=True)
while not sleeper.watcher.get_state(sleeper.job_id, mode="force").startswith("CANCELLED"):
    time.sleep(1)
print(sleeper.job_id)
"""


@long
def test_submitit(people: People, tools: str) -> None:
    variables = f"PYTHONPATH={tools}:$PYTHONPATH {SMALL} EF_SBATCH_THROUGHPUT=1:1"
    done = people.type(f"{FRONT}; {variables} python3 -", stdin=SUBMITIT, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = done.stdout.splitlines()
    job, result = first.split()
    assert result == "5"
    wait_until("it has ended", lambda: people.queue()[int(job)]["state"] == "completed")
    assert people.queue()[int(job)]["promise_outcome"] == "kept"
    cancelled = lambda: people.queue()[int(second)]["state"] == "cancelled"  # noqa: E731
    wait_until("the other one is cancelled", cancelled)


HYDRA = """
import time
import hydra

@hydra.main(version_base=None, config_path=None)
def main(settings):
    time.sleep(settings.seconds)
    return 7

main()
"""


@long
def test_hydra(people: People, tools: str) -> None:
    launcher = "hydra/launcher=submitit_slurm " + " ".join(
        f"hydra.launcher.{word}"
        for word in ("partition=ef", "timeout_min=10", "gpus_per_node=1", "cpus_per_task=1")
    )
    variables = f"PYTHONPATH={tools}:$PYTHONPATH {SMALL} EF_SBATCH_THROUGHPUT=1:1"
    place = "mkdir -p ~/hydra && cd ~/hydra"
    people.type(f"{place} && cat > app.py", stdin=HYDRA)
    app = f"{variables} python3 app.py -m {launcher}"
    done = people.type(f"{FRONT}; {place}; {app} +seconds=1", timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = [id for id, one in people.queue().items() if one["state"] == "completed"][-1:]
    assert people.queue()[job]["name"] == "app"
    # Who cancels the job, ends the app that waits for it.
    sleeping = (
        f"{FRONT}; {place}; {app} +seconds=600 & until squeue -h --me -t R | grep -q app; do "
        "sleep 1; done; scancel --me; wait $!"
    )
    ended = people.cluster.run(sleeping, user="user1", on="login", timeout=200, check=False)
    assert ended.returncode != 0
    assert people.queue("") == {}


SNAKEFILE = """
rule train:
    output: "trained-{seconds}.txt"
    resources:
        slurm_partition="ef", runtime=10, mem_mb=1000, gpu=1,
        slurm_extra="--deadline=+20m --iterations=1 --global-batch-size=1 --throughput=1:1"
    shell: "sleep {wildcards.seconds}; echo $SLURMD_NODENAME > {output}"
"""


@long
def test_snakemake(people: People, tools: str) -> None:
    place = "mkdir -p ~/flow && cd ~/flow"
    people.type(f"{place} && cat > Snakefile", stdin=SNAKEFILE)
    snakemake = (
        f"PYTHONPATH={tools}:$PYTHONPATH python3 -m snakemake --executor slurm --jobs 2 "
        "--latency-wait=20 --slurm-init-seconds-before-status-checks=5 --cores=1"
    )
    done = people.type(f"{FRONT}; {place}; {snakemake} trained-1.txt", timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert people.cluster.output("cat ~/flow/trained-1.txt", user="user1").startswith("n")
    kept = [one["promise_outcome"] for one in people.queue().values()]
    assert "kept" in kept
    interrupted = (
        f"set -m; {FRONT}; {place}; {snakemake} trained-600.txt & "
        "until squeue -h --me -t R | grep -q .; do sleep 1; done; kill -INT $!; wait $!"
    )
    ended = people.cluster.run(interrupted, user="user1", on="login", timeout=240, check=False)
    assert ended.returncode != 0
    wait_until("its job is cancelled", lambda: people.queue("") == {}, timeout=60)


@pytest.mark.skipif(not os.environ.get("EF_LONG"), reason="a minute of torch: EF_LONG=1")
def test_the_examples_train(people: People) -> None:
    """docs/examples, as their owner submits them: two GPUs each, at once."""
    jobs = {}
    for name in ("nanogpt", "image_classification", "mingpt_ddp"):
        options = f"--deadline=+20m --throughput=1:1,2:2 --max-gpus=2 --output={name}.log"
        done = people.type(f"ef-sbatch --parsable {options} CHECKOUT/docs/examples/{name}.py")
        assert done.returncode == 0, done.stderr
        jobs[name] = int(done.stdout)
    wait_until("all have ended", lambda: not people.queue(""), timeout=300)
    for name, job in jobs.items():
        log = people.cluster.output(f"cat ~/{name}.log", user="user1")
        assert people.queue()[job]["state"] == "completed", log
        assert log.count("final: ") == 1, log
