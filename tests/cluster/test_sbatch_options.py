"""sbatch's options of an ordinary script, and restrictions of nodes, on a real Slurm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.test_cli import COMMAND, LONG, RATES, People

pytestmark = pytest.mark.cluster

ORDINARY = """#!/bin/bash
#SBATCH --job-name=ordinary
#SBATCH --nodes=1 --ntasks-per-node=1 --gres=gpu:2
#SBATCH --cpus-per-task=8 --mem=4G
#SBATCH --constraint=ib --exclude=n1 --open-mode=append
#SBATCH --cpu-freq=low --gpu-freq=low --mem-bind=local --nice=10 --export=ALL --propagate=NONE
#SBATCH --acctg-freq=30 --delay-boot=1 --wait-all-nodes=0 --gres-flags=enforce-binding
#SBATCH --distribution=block --gpu-bind=single:1 --ntasks-per-core=1 --ignore-pbs
#EF --deadline=+20m --iterations=0.2k --global-batch-size=32
exec "$@"
"""
# What it starts outlives no signal, and is started again.
PATIENT = """#!/bin/bash
#EF --best-effort --max-gpus=1 --iterations=9k --global-batch-size=32
trap 'echo warned >"$EF_STATE_DIR/warned"' USR1
while :; do sleep 1; done
"""


@pytest.fixture(scope="module")
def site(running_cluster: MiniSlurm) -> Iterator[People]:
    """A site on which n1 and n2 have a feature."""
    people = People(running_cluster)
    people.site.stop("KILL")
    people.site.prepare()
    people.cluster.run("scontrol update nodename=n[1-2] features=ib")
    people.site.start()
    yield people
    people.site.stop()
    for kind in ("activefeatures", "availablefeatures"):
        people.cluster.run(f"scontrol update nodename=n[1-2] {kind}=")


@pytest.fixture
def people(site: People) -> Iterator[People]:
    yield site
    site.cluster.output("squeue -h -o %A | xargs --no-run-if-empty scancel")
    site.cluster.heal()
    wait_until("no active job", lambda: not site.queue(""), timeout=60)


def nodes_of(people: People, job: int) -> set[str]:
    """The nodes that Slurm has given it; none while it waits."""
    shown = people.cluster.output(f"squeue -h -j {job} -t running -o %N").strip()
    if not shown:
        return set()
    return set(people.cluster.output(f"scontrol show hostnames {shown}").split())


def test_an_ordinary_script_and_restrictions_at_every_size(people: People) -> None:
    """Beside jobs that are warned before their time limit, which takes Slurm up to a minute."""
    patient = [
        int(done.stdout)
        for signal, node in (("USR1@30", "n3"), ("B:USR1@30", "n4"))
        for done in [
            people.type(
                f"ef-sbatch --parsable --time=1 --signal={signal} --nodelist={node} "
                f"--throughput={RATES}",
                stdin=PATIENT,
            )
        ]
    ]
    ordinary(people)
    restricted(people)
    for job in patient:
        shown = people.queue()[job]
        warned = people.cluster.run(f"test -e {shown['state_dir']}/warned", check=False)
        assert warned.returncode == 0, people.type(f"ef-squeue --explain {job}").stdout
        # Neither has the signal ended it, nor anything of ours.
        assert shown["generation"] == 1


def ordinary(people: People) -> None:
    """Every line of it counts, and what was made of it is told."""
    people.cluster.output("cat >/tmp/ordinary.sh", user="user1", on="login", stdin=ORDINARY)
    done = people.type(f"ef-sbatch --throughput={RATES} /tmp/ordinary.sh {COMMAND}")
    assert done.returncode == 0, done.stderr
    for note in (
        "--nodes=1 --gres=gpu:2: at most 2 GPUs; --max-gpus=N sets another bound",
        "--cpus-per-task=8 --nodes=1 --gres=gpu:2 --ntasks-per-node=1: 4 CPUs with each GPU",
        "--mem=4G --nodes=1 --gres=gpu:2 --ntasks-per-node=1: 2048 MiB with each GPU",
        "/tmp/ordinary.sh:8: --ignore-pbs has no effect: ef-sbatch reads no #PBS lines",
    ):
        assert note in done.stderr.splitlines()
    job = int(done.stdout.splitlines()[0].split()[-1])
    wait_until("it runs", lambda: nodes_of(people, job), timeout=90)
    assert nodes_of(people, job) == {"n2"}
    shown = people.cluster.job(job)
    assert (shown["Features"], shown["ExcNodeList"], shown["NumCPUs"]) == ("ib", "n1", "8")
    wait_until("it is done", lambda: people.queue()[job]["state"] == "completed", timeout=120)
    assert people.queue()[job]["promise_outcome"] == "kept"


def restricted(people: People) -> None:
    """A job with a feature, one that is kept to a node of it, and who is told why they are not."""
    roomy = people.submit(f"{LONG} --constraint=ib")
    seen: set[str] = set()

    def grown() -> bool:
        nodes = nodes_of(people, roomy)
        seen.update(nodes)
        return people.queue()[roomy]["share"] == 8 and len(nodes) == 2

    wait_until("it has all nodes with the feature", grown, timeout=120)
    # Only four GPUs do, and of its node; others would do as well.
    only = f"--global-batch-size=32 --throughput={RATES} --nodelist=n1"
    hurried = people.submit(f"--deadline=+75s --iterations=1100 {only}")

    def both_run() -> bool:
        nodes = nodes_of(people, roomy)
        seen.update(nodes)
        return nodes_of(people, hurried) == {"n1"} and nodes == {"n2"}

    wait_until("both run, each on a node of its own", both_run, timeout=60)
    assert people.cluster.job(hurried)["ExcNodeList"] == "n[2-4]"
    for wanted, why in (
        ("--deadline=+60s --iterations=2500", "not even all nodes that it may have finish it by"),
        ("--deadline=+70s --iterations=1500", "the nodes that it may have are promised to others"),
    ):
        late = people.type(f"ef-sbatch --test-only {only} {wanted} {COMMAND}")
        assert late.returncode == 3
        assert why in late.stdout
        assert ("--if-infeasible=wait" in late.stdout) is ("promised" in why)
    wait_until("it is done", lambda: people.queue()[hurried]["state"] == "completed", timeout=120)
    assert people.queue()[hurried]["promise_outcome"] == "kept"
    wait_until("the other has grown again", grown, timeout=120)
    assert seen == {"n1", "n2"}


def test_what_is_wrong_is_told_at_once(people: People) -> None:
    done = people.type(
        "ef-sbatch --nodes=none --constraint=nowhere --exclude=n9 --nodelist=n[1 --account=a "
        "--gpu-type=none --cpus-per-gpu=1000 train.py"
    )
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert all(line.startswith("ef-sbatch: error: ") for line in told)
    for words in (
        "when must it be finished?",
        "unable to open file train.py",
        "--nodes: 'none' is no number of nodes",
        "has the feature 'nowhere' now; it has ib",
        "--exclude: Slurm has no node n9",
        "--nodelist: ",
        "--gpu-type",
    ):
        assert any(words in line for line in told), done.stderr
    small = people.type(f"ef-sbatch --tmp=1 {LONG} {COMMAND}")
    assert (small.returncode, "--tmp=1M (the most that a node has is 0M)" in small.stderr) == (
        2,
        True,
    )
    for option in ("--account=nobodys", "--qos=none"):
        bad = people.type(f"ef-sbatch --test-only {option} {LONG} {COMMAND}")
        assert bad.returncode == 1, bad.stdout
        assert "Invalid" in bad.stderr
