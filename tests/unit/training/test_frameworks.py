"""The adapters against the real Lightning and the real Hugging Face Trainer: a run that is stopped
by an order on two ranks and continued on one ends with the weights of an uninterrupted run."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ef_slurm.contract import Action, Order, Phase, StateDir
from tests.unit.forkserver.launching import launcher
from tests.unit.training.rank_environment import environment

SCRIPT = Path(__file__).parent / "framework_script.py"
ITERATIONS = 40
NEEDS = {"lightning": "lightning", "huggingface": "transformers"}


def start(
    framework: str,
    world: int,
    record: Path,
    state: StateDir,
    generation: int,
    sleep: float,
    **variables: str,
) -> "subprocess.Popen[bytes]":
    words = launcher(world) if world > 1 else [sys.executable]
    own = {
        "EF_STATE_DIR": str(state.path),
        "EF_GENERATION": str(generation),
        "EF_ITERATIONS": str(ITERATIONS),
        "EF_GLOBAL_BATCH_SIZE": "9",
        "EF_MAX_BATCH_PER_GPU": "3",
        "SLEEP": str(sleep),
    }
    return subprocess.Popen(
        [*words, str(SCRIPT), framework, str(record)],
        env=environment(**{**own, **variables}),
        cwd=record.parent,
    )


def weights(record: Path) -> list[float]:
    return [float(value) for value in json.loads(record.read_text())]


@pytest.mark.parametrize("framework", NEEDS)
def test_moved_run_equals_fixed_run(framework: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(NEEDS[framework]) is None:
        pytest.skip(f"{NEEDS[framework]} is not installed")
    state = StateDir(tmp_path / "state")
    state.path.mkdir()
    with start(framework, 2, tmp_path / "stopped", state, 1, sleep=0.05) as process:
        while process.poll() is None:
            progress = state.read_progress()
            if progress and progress.first_iteration_at:
                state.write_order(Order(1, Action.STOP, time.time()))
                break
            time.sleep(0.05)
        assert process.wait(timeout=200) == 0
    progress = state.read_progress()
    assert progress is not None
    assert progress.phase is Phase.STOPPED
    assert 0 < progress.iteration < ITERATIONS
    assert not (tmp_path / "stopped").exists()

    fixed_state = StateDir(tmp_path / "fixed state")
    with (
        start(framework, 1, tmp_path / "moved", state, 2, sleep=0) as moved,
        start(framework, 1, tmp_path / "fixed", fixed_state, 1, sleep=0) as fixed,
    ):
        assert moved.wait(timeout=200) == 0
        assert fixed.wait(timeout=200) == 0
    progress = state.read_progress()
    assert progress is not None
    assert (progress.phase, progress.iteration) == (Phase.FINISHED, ITERATIONS)
    assert weights(tmp_path / "moved") == pytest.approx(weights(tmp_path / "fixed"), rel=1e-3)
