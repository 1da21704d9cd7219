"""A job after its submission, as its owner types it: changed, held, released, gone on from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.test_cli import COMMAND, LONG, People

pytestmark = pytest.mark.cluster


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


def state(people: People, job: int) -> str:
    return str(people.queue()[job]["state"])


def until(people: People, job: int, wanted: str) -> None:
    wait_until(f"job {job} is {wanted}", lambda: state(people, job) == wanted, timeout=120)


def trained(people: People, job: int, more_than: float = 0.0) -> float:
    wait_until("it trains", lambda: people.queue()[job]["iteration"] > more_than, timeout=60)
    return float(people.queue()[job]["iteration"])


def test_a_running_job_is_changed(people: People) -> None:
    job = people.submit(LONG)
    until(people, job, "running")
    before = people.queue()[job]
    later = people.type(f"ef-scontrol update {job} deadline=+3h")
    assert later.returncode == 0, later.stderr
    assert "deadline from " in later.stdout
    assert people.queue()[job]["deadline"] > before["deadline"] + 3600
    # Too early: nothing changes, and what is offered instead can be pasted.
    refused = people.type(f"ef-scontrol update {job} deadline=+30s")
    assert refused.returncode == 3
    assert people.queue()[job]["deadline"] > before["deadline"] + 3600
    assert people.queue()[job]["promise_outcome"] == "open"
    offer = refused.stderr.splitlines()[-1].strip()
    assert offer.startswith(f"ef-scontrol update {job} deadline=")
    taken = people.type(offer)
    assert taken.returncode == 0, taken.stderr
    assert "promised: " in taken.stdout
    assert people.queue()[job]["deadline"] < before["deadline"]
    # Nobody else's business.
    other = people.type(f"ef-scontrol update {job} deadline=+4h", user="user2")
    assert other.returncode == 5, other.stderr
    done = trained(people, job)
    enough = int(done) + 1500
    fewer = people.type(f"ef-scontrol update {job} iterations={enough} deadline=+20m --json")
    assert json.loads(fewer.stdout)["jobs"][0]["outcome"] == "done", fewer.stderr
    until(people, job, "completed")
    after = people.queue()[job]
    assert (after["iteration"], after["promise_outcome"]) == (enough, "kept")
    told = people.type(f"ef-squeue --explain {job}").stdout
    assert "changed by user1: deadline from " in told.replace("Changed", "changed")
    ended = people.type(f"ef-scontrol update {job} deadline=+1h")
    assert (ended.returncode, f"--continue={job}" in ended.stderr) == (2, True)


def test_held_released_requeued_and_gone_on_from(people: People) -> None:
    job = people.submit(LONG)
    done = trained(people, job)
    held = people.type(f"ef-scontrol hold {job}")
    assert held.returncode == 0, held.stderr
    assert state(people, job) == "held"
    pending = lambda: people.cluster.output(f"squeue -h -j {job} -o %T").split() == ["PENDING"]  # noqa: E731
    wait_until("it has left its GPUs", pending, timeout=60)
    assert people.queue()[job]["promise_outcome"] == "void"
    # Plain scontrol says the same.
    assert people.type(f"scontrol release {job}").returncode == 0
    until(people, job, "running")
    assert people.queue()[job]["promise_outcome"] == "open"
    done = trained(people, job, done)
    assert people.type(f"scontrol hold {job}").returncode == 0
    until(people, job, "held")
    wait_until("it has left its GPUs", pending, timeout=60)
    limit = people.type(f"scontrol update jobid={job} TimeLimit=10")
    assert limit.returncode != 0
    assert people.type(f"ef-scontrol release {job}").returncode == 0
    until(people, job, "running")
    starts = people.queue()[job]["generation"]
    assert people.type(f"ef-scontrol requeue {job}").returncode == 0
    wait_until("it is started anew", lambda: people.queue()[job]["generation"] > starts, timeout=90)
    done = trained(people, job, done)
    shown = people.type(f"ef-scontrol show job {job}").stdout
    assert shown.startswith(f"JobId={job} ")
    assert re.search(rf"^   StdOut=/\S*{job}\S*$", shown, re.M), shown
    assert people.type(f"ef-scancel {job}").returncode == 0
    # From its last checkpoint, with what it was given.
    enough = int(done) + 1800  # twenty seconds on all GPUs
    gone_on = people.type(
        f"ef-sbatch --parsable --continue={job} --deadline=+30m --iterations={enough}"
    )
    assert gone_on.returncode == 0, gone_on.stderr
    assert "Goes on from iteration " in gone_on.stderr
    second = int(gone_on.stdout)
    assert people.queue()[second]["state_dir"] != people.queue()[job]["state_dir"]
    first = trained(people, second, done - 1)
    live = people.type(f"ef-sbatch --continue={second} --deadline=+30m {COMMAND}")
    assert (live.returncode, f"job {second} is " in live.stderr) == (2, True)
    assert first >= done
    until(people, second, "completed")
    assert people.queue()[second]["promise_outcome"] == "kept"
