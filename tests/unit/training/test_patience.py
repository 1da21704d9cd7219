"""A disk that is full or away for a moment, while a launch begins, ends no training and loses no
checkpoint."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ef_slurm import training
from ef_slurm.contract import Phase, StateDir
from ef_slurm.training import (
    checkpoint,
    connection_file,
    container,
    patience,
    preconditions,
    private,
    ranks,
)
from ef_slurm.training.checkpoint import CheckpointStore
from ef_slurm.training.ranks import Ranks, RanksError


@pytest.fixture(autouse=True)
def outside_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("EF_", "TORCHELASTIC")):
            monkeypatch.delenv(name)


class Disk:
    """One that is away for some of its uses."""

    def __init__(self, times: int):
        self.times = times
        self.code = errno.EIO

    def spoil(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """The same, that fails as long as the disk is away."""

        def acts(*args: Any, **named: Any) -> Any:
            if self.times > 0:
                self.times -= 1
                raise OSError(self.code, os.strerror(self.code))
            return act(*args, **named)

        return acts


def train(directory: Path, iterations: int) -> int:
    """How many iterations were done."""
    torch.manual_seed(0)
    done = 0
    with training.session(
        nn.Linear(2, 1), data=20, iterations=iterations, global_batch_size=4, state_dir=directory
    ) as session:
        for _ in session:
            done += 1
    return done


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The state of a training with checkpoints of iterations 3 and 5."""
    assert (train(tmp_path, 3), train(tmp_path, 5)) == (3, 2)
    return tmp_path


def checkpoints(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "checkpoint").iterdir())


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (preconditions, "make_private"),
        (CheckpointStore, "_listed"),
        (checkpoint, "checksum"),
        (checkpoint, "owner_problem"),
        (container, "load"),
    ],
)
def test_a_moment_is_waited_for(
    trained: Path, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_POLL_SECONDS", 0.01)
    disk = Disk(times=3)
    monkeypatch.setattr(owner, name, disk.spoil(getattr(owner, name)))
    assert train(trained, 8) == 3
    assert disk.times == 0
    assert checkpoints(trained) == ["5", "8"]


def assert_launch_failed(directory: Path) -> None:
    """Exit code 78 would have ended the job for good."""
    progress = StateDir(directory).read_progress()
    assert progress is not None
    assert (progress.phase, progress.exit_code) == (Phase.FAILED, 1)


def test_an_hour_fails_the_launch_and_not_the_job(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", -1)
    away = Disk(times=10**6).spoil(private.make_private)
    monkeypatch.setattr(preconditions, "make_private", away)
    with pytest.raises(RanksError, match="the state directory cannot be used"):
        train(trained, 8)
    assert_launch_failed(trained)


def test_what_only_this_rank_cannot_see_is_not_set_aside(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", -1)
    aside = trained / "aside"

    def load(path: Path) -> None:
        (trained / "checkpoint").rename(aside)
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(container, "load", load)
    with pytest.raises(FileNotFoundError):
        train(trained, 8)
    aside.rename(trained / "checkpoint")
    assert_launch_failed(trained)
    assert checkpoints(trained) == ["3", "5"]


def test_a_directory_that_comes_back_is_not_taken_for_an_empty_one(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = trained / "aside"
    (trained / "checkpoint").rename(aside)

    def back(_: float) -> None:
        if aside.exists():
            aside.rename(trained / "checkpoint")

    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=time.monotonic, sleep=back))
    manifest, corrupt = CheckpointStore(trained / "checkpoint").newest_good()
    assert manifest is not None
    assert (manifest.iteration, corrupt) == (5, 0)


def test_one_that_stays_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", -1)
    with pytest.raises(FileNotFoundError):
        CheckpointStore(tmp_path / "checkpoint").newest_good()


def opened(directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[RanksError]:
    """What goes wrong for two ranks that find each other."""
    told = threading.Event()
    name: list[bytes] = []

    def broadcast(data: bytes) -> bytes:
        if threading.current_thread() is threading.main_thread():
            name.append(data)
            told.set()
        assert told.wait(20)
        return name[0]

    monkeypatch.setattr(ranks, "_broadcast", broadcast)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    both = Ranks(0, 2), Ranks(1, 2)
    errors: list[RanksError] = []

    def join(one: Ranks) -> None:
        try:
            one.open(directory)
        except RanksError as error:
            errors.append(error)

    other = threading.Thread(target=join, args=(both[1],))
    other.start()
    join(both[0])
    other.join(20)
    for one in reversed(both):
        one.close()
    return errors


@pytest.mark.parametrize("name", ["write", "read"])
def test_ranks_find_each_other_when_it_is_back(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_POLL_SECONDS", 0.01)
    disk = Disk(times=3)
    monkeypatch.setattr(connection_file, name, disk.spoil(getattr(connection_file, name)))
    assert not opened(tmp_path, monkeypatch)
    assert disk.times == 0


def test_all_ranks_know_that_it_is_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", -1)
    disk = Disk(times=10**6)
    disk.code = errno.ENOSPC
    monkeypatch.setattr(connection_file, "write", disk.spoil(connection_file.write))
    errors = opened(tmp_path, monkeypatch)
    assert [error.away for error in errors] == [True, True]
    assert any("No space left on device" in str(error) for error in errors)
