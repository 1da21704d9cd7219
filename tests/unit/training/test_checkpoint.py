"""Checkpoint directories: complete or invisible, checked, the newest kept."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.training import connection_file, patience
from ef_slurm.training.checkpoint import (
    MANIFEST,
    CheckpointStore,
    CorruptCheckpointError,
    Manifest,
    checksums,
)

MANIFEST_OF = Manifest(
    iteration=0,
    generation=1,
    world_size=2,
    global_batch_size=8,
    samples=100,
    seed=0,
    format="whole",
    model={"weight": "float32[2, 2]"},
    files={},
)


def save(store: CheckpointStore, iteration: int, text: bytes = b"state") -> Path:
    temporary = store.begin(iteration, 1)
    (temporary / "state.pt").write_bytes(text)
    files = checksums(temporary, ["state.pt"])
    return store.commit(replace(MANIFEST_OF, iteration=iteration, files=files))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing here stays missing; `test_patience` has disks that come back."""
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", -1)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoint")


def test_nothing_there(store: CheckpointStore) -> None:
    assert store.iterations() == []
    store.directory.mkdir()
    assert store.newest_good() == (None, 0)


def test_saved_is_found_again(store: CheckpointStore) -> None:
    save(store, 10)
    manifest, corrupt = store.newest_good()
    assert manifest is not None
    assert (manifest.iteration, manifest.model, corrupt) == (10, MANIFEST_OF.model, 0)
    assert [p.name for p in store.directory.iterdir()] == ["10"]


def test_newest_two_are_kept(store: CheckpointStore) -> None:
    for iteration in (5, 10, 9, 100):
        save(store, iteration)
    assert store.iterations() == [10, 100]
    assert sorted(p.name for p in store.directory.iterdir()) == ["10", "100"]


def test_unfinished_is_invisible_and_cleaned(store: CheckpointStore) -> None:
    save(store, 5)
    (store.begin(6, 2) / "state.pt").write_bytes(b"half")
    connection_file.write(connection_file.path_of(store.directory, b"12"), {"secret": "of then"})
    assert store.iterations() == [5]
    store.clean()
    assert [p.name for p in store.directory.iterdir()] == ["5"]


def test_what_cannot_be_removed_keeps_nothing_from_being_saved(store: CheckpointStore) -> None:
    save(store, 1)
    (store.directory / ".1.old.tmp" / "in the way").mkdir(parents=True)
    for iteration in (2, 3, 4, 5):
        save(store, iteration)
        assert store.iterations()[-1] == iteration
    assert len(store.iterations()) == 2


def test_same_iteration_twice_keeps_the_first(store: CheckpointStore) -> None:
    save(store, 5, b"one")
    save(store, 5, b"two")
    assert (store.path(5) / "state.pt").read_bytes() == b"one"
    assert [p.name for p in store.directory.iterdir()] == ["5"]


def truncate(directory: Path) -> None:
    (directory / "state.pt").write_bytes(b"sta")


def flip(directory: Path) -> None:
    (directory / "state.pt").write_bytes(b"stave")


def remove(directory: Path) -> None:
    (directory / "state.pt").unlink()


def without_manifest(directory: Path) -> None:
    (directory / MANIFEST).unlink()


def half_manifest(directory: Path) -> None:
    path = directory / MANIFEST
    path.write_text(path.read_text()[:40])


def changed_manifest(directory: Path) -> None:
    path = directory / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"global_batch_size": 9}))


@pytest.mark.parametrize(
    "damage", [truncate, flip, remove, without_manifest, half_manifest, changed_manifest]
)
def test_damaged_is_set_aside_and_the_one_before_used(
    store: CheckpointStore,
    damage: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    save(store, 5)
    assert callable(damage)
    damage(save(store, 10))
    with pytest.raises(CorruptCheckpointError, match="checkpoint/10"):
        store.verify(10)
    with caplog.at_level(logging.WARNING):
        manifest, corrupt = store.newest_good()
    assert manifest is not None
    assert (manifest.iteration, corrupt) == (5, 1)
    assert "the checkpoint before it is used" in caplog.text
    assert sorted(p.name for p in store.directory.iterdir()) == ["10.corrupt", "5"]
    save(store, 10)
    assert store.newest_good()[0] == store.verify(10)


@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_cannot_be_removed_keeps_no_checkpoint_from_being_set_aside(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """As NFS keeps a file that somebody has open."""
    save(store, 5)
    flip(save(store, 10))
    there = store.directory / "10.corrupt"
    if what == "file":
        there.touch()
    else:
        there.mkdir()
        (there / ".nfs0001").touch()
        monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    manifest, corrupt = store.newest_good()
    assert manifest is not None
    assert (manifest.iteration, corrupt) == (5, 1)
    assert (store.directory / "10.corrupt.1" / MANIFEST).is_file()


def test_renamed_checkpoint_is_not_taken_for_another(store: CheckpointStore) -> None:
    save(store, 5).rename(store.path(7))
    assert store.newest_good() == (None, 1)
