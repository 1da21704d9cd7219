"""Clusters come, live side by side, and leave nothing behind."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mini.client import CHECKOUT, MiniSlurm, minislurm

pytestmark = pytest.mark.cluster

UP_TIMEOUT_SECONDS = 900
SUITES = os.environ.get("MINISLURM_SUITES", "").split()


@pytest.fixture
def other_name() -> Iterator[str]:
    """A name for a second cluster, which is gone afterwards."""
    name = f"other-{os.getpid()}"
    yield name
    minislurm("down", "--name", name)


def up(name: str, *options: str) -> tuple[MiniSlurm, str]:
    started = minislurm("up", "--name", name, *options, timeout=UP_TIMEOUT_SECONDS)
    assert started.returncode == 0, started.stderr
    cluster = MiniSlurm.named(name)
    assert cluster is not None
    return cluster, started.stderr


def live_processes_with(text: str) -> list[str]:
    """Command lines and environments of processes (zombies have neither) that mention a text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in words:
            found.append(words.decode(errors="replace"))
    return found


def test_two_clusters_live_side_by_side_and_one_leaves_nothing_behind(
    cluster: MiniSlurm, other_name: str
) -> None:
    options = ["--engine", cluster.engine, "--nodes", "2", "--gpus-per-node", "2"]
    if cluster.engine == "docker":
        options += ["--suite", cluster.suite]
    other, progress = up(other_name, *options)
    assert re.search(rf"{other_name} is up after [\d.]+ s", progress)
    assert other.node_states() == {"n1": "idle", "n2": "idle"}
    assert set(cluster.node_states()) == set(cluster.node_names)

    refused = minislurm("up", "--name", other_name)
    assert refused.returncode == 2
    assert f"a mini-Slurm named '{other_name}' exists already" in refused.stderr

    # The same id on both, and each knows its own.
    mine, theirs = (c.sbatch("--gres=gpu:1", script="sleep 300") for c in (cluster, other))
    cluster.wait_for_state(mine, "RUNNING")
    other.wait_for_state(theirs, "RUNNING")
    for host in ("n1", "n2"):
        other.run("setsid sleep 12345 >/dev/null 2>&1 < /dev/null &", on=host, user="user1")

    ended = minislurm("down", "--name", other_name)
    assert ended.returncode == 0, ended.stderr
    assert cluster.job_state(mine) == "RUNNING"
    assert MiniSlurm.named(other_name) is None
    assert live_processes_with(other_name) == []
    if cluster.engine == "docker":
        assert other_name not in docker_things(cluster)
    else:
        assert other_name not in Path("/etc/hosts").read_text()
    again = minislurm("down", "--name", other_name)
    assert again.returncode == 2


def docker_things(cluster: MiniSlurm) -> str:
    """Names of all containers, networks and volumes of the engine."""
    host = {"DOCKER_HOST": cluster.docker_host} if cluster.docker_host else {}
    commands = (
        ["ps", "--all", "--format", "{{.Names}}"],
        ["network", "ls", "--format", "{{.Name}}"],
        ["volume", "ls", "--format", "{{.Name}}"],
    )
    return "".join(
        subprocess.run(
            ["docker", *words], env=os.environ | host, capture_output=True, text=True, check=True
        ).stdout
        for words in commands
    )


def test_a_cluster_that_cannot_start_leaves_nothing_behind(
    cluster: MiniSlurm, other_name: str, tmp_path: Path
) -> None:
    """slurmctld refuses its configuration: the log is shown and all is taken down again."""
    for part in ("docker", "ef_slurm", "site-config", "templates", "tests"):
        shutil.copytree(CHECKOUT / part, tmp_path / part)
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    conf = tmp_path / "docker" / "slurm" / "slurm.conf"
    conf.write_text(conf.read_text().replace("select/cons_tres", "select/none_such"))
    program = str(tmp_path / "docker" / "minislurm")
    options = ["--name", other_name, "--engine", cluster.engine, "--nodes=1"]
    started = subprocess.run(
        [sys.executable, program, "up", *options],
        capture_output=True,
        text=True,
        timeout=UP_TIMEOUT_SECONDS,
        check=False,
    )
    assert started.returncode == 2
    last = started.stderr.splitlines()[-1]
    assert last.startswith("minislurm: error: waiting for ")
    assert re.search(r"(slurmctld on ctl|slurmd on n1) ended with", last)
    assert MiniSlurm.named(other_name) is None
    assert live_processes_with(other_name) == []
    if cluster.engine == "docker":
        assert other_name not in docker_things(cluster)


@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
def test_every_suite_comes_up_and_runs_a_job(suite: str, other_name: str) -> None:
    """Minutes for each image that is not there yet: only those in MINISLURM_SUITES."""
    if suite not in SUITES:
        pytest.skip(f"set MINISLURM_SUITES={suite} to try it")
    cluster, progress = up(other_name, "--engine", "docker", "--suite", suite)
    job = cluster.sbatch("--nodes=2", "--gres=gpu:2", script="srun hostname")
    assert cluster.wait_for_end(job) == "COMPLETED"
    output = cluster.read(f"{cluster.home('user1')}/slurm-{job}.out")
    assert sorted(output.split()) == ["n1", "n2"]
    if not cluster.accounting:
        assert "without accounting" in progress
