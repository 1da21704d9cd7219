"""The session in one process: restore, stop, and everything that can be wrong with a state
directory. The test is the batch script and the daemon."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ef_slurm import training
from ef_slurm.contract import Action, Exit, Order, Phase, StateDir
from ef_slurm.training import container
from ef_slurm.training.checkpoint import CheckpointStore, checksums

SAMPLES = 37
BATCH = 8


class Noisy(nn.Module):
    """A model whose result depends on random numbers: dropout."""

    def __init__(self, width: int = 6):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Dropout(0.5), nn.Linear(width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        return result


class Data(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.tensor([i / SAMPLES, (i * i % 7) / 7, 1.0])
        return x, x.sum().reshape(1)


@pytest.fixture(autouse=True)
def outside_of_a_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("EF_", "TORCHELASTIC")):
            monkeypatch.delenv(name)
    term = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) is term


def train(
    state_dir: Path | None,
    *,
    iterations: int = 40,
    batch: int = BATCH,
    width: int = 6,
    stop_at: int | None = None,
    limit: int | None = None,
    **options: Any,
) -> list[float]:
    """The loss of each iteration that was done."""
    torch.manual_seed(0)
    model = Noisy(width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 7, 0.5)
    losses: list[float] = []
    with training.session(
        model,
        optimizer,
        scheduler=scheduler,
        data=Data(),
        iterations=iterations,
        global_batch_size=batch,
        max_batch_per_gpu=limit,
        state_dir=state_dir,
        **options,
    ) as session:
        assert session.extra.get("seen", 0) == session.iteration
        for step in session:
            total = 0.0
            for x, y in step:
                loss = nn.functional.mse_loss(model(x), y)
                step.backward(loss)
                total += loss.item() * step.weight
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
            losses.append(total)
            session.extra["seen"] = step.iteration + 1
            if stop_at == step.iteration:
                assert state_dir is not None
                StateDir(state_dir).write_order(Order(1, Action.STOP, time.time(), "test"))
            if stop_at is not None and step.iteration >= stop_at:
                time.sleep(0.05)
    return losses


def test_without_a_state_directory_it_only_divides_batches() -> None:
    assert len(train(None)) == 40


def test_accumulation_equals_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Dropout, "forward", lambda _, x: x)
    assert train(None, limit=3) == pytest.approx(train(None), rel=1e-5)


def test_stopped_and_continued_equals_uninterrupted(tmp_path: Path) -> None:
    """Model, optimizer, scheduler, random numbers, data order and the script's own state."""
    fixed = train(None)
    losses: list[float] = []
    with pytest.raises(SystemExit) as stopped:
        losses += train(tmp_path, stop_at=10)
    assert stopped.value.code == Exit.STOPPED
    progress = StateDir(tmp_path).read_progress()
    assert progress is not None
    assert progress.phase is Phase.STOPPED
    assert progress.exit_code == Exit.STOPPED
    assert progress.stop_iteration == progress.checkpoint_iteration == progress.iteration
    times = [
        progress.process_started_at,
        progress.started_at,
        progress.first_iteration_at,
        progress.last_iteration_at,
        progress.updated_at,
    ]
    assert times == sorted(times, key=lambda time: time or 0.0)
    until = progress.last_iteration_at
    (tmp_path / "order.json").unlink()
    losses = train(tmp_path)
    assert losses == pytest.approx(fixed[progress.iteration :], rel=1e-6)
    progress = StateDir(tmp_path).read_progress()
    assert progress is not None
    assert progress.trained_until == until
    assert (progress.phase, progress.exit_code, progress.iteration) == (Phase.FINISHED, 0, 40)


def test_an_evaluation_is_told(tmp_path: Path) -> None:
    model = nn.Linear(3, 1)
    phases = []
    with training.session(
        model, None, data=SAMPLES, iterations=2, global_batch_size=BATCH, state_dir=tmp_path
    ) as session:
        for _ in session:
            with session.evaluating():
                phases.append(StateDir(tmp_path).read_progress())
            phases.append(StateDir(tmp_path).read_progress())
    told = [progress.phase for progress in phases if progress is not None]
    assert told == 2 * [Phase.EVALUATING, Phase.RUNNING]


def test_term_stops_with_a_checkpoint(tmp_path: Path) -> None:
    threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path, iterations=1_000_000)
    assert stopped.value.code == Exit.STOPPED
    progress = StateDir(tmp_path).read_progress()
    assert progress is not None
    assert progress.checkpoint_iteration == progress.iteration > 0


def test_under_torchrun_a_stop_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path, stop_at=3)
    assert stopped.value.code == 0


def test_periodic_checkpoints_lose_at_most_one_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EF_CHECKPOINT_SECONDS", "0.2")
    monkeypatch.setenv("EF_KEEP_CHECKPOINTS", "3")

    def crash() -> None:
        with training.session(
            Noisy(), data=SAMPLES, iterations=100, global_batch_size=4, state_dir=tmp_path
        ) as session:
            for step in session:
                assert [len(indices) for indices in step] == [4]
                time.sleep(0.02)
                if step.iteration == 80:
                    raise MemoryError("out of memory, say")

    with pytest.raises(MemoryError):
        crash()
    saved = CheckpointStore(tmp_path / "checkpoint").iterations()
    assert len(saved) == 3
    progress = StateDir(tmp_path).read_progress()
    assert progress is not None
    assert progress.phase is Phase.FAILED
    assert progress.message == "MemoryError: out of memory, say"
    assert progress.save_seconds is not None


def test_finished_run_does_nothing_more(tmp_path: Path) -> None:
    train(tmp_path, iterations=5)
    assert train(tmp_path, iterations=5) == []


def test_corrupt_newest_is_reported_and_the_one_before_used(tmp_path: Path) -> None:
    train(tmp_path, iterations=5)
    train(tmp_path, iterations=9)
    (tmp_path / "checkpoint" / "9" / "state.safetensors").write_bytes(b"PK torn")
    assert len(train(tmp_path, iterations=12)) == 7
    progress = StateDir(tmp_path).read_progress()
    assert progress is not None
    assert progress.corrupt_checkpoints == 1
    assert (tmp_path / "checkpoint" / "9.corrupt").is_dir()


def test_unreadable_though_intact_is_set_aside_too(tmp_path: Path) -> None:
    """What matches its checksum may still not load: written by a newer torch, say."""
    train(tmp_path, iterations=5)
    train(tmp_path, iterations=9)
    store = CheckpointStore(tmp_path / "checkpoint")
    manifest = store.verify(9)
    temporary = store.begin(10, 1)
    (temporary / "state.safetensors").write_bytes(b"not torch")
    (temporary / "rng.safetensors").write_bytes(b"not torch")
    files = checksums(temporary, ["state.safetensors", "rng.safetensors"])
    store.commit(replace(manifest, iteration=10, files=files))
    assert len(train(tmp_path, iterations=12)) == 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"width": 7}, "is of another model: layers.0.bias is float32[7], saved float32[6]"),
        ({"batch": 9}, "was saved with global batch size 8, this run has 9"),
        ({"seed": 3}, "was saved with seed 0, this run has 3"),
        ({"sharded": True}, "was saved with format whole, this run has sharded"),
    ],
)
def test_foreign_checkpoint_is_refused_untouched(
    tmp_path: Path, changed: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, iterations=5)
    before = CheckpointStore(tmp_path / "checkpoint").verify(5)
    with pytest.raises(training.Unusable) as refused:
        train(tmp_path, iterations=9, **changed)
    assert refused.value.code == Exit.UNUSABLE
    assert said in str(refused.value)
    assert said in capsys.readouterr().err
    progress = StateDir(tmp_path).read_progress()
    assert progress is not None
    assert (progress.phase, progress.exit_code) == (Phase.FAILED, Exit.UNUSABLE)
    assert said in progress.message
    assert CheckpointStore(tmp_path / "checkpoint").verify(5) == before


def test_unusable_state_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(training.Unusable, match="the state directory cannot be used"):
        train(tmp_path / "file")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"global_batch_size": 4}, "how many iterations"),
        ({"iterations": 4}, "how many samples per iteration"),
    ],
)
def test_targets_must_be_given(options: dict[str, Any], said: str) -> None:
    with pytest.raises(training.Unusable, match=said):
        training.session(Noisy(), data=10, **options)


def test_what_was_submitted_wins(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EF_ITERATIONS", "7")
    assert len(train(None, iterations=9)) == 7
    assert "iterations is 7 as submitted, not 9" in caplog.text


class FullDisk:
    """A snapshot's write that fails as a full disk does, for as long as it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.full = True
        real = container.save

        def save(path: Path, frozen: Any) -> None:
            if self.full:
                path.write_bytes(b"half")
                raise OSError(28, "No space left on device", str(path))
            real(path, frozen)

        monkeypatch.setattr(container, "save", save)


def test_full_disk_at_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, iterations=5)
    disk = FullDisk(monkeypatch)
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path, stop_at=8)
    assert stopped.value.code == Exit.NOT_SAVED
    progress = StateDir(tmp_path).read_progress()
    assert progress is not None
    assert progress.phase is Phase.FAILED
    assert "No space left on device" in progress.message
    assert progress.checkpoint_iteration == 5
    assert [p.name for p in (tmp_path / "checkpoint").iterdir()] == ["5"]
    disk.full = False
    (tmp_path / "order.json").unlink()
    assert len(train(tmp_path, iterations=10)) == 5


def test_full_disk_during_training_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EF_CHECKPOINT_SECONDS", "0.1")
    disk = FullDisk(monkeypatch)
    model = Noisy()
    with training.session(
        model, data=SAMPLES, iterations=60, global_batch_size=4, state_dir=tmp_path
    ) as session:
        for step in session:
            time.sleep(0.02)
            if step.iteration == 50:
                disk.full = False
    assert "was not saved" in caplog.text
    assert 60 in CheckpointStore(tmp_path / "checkpoint").iterations()
    assert json.loads((tmp_path / "progress.json").read_text())["phase"] == "finished"
