"""Jobs that wait for a moment or for one another, and arrays, on a real Slurm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.test_cli import COMMAND, PACER, RATES, People

pytestmark = pytest.mark.cluster

TRAINING = f"--global-batch-size=32 --throughput={RATES}"
SHORT = f"--iterations=150 {TRAINING}"


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
    wait_until("no active job", lambda: not site.queue(""), timeout=60)


def until(people: People, job: int, wanted: str) -> None:
    wait_until(
        f"job {job} is {wanted}", lambda: people.queue()[job]["state"] == wanted, timeout=150
    )


def shown(people: People, options: str = "") -> dict[str, str]:
    """What ef-squeue calls the jobs, and where they are or why not."""
    lines = people.type(f"ef-squeue -h -o '%i %R' {options}").stdout.splitlines()
    return {line.split()[0]: line.partition(" ")[2].strip() for line in lines}


def test_a_pipeline_of_deadlines_with_a_begin(people: People) -> None:
    """The daemon is killed while all of them wait; each starts when it may, and none before."""
    first = people.submit(f"--begin=now+10minutes --deadline=+15m {SHORT}")
    second = people.submit(f"--dependency=afterok:{first} --deadline=+30m {SHORT}")
    either = f"--dependency=afternotok:{first}?singleton"
    third = people.submit(f"{either} --job-name=other --best-effort {SHORT}")
    never = people.type(
        f"ef-sbatch --parsable --dependency=afternotok:{second} --kill-on-invalid-dep=yes "
        f"--deadline=+60m {SHORT} {COMMAND}"
    )
    assert (never.returncode, "Not judged yet" in never.stderr) == (0, True), never.stderr
    waiting = shown(people)
    assert "BeginTime" in waiting[str(first)]
    assert "Dependency" in waiting[str(second)]
    assert "Dependency" in waiting[never.stdout.strip()]
    unknown = people.type(f"ef-sbatch --dependency=afterok:99999 --deadline=+1h {SHORT} {COMMAND}")
    assert (unknown.returncode, "job 99999 is not known" in unknown.stderr) == (2, True)
    refused = people.type(
        f"ef-sbatch --test-only --dependency=afterok:{first} --deadline=+14m {SHORT} {COMMAND}"
    )
    assert (refused.returncode, "Dependency" in refused.stdout) == (3, True), refused.stdout
    sooner = people.type(f"ef-scontrol update {first} begin=now+20")
    assert (sooner.returncode, "begin from " in sooner.stdout) == (0, True), sooner.stderr
    begin = int(people.queue()[first]["begin"])  # Slurm tells starts and ends in whole seconds
    people.site.stop("KILL")
    people.site.start()
    until(people, second, "completed")
    jobs = people.queue()
    assert jobs[first]["started"] >= begin
    assert jobs[second]["started"] >= jobs[first]["ended"]
    assert jobs[second]["ended"] < jobs[first]["deadline"]  # it did not wait for that
    assert [jobs[job]["promise_outcome"] for job in (first, second)] == ["kept", "kept"]
    until(people, third, "completed")
    until(people, int(never.stdout), "cancelled")
    told = people.type(f"ef-squeue --explain {never.stdout.strip()}").stdout
    assert "can never be" in told
    wait_until("it is gone from Slurm", lambda: not people.slurm_jobs(), timeout=60)


def test_an_array_with_two_at_once(people: People) -> None:
    script = (
        "#!/bin/bash\n"
        f"#SBATCH --array=1-5:2%2 -o {people.site.jobs_dir}/array-%A_%a.log -J arr\n"
        f"#EF --deadline=+20m --max-gpus=1 --iterations=250 {TRAINING}\n"
        "echo task $SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_JOB_ID, $SLURM_ARRAY_TASK_MIN to "
        "$SLURM_ARRAY_TASK_MAX, $SLURM_ARRAY_TASK_COUNT in all\n"
        f"exec python3 {PACER}\n"
    )
    done = people.type("ef-sbatch", stdin=script.replace("CHECKOUT", people.site.paths["checkout"]))
    assert done.returncode == 0, done.stderr
    first, summary, *lines = done.stdout.splitlines()
    name = int(first.removeprefix("Submitted batch job "))
    assert summary == f"{name}_[1-5:2%2]: 3 promised"
    assert [line.split()[0] for line in lines] == [f"{name}_{task}" for task in (1, 3, 5)]
    each = shown(people, "--array")
    assert list(each) == [f"{name}_{task}" for task in (1, 3, 5)]
    wait_until(
        "one line stands for two",
        lambda: any(one.startswith(f"{name}_[") for one in shown(people)),
        timeout=60,
    )
    ids = sorted(people.queue(f"-j {name}"))
    assert (ids[0], len(ids)) == (name, 3)
    assert f"ArrayJobId={name}_5 " in people.type(f"ef-scontrol show {name}_5").stdout
    wait_until("the third runs", lambda: people.queue()[ids[2]]["started"], timeout=150)
    jobs = people.queue()
    ended = [jobs[job]["ended"] for job in ids[:2] if jobs[job]["ended"] is not None]
    assert jobs[ids[2]]["started"] >= min(ended)  # never three at once
    cancelled = people.type(f"ef-scancel {name}_[5]")
    assert cancelled.returncode == 0, cancelled.stderr
    until(people, ids[1], "completed")
    log = people.cluster.output(f"cat {people.site.jobs_dir}/array-{name}_3.log")
    assert f"task 3 of {name}, 1 to 5, 3 in all" in log
