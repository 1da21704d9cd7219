"""What is seen and told of a job from outside: its comment in squeue and sacct, and its notices."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.test_cli import RATES, People

pytestmark = pytest.mark.cluster

JOB = f"--deadline=+30m --iterations=2500 --global-batch-size=32 --throughput={RATES}"
WORDS = "run 3 = a, b; c"


@pytest.fixture
def people(running_cluster: MiniSlurm) -> Iterator[People]:
    """A site whose own command gets the notices, in a file."""
    people = People(running_cluster)
    people.site.stop("KILL")
    people.site.prepare()
    path = f"{people.site.paths['ef_lib']}/notify"
    program = shlex.quote(path)
    people.cluster.output(
        f"cat > {program} && chmod 0755 {program} && rm -f {program}.told",
        user="ef-slurm",
        on="ctl",
        stdin='#!/bin/sh\ntest $# = 1 && cat >> "$0.told"\n',
    )
    people.cluster.output(
        "cat >> ~/.config/ef-slurm/ef-slurm.toml",
        user="ef-slurm",
        on="ctl",
        stdin=f'[notify]\nby = "command"\ncommand = ["{path}", "x"]\n',
    )
    people.site.start()
    yield people
    people.site.stop()
    people.cluster.output("squeue -h -o %A | xargs --no-run-if-empty scancel")
    people.site.prepare()


def told(people: People) -> list[str]:
    file = shlex.quote(f"{people.site.paths['ef_lib']}/notify.told")
    text = people.cluster.output(f"cat {file} 2>/dev/null || true", user="root", on="ctl")
    return [json.loads(line)["kind"] for line in text.splitlines()]


def shown(people: People, job: int) -> str:
    return people.cluster.output(f"squeue -h -j {job} -o %k").strip()


def recorded(people: People, job: int) -> str:
    return people.cluster.output(f"sacct -X -n -P -j {job} -o comment").strip()


def test_a_comment_and_notices_in_the_life_of_a_job(people: People) -> None:
    job = people.submit(f"{JOB} --comment={shlex.quote(WORDS)} --mail-type=ALL")
    wait_until("it is promised", lambda: shown(people, job).endswith(" promised"), timeout=60)
    assert shown(people, job).startswith(f"{WORDS}; ef-slurm: deadline 2")
    promised = shown(people, job)
    wait_until("it trains", lambda: people.queue()[job]["iteration"] > 0, timeout=90)
    starts = people.queue()[job]["generation"]
    again = people.type(f"ef-scontrol requeue {job}")
    assert again.returncode == 0, again.stderr
    wait_until("it is started anew", lambda: people.queue()[job]["generation"] > starts, timeout=90)
    assert shown(people, job) == promised
    wait_until("it is complete", lambda: people.queue()[job]["state"] == "completed", timeout=180)
    assert people.queue()[job]["promise_outcome"] == "kept"
    wait_until("its owner is told", lambda: {"KEPT", "END"} <= set(told(people)), timeout=60)
    assert sorted(told(people)) == ["BEGIN", "END", "KEPT", "PROMISED"]
    wait_until("sacct has it too", lambda: recorded(people, job) == promised, timeout=60)
    checked = people.cluster.run(
        "ef-schedd check", user="ef-slurm", on="ctl", timeout=120, check=False
    )
    assert "by the command" in checked.stdout
