"""Ending early, and counting in epochs: the session in one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from ef_slurm import training
from ef_slurm.contract import Action, Exit, Order, Phase, Progress, StateDir
from tests.unit.training.test_session import BATCH, SAMPLES, Data, outside_of_a_job

__all__ = ["outside_of_a_job"]

EPOCHS = 4
LAST = -(-EPOCHS * SAMPLES // BATCH)
ENDS = [-(-(epoch + 1) * SAMPLES // BATCH) for epoch in range(EPOCHS)]
"""Iterations done when each epoch ends; a batch reaches over some of the ends."""

TOP = Path(__file__).parents[3]
SCRIPT = """
import contextlib, sys, torch
from ef_slurm import training

loop, ends = sys.argv[1:]
one = training.session(torch.nn.Linear(1, 1), data=8, epochs=4, global_batch_size=2)
with one if ends == "with" else contextlib.nullcontext():
    if loop == "epochs":
        for epoch in one.epochs():
            for step in epoch:
                raise ValueError("of the script's own")
    steps = iter(one) if loop == "steps, held" else one
    for step in steps:
        raise ValueError("of the script's own")
"""


def session(state_dir: Path | None, **options: object) -> training.Session:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    made = training.session(
        model,
        optimizer,
        scheduler=scheduler,
        data=Data(),
        global_batch_size=BATCH,
        state_dir=state_dir,
        **options,  # type: ignore[arg-type]
    )
    made.extra.setdefault("story", [])
    made.scheduler = scheduler  # type: ignore[attr-defined]
    made.optimizer = optimizer  # type: ignore[attr-defined]
    return made


def count(state_dir: Path | None, *, stop_at: int | None = None) -> list[str]:
    """Train by epochs; what was done, in order, over all launches."""
    with session(state_dir, epochs=EPOCHS) as one:
        story: list[str] = one.extra["story"]
        for epoch in one.epochs():
            for step in epoch:
                one.optimizer.step()  # type: ignore[attr-defined]
                story.append(str(step.iteration))
                if step.iteration + 1 == stop_at:
                    assert state_dir is not None
                    StateDir(state_dir).write_order(Order(1, Action.STOP, time.time(), "test"))
                    time.sleep(0.5)  # until the watcher has seen it
            story.append(f"end of {epoch.number}")
            one.scheduler.step()  # type: ignore[attr-defined]
        story.append(f"rate {one.scheduler.get_last_lr()[0]:g}")  # type: ignore[attr-defined]
        return list(story)


def expected() -> list[str]:
    story: list[str] = []
    for epoch, end in enumerate(ENDS):
        begin = ENDS[epoch - 1] if epoch else 0
        story += [str(number) for number in range(begin, end)] + [f"end of {epoch}"]
    return [*story, f"rate {0.5**EPOCHS:g}"]


def progress(state_dir: Path) -> Progress:
    found = StateDir(state_dir).read_progress()
    assert found is not None
    return found


def test_every_epoch_has_its_iterations_and_what_follows_on_them() -> None:
    assert count(None) == expected()


@pytest.mark.parametrize("stop_at", [2, ENDS[0] - 1, ENDS[0], ENDS[0] + 1, ENDS[2], LAST - 1])
def test_wherever_it_is_stopped_nothing_is_left_out_and_nothing_done_twice(
    tmp_path: Path, stop_at: int
) -> None:
    with pytest.raises(SystemExit) as stopped:
        count(tmp_path, stop_at=stop_at)
    assert stopped.value.code == Exit.STOPPED
    assert count(tmp_path) == expected()
    assert progress(tmp_path).phase is Phase.FINISHED


def test_the_submission_says_how_many_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EF_EPOCHS", "2")
    with session(None, epochs=EPOCHS) as one:
        assert one.iterations == ENDS[1]
        assert sum(1 for _ in one) == ENDS[1]
    monkeypatch.setenv("EF_ITERATIONS", "3")  # changed since, which counts more
    with session(None, epochs=EPOCHS) as one:
        assert one.iterations == 3


def test_epochs_of_what_has_no_length_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EF_EPOCHS", "2")
    model = nn.Linear(3, 1)
    with pytest.raises(SystemExit):
        training.session(model, data=iter([1, 2, 3]), global_batch_size=1)
    assert "EF_EPOCHS=2" in capsys.readouterr().err


def test_an_epoch_that_is_left_is_told_where(tmp_path: Path) -> None:
    def leave() -> None:
        with session(tmp_path, epochs=EPOCHS) as one:
            for epoch in one.epochs():
                for _ in epoch:
                    break

    with pytest.raises(RuntimeError, match="epoch 0 was left at iteration 0"):
        leave()


class TestStop:
    """`session.stop()`: converged, good enough."""

    @pytest.mark.parametrize("state", [True, False])
    def test_it_is_complete_at_this_iteration(
        self, tmp_path: Path, state: bool, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with session(tmp_path if state else None, iterations=200) as one:
            for step in one:
                if step.iteration == 19:
                    one.stop("the loss is low enough")
            assert one.iteration == 20
        if state:
            last = progress(tmp_path)
            assert (last.phase, last.iteration, last.exit_code) == (Phase.FINISHED, 20, 0)
            assert last.checkpoint_iteration == 20
            assert last.message == "finished early at iteration 20: the loss is low enough"
        assert "finished early at iteration 20" in capfd.readouterr().err

    def test_it_can_be_gone_on_from(self, tmp_path: Path) -> None:
        with session(tmp_path, iterations=200) as one:
            for step in one:
                if step.iteration == 19:
                    one.stop()
        with session(tmp_path, iterations=200) as one:
            assert one.iteration == 20
            assert sum(1 for _ in one) == 180

    def test_what_follows_on_its_epoch_is_done(self, tmp_path: Path) -> None:
        ended = []
        with session(tmp_path, epochs=EPOCHS) as one:
            for epoch in one.epochs():
                for step in epoch:
                    if step.iteration == 6:
                        one.stop()
                ended.append(epoch.number)
        assert (ended, one.iteration) == ([0, 1], 7)
        assert progress(tmp_path).message == "finished early at iteration 7"

    def test_in_the_last_iteration_it_is_an_ordinary_end(self, tmp_path: Path) -> None:
        with session(tmp_path, iterations=3) as one:
            for step in one:
                if step.iteration == 2:
                    one.stop("done")
        assert progress(tmp_path).message == ""


class TestLeft:
    """A loop that is left without a word is no training that is finished."""

    @pytest.mark.parametrize("way", ["break", "exit", "exit 0"])
    def test_it_is_told_from_a_finished_one(
        self, tmp_path: Path, way: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def leave() -> None:
            with session(tmp_path, iterations=200) as one:
                for step in one:
                    if step.iteration == 19:
                        if way == "break":
                            break
                        sys.exit(0 if way == "exit 0" else None)

        if way == "break":
            leave()
        else:
            with pytest.raises(SystemExit):
                leave()
        last = progress(tmp_path)
        assert (last.phase, last.iteration) == (Phase.RUNNING, 19)
        assert "the loop was left at iteration 19 of 200" in capfd.readouterr().err

    @pytest.mark.parametrize("way", ["order", "TERM"])
    def test_a_stop_is_a_stop(
        self,
        tmp_path: Path,
        way: str,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """Under torchrun its exit code is 0, as that of a script that leaves its loop."""
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")

        def order() -> None:
            if way == "order":
                StateDir(tmp_path).write_order(Order(1, Action.STOP, time.time(), "test"))
            else:
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5)  # until the watcher has seen it

        def train() -> None:
            with session(tmp_path, epochs=EPOCHS) as one:
                for epoch in one.epochs():
                    for step in epoch:
                        if step.iteration == 2:
                            order()

        with pytest.raises(SystemExit) as stopped:
            train()
        assert not stopped.value.code
        assert progress(tmp_path).phase is Phase.STOPPED
        assert "was left" not in capfd.readouterr().err

    @pytest.mark.parametrize("ends", ["with", "no with"])
    @pytest.mark.parametrize("loop", ["epochs", "steps", "steps, held"])
    def test_an_error_is_the_only_one_that_is_shown(
        self, tmp_path: Path, loop: str, ends: str
    ) -> None:
        """What is left of a loop is cleared away as late as at the end of Python."""
        script = tmp_path / "train.py"
        script.write_text(SCRIPT)
        state = tmp_path / "state"
        state.mkdir(mode=0o700)
        ran = subprocess.run(
            [sys.executable, script, loop, ends],
            env={**os.environ, "PYTHONPATH": str(TOP), "EF_STATE_DIR": str(state)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 1
        assert ran.stderr.endswith("\nValueError: of the script's own\n"), ran.stderr
        assert ran.stderr.count("Traceback") == 1, ran.stderr
        assert "was left" not in ran.stderr
        assert "ignored" not in ran.stderr
        if ends == "with":
            assert progress(state).phase is Phase.FAILED

    def test_an_error_is_an_error(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        def fail() -> None:
            with session(tmp_path, iterations=9) as one:
                for step in one:
                    step.iteration / 0

        with pytest.raises(ZeroDivisionError):
            fail()
        assert progress(tmp_path).phase is Phase.FAILED
        assert "was left" not in capfd.readouterr().err


class TestRanks:
    """A script that was started without torchrun trains once for each node, into one directory."""

    @pytest.mark.parametrize(("nodes", "gpus"), [(2, 0), (2, 4), (1, 4)])
    def test_fewer_than_gpus_are_refused_in_a_sentence(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        nodes: int,
        gpus: int,
    ) -> None:
        monkeypatch.setenv("EF_NUM_NODES", str(nodes))
        monkeypatch.setenv("EF_GPUS_PER_NODE", str(gpus))
        with pytest.raises(SystemExit) as refused:
            session(tmp_path, iterations=9)
        assert refused.value.code == Exit.UNUSABLE
        assert f"1 rank for {nodes} nodes with {gpus} GPUs each" in capsys.readouterr().err
        assert progress(tmp_path).phase is Phase.FAILED

    @pytest.mark.parametrize("gpus", [0, 1])
    def test_one_is_enough_for_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int
    ) -> None:
        monkeypatch.setenv("EF_NUM_NODES", "1")
        monkeypatch.setenv("EF_GPUS_PER_NODE", str(gpus))
        with session(tmp_path, iterations=9) as one:
            assert sum(1 for _ in one) == 9
