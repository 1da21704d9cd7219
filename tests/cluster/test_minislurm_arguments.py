"""What `docker/minislurm` says to input that cannot work: one line, exit code 2, nothing left."""

import os
import subprocess
from pathlib import Path

import pytest
from mini.client import minislurm


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A state directory of our own and no Docker client, so that nothing can be started."""
    return {
        "PATH": str(tmp_path / "bin"),
        "HOME": str(tmp_path),
        "MINISLURM_STATE": str(tmp_path / "state"),
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["up", "--suite", "jessie"], "choose one of bookworm, trixie, sid"),
        (["up", "--nodes", "0"], "--nodes 0: a mini-Slurm has 1 to 64 nodes"),
        (["up", "--nodes", "65"], "--nodes 65: a mini-Slurm has 1 to 64 nodes"),
        (["up", "--gpus-per-node", "3"], "--gpus-per-node 3: must be a power of two"),
        (["up", "--gpus-per-node", "0"], "--gpus-per-node 0: must be a power of two"),
        (["up", "--variant", "big"], "--variant 'big' is unknown: choose of memory, mixed-gpus"),
        (["up", "--variant=mig-names,mixed-gpus"], "mixed-gpus,mig-names needs 5"),
        (["up", "--name", "Big One"], "--name 'Big One': a name is"),
        (["up", "--name", "../up"], "--name '../up': a name is"),
        (["test", "--nodes", "-1"], "--nodes -1: a mini-Slurm has 1 to 64 nodes"),
        (["demo", "--nodes", "1"], "--nodes 1: the demo needs two"),
        (["packages", "--output", "/proc/dist"], "--output /proc/dist: cannot be written: No such"),
        (["packages", "--output", "/dev/null"], "--output /dev/null: cannot be written: File ex"),
        (["down", "--name", "nobody"], "no mini-Slurm named 'nobody' is up: start it with"),
        (["exec", "--name", "nobody", "--", "true"], "no mini-Slurm named 'nobody' is up"),
        (["exec"], "exec: no command"),
        (["logs", "--name", "nobody"], "no mini-Slurm named 'nobody' is up"),
        (["kill", "--name", "nobody", "n1"], "no mini-Slurm named 'nobody' is up"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], expected: str, environment: dict[str, str], tmp_path: Path
) -> None:
    result = minislurm(*arguments, env=environment)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("minislurm: error: ")
    assert expected in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "state").exists()


def test_suite_may_come_from_the_environment(environment: dict[str, str]) -> None:
    result = minislurm("up", env=environment | {"SUITE": "potato"})
    assert result.returncode == 2
    assert "--suite 'potato' is unknown" in result.stderr


def test_a_name_in_use_is_refused_and_stays_in_use(
    environment: dict[str, str], tmp_path: Path
) -> None:
    taken = tmp_path / "state" / "clusters" / "mine"
    taken.mkdir(parents=True)
    settings = (
        '{"name": "mine", "suite": "trixie", "nodes": 4, "gpus_per_node": 4, '
        '"engine": "docker", "accounting": true}'
    )
    (taken / "cluster.json").write_text(settings)
    result = minislurm("up", "--name", "mine", env=environment)
    assert result.returncode == 2
    assert "a mini-Slurm named 'mine' exists already" in result.stderr
    assert "docker/minislurm down --name mine" in result.stderr
    assert (taken / "cluster.json").read_text() == settings


@pytest.mark.parametrize("engine", ["auto", "docker", "native"])
def test_neither_root_nor_engine_is_said(
    engine: str, environment: dict[str, str], tmp_path: Path
) -> None:
    if os.geteuid() == 0:
        pytest.skip("we are root")
    result = minislurm("up", "--engine", engine, env=environment)
    assert result.returncode == 2
    assert "root" in result.stderr
    assert not list((tmp_path / "state" / "clusters").glob("*"))


def test_no_disk_space_is_said(environment: dict[str, str], tmp_path: Path) -> None:
    mount = tmp_path / "full"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        result = minislurm("up", env=environment | {"MINISLURM_STATE": str(mount)})
    finally:
        subprocess.run(["umount", str(mount)], check=True)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert f"no disk space: a mini-Slurm needs 1 GiB in {mount}" in result.stderr


def test_a_state_directory_that_cannot_be_written_is_said(environment: dict[str, str]) -> None:
    result = minislurm("up", env=environment | {"MINISLURM_STATE": "/proc"})
    assert result.returncode == 2
    assert result.stderr.startswith("minislurm: error: cannot write /proc")


@pytest.mark.parametrize("command", ["up", "down", "exec", "kill", "test", "demo"])
def test_help_says_what_it_does(command: str) -> None:
    assert minislurm("--help").returncode == 0
    result = minislurm(command, "--help")
    assert result.returncode == 0
    assert "--name" in result.stdout
