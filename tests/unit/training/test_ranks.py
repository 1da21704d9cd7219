"""Several ranks on this host: DDP and FSDP, stopped and continued elsewhere."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.contract import Action, Order, Phase, StateDir
from ef_slurm.resources import templates_dir
from tests.fakes.patience import PATIENCE
from tests.unit.forkserver.launching import launcher
from tests.unit.training.rank_environment import environment

SCRIPT = Path(__file__).parents[2] / "cluster" / "training_scripts" / "chars.py"
ITERATIONS = 60
BATCH = 15

if not Path("/usr/share/common-licenses/GPL-3").is_file():
    pytest.skip("no licence texts on this system", allow_module_level=True)


def command(world: int, record: Path, *arguments: str) -> list[str]:
    words = launcher(world) if world else [sys.executable]
    words += [str(SCRIPT), "--iterations", str(ITERATIONS), "--batch", str(BATCH)]
    return [*words, "--samples", "100", "--record", str(record), *arguments]


def entries(record: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in record.read_text().splitlines()]


def launch(state: StateDir, generation: int, world: int, record: Path, *arguments: str) -> int:
    """One launch; stopped by an order in its midst unless it is the third."""
    with subprocess.Popen(
        command(world, record, *arguments, "--sleep", "0" if generation == 3 else "0.1"),
        env=environment(EF_STATE_DIR=str(state.path), EF_GENERATION=str(generation)),
    ) as process:
        if generation < 3:
            while process.poll() is None:
                progress = state.read_progress()
                if progress and progress.generation == generation and progress.first_iteration_at:
                    state.write_order(Order(generation, Action.STOP, time.time()))
                    break
                time.sleep(0.05)
        return process.wait(timeout=120)


@pytest.mark.parametrize(
    ("wrapper", "worlds", "limit"), [("ddp", (2, 3, 0), "3"), ("fsdp", (2, 3, 1), "100")]
)
def test_moved_run_equals_fixed_run(
    tmp_path: Path, wrapper: str, worlds: tuple[int, ...], limit: str
) -> None:
    state = StateDir(tmp_path / "state")
    state.path.mkdir()
    record = tmp_path / "record"
    for generation, world in enumerate(worlds, start=1):
        code = launch(state, generation, world, record, "--wrapper", wrapper, "--limit", limit)
        assert code == 0
        progress = state.read_progress()
        assert progress is not None
        assert progress.world_size == max(world, 1)
        assert progress.phase is (Phase.FINISHED if generation == 3 else Phase.STOPPED)
    fixed = tmp_path / "fixed"
    subprocess.run(command(0, fixed), env=environment(), check=True, timeout=120)
    moved = entries(record)
    assert [entry["iteration"] for entry in moved] == list(range(ITERATIONS))
    assert {entry["world"] for entry in moved} == {max(world, 1) for world in worlds}
    for found, expected in zip(moved, entries(fixed), strict=True):
        assert found["indices"] == expected["indices"]
        assert found["loss"] == pytest.approx(expected["loss"], rel=2e-4)


def test_more_ranks_than_samples(tmp_path: Path) -> None:
    done = subprocess.run(
        [*command(3, tmp_path / "record"), "--batch", "2"],
        env=environment(EF_STATE_DIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 78
    assert done.stderr.count("3 ranks cannot share a global batch of 2 samples") == 1
    assert "Traceback" not in done.stderr


def test_workers_die_with_a_killed_agent(tmp_path: Path) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "pathlib.Path(sys.argv[1], os.environ['RANK']).write_text(str(os.getpid()))\n"
        "time.sleep(300)\n"
    )
    pids = tmp_path / "pids"
    pids.mkdir()
    words = [sys.executable, str(templates_dir() / "torchrun.py"), "--standalone"]
    words += ["--nproc_per_node=2", str(script), str(pids)]
    with subprocess.Popen(words, env=environment()) as agent:
        found: list[int] = []
        end = time.monotonic() + 60
        while len(found) < 2 and time.monotonic() < end:
            time.sleep(0.05)
            found = [int(text) for path in pids.iterdir() if (text := path.read_text())]
        assert len(found) == 2
        agent.kill()
        agent.wait(PATIENCE)
    while any(alive(pid) for pid in found) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in found)


def alive(pid: int) -> bool:
    """Whether a process still runs; nobody may have taken note of its end yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "XZ"
