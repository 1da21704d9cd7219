"""A newcomer's walk through the README's installation of a service, word by word.

On the host of slurmctld, from which everything that makes a service was taken away first; it ends
with another user's job promised and done. The mini-Slurm is given back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mini.client import CHECKOUT, MiniSlurm, wait_until
from mini.site import Site

pytestmark = pytest.mark.cluster

PACER = "python3 CHECKOUT/tests/cluster/daemon_pacer.py --rates 1:10,2:18,4:32,8:56,16:90"
JOB = (
    "--iterations=100 --global-batch-size=32 --deadline=+30m --throughput=1:10,2:18,4:32,8:56,16:90"
)

# What a site has that has never heard of ef-slurm.
TAKE_AWAY = """
set -e
cp -a /etc/slurm/slurm.conf /etc/slurm/job_submit.lua /var/lib/minislurm/
rm -f /etc/slurm/job_submit.lua
sed -i '/^PartitionName=ef /d; /^JobSubmitPlugins=/d' /etc/slurm/slurm.conf
sed -i '/^AccountingStoreFlags=/d' /etc/slurm/slurm.conf
rm -rf /etc/ef-slurm /etc/systemd/system/ef-schedd.service* /shared/ef-slurm /var/lib/ef-slurm/*
sacctmgr -iQ delete user ef-slurm
sacctmgr -iQ delete account ef
scontrol reconfigure
"""
GIVE_BACK = """
systemctl stop ef-schedd
rm -rf /etc/ef-slurm /etc/systemd/system/ef-schedd.service* /etc/slurm/*.before-ef-slurm-*
cp -a /var/lib/minislurm/slurm.conf /var/lib/minislurm/job_submit.lua /etc/slurm/
sacctmgr -iQ delete user ef-slurm
sacctmgr -iQ delete account ef-slurm
sacctmgr -iQ add account ef Description=ef Organization=minislurm
sacctmgr -iQ add user ef-slurm account=ef AdminLevel=Operator
scontrol reconfigure
"""


def blocks() -> tuple[list[str], list[str]]:
    """The README's commands on the daemon's host, and on a login host."""
    text = (Path(CHECKOUT) / "README.md").read_text(encoding="utf-8")
    part = text.partition("*A site*")[2].partition("**What would it have done here?**")[0]
    found = [block.splitlines() for block in re.findall(r"```sh\n(.*?)```", part, re.S)]
    daemons, login = found
    return daemons, login


@pytest.fixture
def bare(running_cluster: MiniSlurm) -> Iterator[MiniSlurm]:
    """A cluster without a service, its Slurm without what a service needs."""
    if running_cluster.engine == "native":
        pytest.skip("the native engine's hosts are this machine, whose /etc is not the cluster's")
    if not running_cluster.accounting:
        pytest.skip("without accounting there are no operators")

    def shell(command: str, *, user: str = "", on: str = "", stdin: str | None = None) -> str:
        return running_cluster.output(command, user=user or "root", on=on or "ctl", stdin=stdin)

    Site(shell).stop("KILL")
    running_cluster.heal()
    running_cluster.run(TAKE_AWAY, on="ctl")
    running_cluster.run("rm -rf /etc/ef-slurm /shared/home/*/.config/ef-slurm")
    slurm_answers(running_cluster)
    try:
        yield running_cluster
    finally:
        running_cluster.heal()
        running_cluster.run(GIVE_BACK, on="ctl", check=False)
        running_cluster.run("rm -rf /etc/ef-slurm")
        slurm_answers(running_cluster)


def slurm_answers(cluster: MiniSlurm) -> None:
    """After a reconfiguration slurmctld is away for a moment."""
    wait_until("slurmctld", lambda: "is UP" in cluster.output("scontrol ping || true"))
    for node in cluster.node_names:
        cluster.wait_for_node(node, "idle")


def type_as(
    cluster: MiniSlurm, command: str, *, user: str = "root", on: str = "login"
) -> tuple[int, str]:
    """What somebody types, and sees; never a traceback."""
    words = command.replace("CHECKOUT", cluster.checkout)
    done = cluster.run(words, user=user, on=on, check=False, timeout=400)
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    return done.returncode, said


def an_older_plugin_is_renewed(bare: MiniSlurm, setup: str) -> None:
    """As after an upgrade: no package touches Slurm's files."""
    place = bare.output("scontrol show config | sed -n 's/^SLURM_CONF *= //p'", on="ctl").strip()
    plugin = f"{place.rpartition('/')[0]}/job_submit.lua"
    before = bare.output(f"cat {plugin}", on="ctl")
    older = '/^local REVISION = /d; s/; job_submit.lua " .. REVISION .. "//'
    bare.run(f"sed -i '{older}' {plugin}", on="ctl")
    assert bare.output(f"cat {plugin}", on="ctl") != before
    code, said = type_as(bare, "ef-schedd check", on="ctl")
    assert (code, "it is an older release's" in said) == (0, True), said
    code, said = type_as(bare, setup, on="ctl")
    assert (code, f"change {plugin}" in said) == (0, True), said
    assert bare.output(f"cat {plugin}", on="ctl") == before
    slurm_answers(bare)
    code, said = type_as(bare, "ef-schedd check", on="ctl")
    assert (code, "older release" in said) == (0, False), said


def test_the_walk(bare: MiniSlurm) -> None:
    daemons, login = blocks()
    code, said = type_as(bare, "ef-schedd check", on="ctl")
    assert code == 1, said

    told = {}
    for command in daemons:
        code, said = type_as(bare, command.replace("alice", "user2"), on="ctl")
        assert code == 0, f"{command}: {said}"
        told[command] = said
        if command == "scontrol reconfigure":
            slurm_answers(bare)
        if "--dry-run" in command:
            assert "Nothing was done" in said
            assert "+PartitionName=ef Nodes=n[1-" in said, said
            assert bare.run("test -e /etc/ef-slurm", on="ctl", check=False).returncode == 1
    again = next(command for command in daemons if "--yes" in command)
    code, said = type_as(bare, again, on="ctl")
    assert (code, "Nothing to do" in said) == (0, True), said
    said = next(told[command] for command in daemons if "--try" in command)
    assert "ERROR" not in said
    assert "WARNING" not in said, said
    for step in (
        "ef-slurm may update, hold, release, requeue and cancel a job of user2's",
        "of user2 is in Slurm, held, and promised",
        "the daemon reads what it reports from its node",
        "orders reach it on its node",
        "complete, promise kept",
    ):
        assert step in said, said
    assert bare.output("ls /shared/ef-slurm/jobs") == ""
    assert bare.output("squeue -h") == ""

    an_older_plugin_is_renewed(bare, again)

    for command in login:
        code, said = type_as(bare, command)
        assert code == 0, f"{command}: {said}"
    code, said = type_as(bare, "ef-schedd check", user="user1")
    assert code == 0, said
    code, said = type_as(bare, f"ef-sbatch --wait {JOB} {PACER}", user="user1")
    assert code == 0, said
    assert "Promised" in said
    assert "KEPT" in bare.output("ef-squeue -a", user="user1")
