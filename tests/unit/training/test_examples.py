"""docs/examples: plain scripts and their elastic ports, run on one process, and counted."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from ef_slurm.contract import Exit, StateDir
from ef_slurm.training.run import Run

TOP = Path(__file__).parents[3]
EXAMPLES = TOP / "docs" / "examples"
LOOPS = ("nanogpt", "image_classification", "mingpt_ddp")
STOP = 12
"""The iteration after which a loop is told to stop."""
ADAPTERS = {"huggingface": "transformers", "lightning_module": "lightning"}


def final_line(
    script: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Run a script in this process; the line that it ends with."""
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", [str(script)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_path(str(script), run_name="__main__")
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("final: ")
    return line


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in [name for name in os.environ if name.startswith(("EF_", "SLURM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_that_is_stopped_ends_as_one_that_is_not(
    name: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = EXAMPLES / f"{name}.py"
    whole = final_line(script, capsys, monkeypatch)  # as on a laptop: no launcher, no directory

    state = StateDir(place / "state")
    state.path.mkdir(mode=0o700)
    monkeypatch.setenv("EF_STATE_DIR", str(state.path))
    monkeypatch.setenv("EF_GENERATION", "1")
    advance = Run.advance

    def advance_until_told(run: Run) -> None:
        if run.iteration == STOP:
            os.kill(os.getpid(), signal.SIGTERM)
        if run.iteration >= STOP:
            time.sleep(0.05)  # so that it is noticed before the last iteration
        advance(run)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "advance", advance_until_told)
        with pytest.raises(SystemExit) as stopped:
            final_line(script, capsys, patched)
    assert stopped.value.code == Exit.STOPPED
    progress = state.read_progress()
    assert progress is not None
    assert STOP <= progress.iteration < 42

    monkeypatch.setenv("EF_GENERATION", "2")
    assert final_line(script, capsys, monkeypatch) == whole


@pytest.mark.parametrize("name", LOOPS)
def test_the_plain_scripts_run(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "mingpt_ddp":  # always under torchrun
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        variables = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_PORT": port}
        for variable, value in variables.items():
            monkeypatch.setenv(variable, str(value))
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    final_line(EXAMPLES / "plain" / f"{name}.py", capsys, monkeypatch)
    assert not dist.is_initialized()


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_adapters_run(name: str, place: Path) -> None:
    if importlib.util.find_spec(ADAPTERS[name]) is None:
        pytest.skip(f"{ADAPTERS[name]} is not installed")
    environment = {**os.environ, "PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"^final: step \d+$", ran.stdout, re.M)


def test_the_snippet_of_the_readme_runs_as_it_stands(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a laptop: no launcher, no Slurm, no variables."""
    snippets = re.findall(r"^```python\n(.*?)^```$", (TOP / "README.md").read_text(), re.M | re.S)
    (snippet,) = [one for one in snippets if "training.session" in one]
    script = place / "train.py"
    script.write_text(snippet)
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr()
    assert "finished at iteration 200" in said.out + said.err


def changed_lines(name: str) -> tuple[int, int]:
    """Lines that a port has and the plain script has not, and the other way round.

    Empty lines and indentation do not count, as in `diff -wB`.
    """
    plain, port = (
        [line.strip() for line in path.read_text().splitlines() if line.strip()]
        for path in (EXAMPLES / "plain" / f"{name}.py", EXAMPLES / f"{name}.py")
    )
    marks = [line[0] for line in difflib.ndiff(plain, port)]
    return marks.count("+"), marks.count("-")


@pytest.mark.parametrize("name", [*LOOPS, *ADAPTERS])
def test_the_documented_counts_are_true(name: str) -> None:
    text = (TOP / "docs" / "training.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `docs/examples/{name}\.py` \|.*\| (\d+) \| (\d+) \|$", text, re.M)
    assert tuple(map(int, row)) == changed_lines(name)
