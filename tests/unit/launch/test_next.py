"""The next launch is made ready beside the running one; whatever goes wrong, one at a time trains.

The servers are real ones, with something small in torch's place; Slurm's commands are played.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ef_slurm.contract import Action, LaunchState, Order
from ef_slurm.model import LaunchSettings
from tests.unit.forkserver.launching import fake_torch, package
from tests.unit.launch.scripts import SRUN_ON_NODES, Script, Start

# Trains until it is ordered to end and the next launch is ready, or 20 s have passed.
TRAIN = """
import glob, json, os, pathlib, sys, time
import torch
from ef_slurm.contract import Phase, Progress, StateDir
state, generation = os.environ["EF_STATE_DIR"], int(os.environ["EF_GENERATION"])
me = f"{state}/alive.{generation}.{os.environ['RANK']}"
open(me, "w").close()
others = [n for n in glob.glob(f"{state}/alive.*") if f".{generation}." not in n]
with open("ran", "a") as file:
    file.write(json.dumps({
        "generation": generation, "world": int(os.environ["WORLD_SIZE"]),
        "rank": int(os.environ["RANK"]), "others": others, "input": sys.stdin.read(),
        "at": time.time(), "iterations": os.environ.get("EF_ITERATIONS", ""),
        "next": os.path.basename(os.environ["EF_NEXT_FILE"]),
    }) + "\\n")
end = time.time() + 60
while time.time() < end:
    time.sleep(0.02)
    try:
        order = json.load(open(os.environ["EF_ORDER_FILE"]))
    except (OSError, ValueError):
        continue
    if order["generation"] != generation:
        continue
    if order["action"] == "stop" or os.path.exists("enough"):
        break
    if order["action"] == "relaunch" and os.path.exists(os.environ["EF_NEXT_FILE"]):
        break
os.unlink(me)
if os.environ["RANK"] == "0":
    phase, code = (Phase.FINISHED, 0) if order["reason"] == "done" else (Phase.STOPPED, 75)
    said = Progress(generation, phase, 1, 0, time.time(), time.time(), exit_code=code)
    StateDir(pathlib.Path(state)).write_progress(said)
"""
"""With the reason "done" it has finished."""
SLOW = """
import os, time
end = time.time() + 60
while ".2" in os.environ["EF_NEXT_FILE"] and not os.path.exists("go") and time.time() < end:
    time.sleep(0.05)
"""
"""An import that takes long in the second launch."""


@pytest.fixture
def job(
    start: Start, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Script]:
    """Begins a job of two nodes with two ranks each."""
    (fake / "srun").write_text(SRUN_ON_NODES)
    (fake / "nodes").write_text("n1,n2\n")
    for name, value in fake_torch(tmp_path).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "train.py").write_text(TRAIN)

    def begin(text: str = "", **settings: object) -> Script:
        package(tmp_path, "slow", text)
        options = LaunchSettings(python=sys.executable, decision_wait=1, **settings)  # type: ignore[arg-type]
        script = start(
            "", words=("train.py",), torchrun=True, settings=options, node="n1", restart_count=0
        )
        until(lambda: len(ran(tmp_path)) == 4, script)
        return script

    return begin


def ran(directory: Path, generation: int = 1) -> list[SimpleNamespace]:
    try:
        lines = (directory / "ran").read_text().splitlines()
    except FileNotFoundError:
        return []
    found = [SimpleNamespace(**json.loads(line)) for line in lines]
    return [one for one in found if one.generation == generation]


def until(there: Callable[[], object], script: Script) -> None:
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end, script.log.read_text()
        time.sleep(0.02)


def servers(script: Script) -> list[int]:
    """The fork servers of the second launch."""
    found = processes(script, "EF_GENERATION=2")
    return [pid for pid in found if words(pid).startswith("ef-slurm: fork server")]


def processes(script: Script, *variables: str) -> list[int]:
    """Those of this job whose environment has these."""
    own = {f"FAKE={script.fake}", *variables}
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if own <= {*(place / "environ").read_text().split("\0")}:
                found.append(int(place.name))
        except (OSError, UnicodeDecodeError):
            continue
    return found


def words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def order(script: Script, action: Action, gpus: int | None = None, reason: str = "test") -> None:
    script.state.write_order(Order(1, action, time.time(), reason, gpus))


def ready(script: Script) -> bool:
    return (script.state.path / ".next.1").exists()


def finish(script: Script, generation: int, ranks: int, directory: Path) -> None:
    """The launch has so many ranks, none beside those of another, and is the last one."""
    until(lambda: len(ran(directory, generation)) == ranks, script)
    assert {one.world for one in ran(directory, generation)} == {ranks}
    script.state.write_order(Order(generation, Action.STOP, time.time(), "done"))
    assert script.end() == 0, script.log.read_text()
    everybody = [one for g in range(1, generation + 1) for one in ran(directory, g)]
    assert not any(one.others for one in everybody)
    assert not any(one.input for one in everybody)
    until(lambda: not processes(script), script)
    assert not list(script.state.path.glob(".next.*"))
    assert not list(script.state.path.glob(".exit.*"))


def test_it_is_ready_before_the_other_ends(job: Callable[..., Script], tmp_path: Path) -> None:
    script = job()
    order(script, Action.RELAUNCH, gpus=2)
    finish(script, 2, 2, tmp_path)
    log = script.log.read_text()
    assert "preparing launch 2 on n1, 2 GPUs each, while launch 1 goes on" in log
    assert log.index("preparing launch 2") < log.index("relaunching: test")
    assert "launch 2 is started anew" not in log
    assert {one.next for one in ran(tmp_path, 2)} == {".next.2"}
    steps = (script.fake / "srun-options").read_text().splitlines()
    assert ["--overlap" in step for step in steps] == [False, True]
    assert "--gres=gpu:2" in steps[1]


def test_over_all_nodes_again_with_other_iterations(
    job: Callable[..., Script], tmp_path: Path
) -> None:
    script = job()
    script.state.write_order(Order(1, Action.RELAUNCH, time.time(), "more", iterations=25))
    finish(script, 2, 4, tmp_path)
    assert {one.iterations for one in ran(tmp_path, 2)} == {"25"}
    assert (script.fake / "srun-options").read_text().count("--overlap") == 1


def test_a_withdrawn_order_leaves_nothing(job: Callable[..., Script]) -> None:
    script = job(SLOW, preload=("slow",))
    order(script, Action.RELAUNCH, gpus=2)
    until(lambda: servers(script), script)
    order(script, Action.NONE)
    until(lambda: not servers(script), script)
    assert script.launch().state is LaunchState.RUNNING  # type: ignore[union-attr]
    order(script, Action.STOP, reason="done")
    assert script.end() == 0
    until(lambda: not processes(script), script)


def test_another_size_takes_its_place(job: Callable[..., Script], tmp_path: Path) -> None:
    script = job(SLOW, preload=("slow",))
    order(script, Action.RELAUNCH, gpus=2)
    until(lambda: servers(script), script)
    order(script, Action.RELAUNCH, gpus=1)
    until(lambda: "preparing launch 2 on n1, 1 GPUs each" in script.log.read_text(), script)
    (tmp_path / "go").touch()
    finish(script, 2, 1, tmp_path)


def test_a_stop_is_obeyed_at_once(job: Callable[..., Script], tmp_path: Path) -> None:
    """The daemon wants the GPUs: nothing of the job is left when the script says so."""
    script = job(SLOW, preload=("slow",))
    order(script, Action.RELAUNCH, gpus=2)
    until(lambda: servers(script), script)
    order(script, Action.STOP)
    script.until(LaunchState.WAITING)
    assert not servers(script)
    # Nobody decides within a second: it goes on by itself, with all that it has.
    (tmp_path / "go").touch()
    finish(script, 2, 4, tmp_path)


def let_the_test_say_it(directory: Path) -> None:
    """Training does not see that the next launch is ready."""
    train = (directory / "train.py").read_text()
    (directory / "train.py").write_text(train.replace('os.environ["EF_NEXT_FILE"]):', '"enough"):'))


def kill_server(script: Script) -> None:
    for pid in servers(script):
        os.kill(pid, signal.SIGKILL)


def kill_srun(script: Script) -> None:
    for pid in processes(script):
        if "/fake/srun" in words(pid) and "--overlap" in words(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_server, kill_srun])
@pytest.mark.parametrize("when", ["imports", "ready"])
def test_killed_servers_are_started_anew(
    job: Callable[..., Script], tmp_path: Path, kill: Callable[[Script], None], when: str
) -> None:
    let_the_test_say_it(tmp_path)
    script = job(SLOW if when == "imports" else "", preload=("slow",))
    order(script, Action.RELAUNCH, gpus=2)
    until(lambda: servers(script) if when == "imports" else ready(script), script)
    kill(script)
    (tmp_path / "go").touch()
    (tmp_path / "enough").touch()
    if kill is kill_srun and when == "imports":
        # Nobody is left to tell its task, but Slurm.
        kill_server(script)
    finish(script, 2, 2, tmp_path)
    steps = (script.fake / "srun-options").read_text().splitlines()
    assert ["--overlap" in step for step in steps] == [False, True, False]


def test_without_a_step_beside_it_goes_as_ever(job: Callable[..., Script], tmp_path: Path) -> None:
    """Training does not wait for what Slurm refuses, whose words are in the log."""
    (tmp_path / "fake" / "no-step").touch()
    script = job()
    order(script, Action.RELAUNCH, gpus=2)
    finish(script, 2, 2, tmp_path)
    log = script.log.read_text()
    assert "srun: error: Unable to create step" in log
    assert "launch 2 cannot be prepared beside the one that runs" in log


def test_a_failed_launch_lets_them_go(job: Callable[..., Script], tmp_path: Path) -> None:
    script = job(SLOW, preload=("slow",))
    order(script, Action.RELAUNCH, gpus=2)
    until(lambda: servers(script), script)
    for name in script.state.path.glob("alive.1.*"):
        name.unlink()
    (tmp_path / "go").touch()
    first = processes(script, "EF_GENERATION=1")
    rank = next(pid for pid in first if words(pid).rstrip("\0").endswith("-u\0train.py"))
    os.kill(rank, signal.SIGKILL)
    finish(script, 2, 4, tmp_path)
    assert "launch 1 failed" in script.log.read_text()


def test_term_ends_all(job: Callable[..., Script]) -> None:
    script = job(SLOW, preload=("slow",))
    order(script, Action.RELAUNCH, gpus=2)
    until(lambda: servers(script), script)
    os.kill(script.process.pid, signal.SIGTERM)
    order(script, Action.STOP)
    assert script.end() == 143
    until(lambda: not processes(script), script)


@pytest.mark.parametrize("when", ["imports", "ready"])
def test_a_killed_batch_script_takes_them_along(
    job: Callable[..., Script], tmp_path: Path, when: str
) -> None:
    let_the_test_say_it(tmp_path)
    script = job(SLOW if when == "imports" else "", preload=("slow",))
    order(script, Action.RELAUNCH, gpus=2)
    until(lambda: servers(script) if when == "imports" else ready(script), script)
    os.killpg(script.process.pid, signal.SIGKILL)  # srun too, but nothing on a node
    script.process.wait()
    (tmp_path / "go").touch()
    until(lambda: not servers(script), script)
    assert not ran(tmp_path, 2)
    order(script, Action.STOP)
    until(lambda: not processes(script), script)
