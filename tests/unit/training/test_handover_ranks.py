"""Real ranks from which a larger launch takes over: FSDP, Lightning, the Hugging Face Trainer. The
test says what the batch scripts would. (DDP: `tests/cluster/test_handover.py`.)"""

import importlib.util
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ef_slurm.contract import Action, Order, Phase, Progress, StateDir
from ef_slurm.training.handover import ready_file
from tests.unit.training import test_frameworks, test_ranks
from tests.unit.training.rank_environment import environment

Start = Callable[[int, Mapping[str, str]], "subprocess.Popen[bytes]"]
"""Starts a launch: ranks, variables."""


def until(
    process: "subprocess.Popen[bytes]", state: StateDir, condition: Callable[[Progress], bool]
) -> Progress:
    """Wait for a report."""
    while process.poll() is None:
        told = state.read_progress()
        if told is not None and condition(told):
            return told
        time.sleep(0.05)
    raise AssertionError(f"it ended with {process.returncode}: {state.read_progress()}")


def take_over(start: Start, state: StateDir) -> Progress:
    """Two ranks on one node train, and then four on two; the last report."""
    state.path.mkdir(mode=0o700)
    next_file = state.path / ".next.1"
    always = {
        "EF_STATE_DIR": str(state.path),
        "EF_GENERATION": "1",
        "EF_GPUS_PER_NODE": "2",
        "EF_NEXT_FILE": str(next_file),
    }
    small = {"EF_NODES": "n1", "EF_NUM_NODES": "1", "EF_HANDOVERS": "0"}
    with start(2, {**always, **small}) as process:
        told = until(process, state, lambda told: told.first_iteration_at is not None)
        assert (told.live, told.hands_over, told.nodes) == (True, True, "n1")
        (state.path / ".waits.1.9").write_text("n2\n")
        until(process, state, lambda told: told.ready == "n2")
        order = Order(1, Action.RESIZE, time.time(), change=1, nodes="n1,n2", gpus=4)
        state.write_order(order)
        before = told.iteration
        until(process, state, lambda told: told.iteration > before)  # it trains meanwhile
        ready_file(next_file, 1).touch()
        assert process.wait(timeout=200) == 0
    stopped = state.read_progress()
    assert stopped is not None
    assert (stopped.phase, stopped.refused_change) == (Phase.STOPPED, 0)
    large = {"EF_NODES": "n1,n2", "EF_NUM_NODES": "2", "EF_HANDOVERS": "1"}
    with start(4, {**always, **large}) as process:
        assert process.wait(timeout=200) == 0
    told = state.read_progress() or stopped
    assert (told.phase, told.change, told.nodes) == (Phase.FINISHED, 1, "n1,n2")
    assert (told.world_size, told.hands_over) == (4, True)
    assert told.change_seconds is not None
    assert 0.0 < told.change_seconds < 200.0
    assert stopped.iteration < told.iteration
    return told


def test_the_loss_is_that_of_a_fixed_run(tmp_path: Path) -> None:
    record, fixed = tmp_path / "record", tmp_path / "fixed"

    def start(ranks: int, variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        options = ("--wrapper", "fsdp", "--sleep", "0.1" if ranks == 2 else "0")
        words = test_ranks.command(ranks, record, *options)
        return subprocess.Popen(words, env=environment(**variables))

    take_over(start, StateDir(tmp_path / "state"))
    subprocess.run(test_ranks.command(0, fixed), env=environment(), check=True, timeout=120)
    entries = test_ranks.entries(record)
    assert [entry["iteration"] for entry in entries] == list(range(test_ranks.ITERATIONS))
    assert [entry["world"] for entry in entries] == sorted(entry["world"] for entry in entries)
    assert {entry["world"] for entry in entries} == {2, 4}
    for found, expected in zip(entries, test_ranks.entries(fixed), strict=True):
        assert found["indices"] == expected["indices"]
        assert found["loss"] == pytest.approx(expected["loss"], rel=2e-4)


@pytest.mark.skipif(not os.environ.get("EF_LONG"), reason="six imports of a framework: EF_LONG=1")
@pytest.mark.parametrize("framework", test_frameworks.NEEDS)
def test_the_weights_are_those_of_a_fixed_run(tmp_path: Path, framework: str) -> None:
    if importlib.util.find_spec(test_frameworks.NEEDS[framework]) is None:
        pytest.skip(f"{test_frameworks.NEEDS[framework]} is not installed")
    moved, fixed, state = tmp_path / "moved", tmp_path / "fixed", StateDir(tmp_path / "state")

    def start(ranks: int, variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        sleep = 0.1 if ranks == 2 else 0.0
        return test_frameworks.start(framework, ranks, moved, state, 1, sleep, **variables)

    take_over(start, state)
    alone = test_frameworks.start(framework, 1, fixed, StateDir(tmp_path / "other"), 1, 0.0)
    with alone as process:
        assert process.wait(timeout=200) == 0
    assert test_frameworks.weights(moved) == pytest.approx(test_frameworks.weights(fixed), rel=1e-3)
