"""Whose a state directory must be, and what somebody else's data in it can do."""

import json
import os
import pickle
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ef_slurm import training
from ef_slurm.contract import Exit, StateDir
from ef_slurm.training import container, random_states
from ef_slurm.training.checkpoint import MANIFEST, CheckpointStore, checksums
from ef_slurm.training.private import NotPrivateError, make_private
from ef_slurm.training.state import STATE_FILE
from ef_slurm.training.values import Frozen


@pytest.fixture(autouse=True)
def outside_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("EF_", "TORCHELASTIC")):
            monkeypatch.delenv(name)


def train(state_dir: Path, iterations: int) -> int:
    """How many iterations were done."""
    model = nn.Linear(2, 1)
    done = 0
    with training.session(
        model, data=20, iterations=iterations, global_batch_size=4, state_dir=state_dir
    ) as session:
        for _ in session:
            done += 1
    return done


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_made_is_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        train(tmp_path / "state", 5)
    finally:
        os.umask(before)
    assert mode(tmp_path / "state") == 0o700
    assert mode(tmp_path / "state" / "checkpoint") == 0o700
    [checkpoint] = (tmp_path / "state" / "checkpoint").iterdir()
    assert mode(checkpoint) == 0o700
    assert mode(checkpoint / STATE_FILE) == 0o600


@pytest.mark.parametrize(
    ("which", "bits", "said"),
    [
        ("state", 0o770, "can be written by its group"),
        ("state", 0o757, "can be written by everybody"),
        ("state", 0o1777, "can be written by its group and everybody"),
        ("state/checkpoint", 0o720, "can be written by its group"),
        ("state/checkpoint", 0o702, "can be written by everybody"),
        (".", 0o777, "could put something else in the place of"),
    ],
)
def test_directories_that_others_write_are_refused(
    tmp_path: Path, which: str, bits: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "state", 5)
    (tmp_path / which).chmod(bits)
    with pytest.raises(training.Unusable, match=said) as refused:
        train(tmp_path / "state", 9)
    assert refused.value.code == Exit.UNUSABLE
    assert "chmod" in capsys.readouterr().err
    progress = StateDir(tmp_path / "state").read_progress()
    assert progress is not None
    assert said in progress.message
    (tmp_path / which).chmod(0o700)
    assert train(tmp_path / "state", 9) == 4


@pytest.mark.parametrize("bits", [0o1777, 0o3777, 0o2775, 0o755])
def test_a_sites_state_root_may_be_shared(tmp_path: Path, bits: int) -> None:
    tmp_path.chmod(bits)
    assert train(tmp_path / "state", 5) == 5
    # As ef-sbatch makes it: the daemon's group may look for reports.
    (tmp_path / "state").chmod(0o2750)
    assert train(tmp_path / "state", 6) == 1


def as_root() -> bool:
    return os.geteuid() == 0


@pytest.mark.skipif(not as_root(), reason="only root can give files away")
def test_directories_of_somebody_else_are_refused(tmp_path: Path) -> None:
    state, checkpoints = tmp_path / "state", tmp_path / "state" / "checkpoint"
    make_private(state, checkpoints)
    for path in (checkpoints, state):
        os.chown(path, 12345, -1)
        with pytest.raises(NotPrivateError, match="belongs to uid 12345, not to uid 0"):
            make_private(state, checkpoints)
        os.chown(path, 0, -1)
    make_private(state, checkpoints)


@pytest.mark.skipif(not as_root(), reason="only root can give files away")
@pytest.mark.parametrize("what", [".", STATE_FILE, MANIFEST])
def test_checkpoints_of_somebody_else_are_not_used(tmp_path: Path, what: str) -> None:
    train(tmp_path, 5)
    train(tmp_path, 9)
    os.chown(tmp_path / "checkpoint" / "9" / what, 12345, -1)
    assert train(tmp_path, 9) == 4


@pytest.mark.parametrize("what", [".", STATE_FILE, MANIFEST])
def test_links_are_not_followed(tmp_path: Path, what: str) -> None:
    train(tmp_path, 5)
    train(tmp_path, 9)
    place = tmp_path / "checkpoint" / "9" / what
    moved = tmp_path / "elsewhere"
    place.rename(moved)
    place.symlink_to(moved)
    assert train(tmp_path, 9) == 4


def test_checkpoint_directory_by_a_link_is_refused(tmp_path: Path) -> None:
    train(tmp_path, 5)
    (tmp_path / "checkpoint").rename(tmp_path / "elsewhere")
    (tmp_path / "checkpoint").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(training.Unusable, match="is no directory of its own"):
        train(tmp_path, 9)


class Bomb:
    """What runs where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def plant(state_dir: Path, name: str, write: Any) -> None:
    """Put a file into the newest checkpoint, with a manifest to match."""
    store = CheckpointStore(state_dir / "checkpoint")
    newest = store.iterations()[-1]
    manifest = store.verify(newest)
    directory = store.path(newest)
    temporary = store.begin(newest + 1, 1)
    for old in manifest.files:
        (temporary / old).write_bytes((directory / old).read_bytes())
    write(temporary / name)
    files = checksums(temporary, list(manifest.files))
    store.commit(replace(manifest, iteration=newest + 1, files=files))


@pytest.mark.parametrize("name", [STATE_FILE, random_states.RNG_FILE])
@pytest.mark.parametrize("how", ["pickle", "torch", "torch legacy", "tree"])
def test_planted_code_does_not_run(tmp_path: Path, name: str, how: str) -> None:
    executed = tmp_path / "executed"
    bomb = {"model": Bomb(executed)}

    def write(path: Path) -> None:
        if how == "pickle":
            path.write_bytes(pickle.dumps(bomb))
        elif how == "tree":
            call = {"is": "dataclass", "of": "os:mkdir", "fields": {"path": str(executed)}}
            tree = {"is": "dict", "items": [["model", call], ["extra", call]]}
            container.save(path, Frozen(tree, {}))
        else:
            torch.save(bomb, path, _use_new_zipfile_serialization=how == "torch")

    train(tmp_path, 5)
    plant(tmp_path, name, write)
    assert train(tmp_path, 9) == 4  # from the one before it
    assert not executed.exists()


def test_names_in_a_manifest_stay_inside(tmp_path: Path) -> None:
    train(tmp_path, 5)
    store = CheckpointStore(tmp_path / "checkpoint")
    manifest = store.verify(5)
    (tmp_path / "checkpoint" / "outside").write_text("x")
    files = {**manifest.files, "../outside": (1, 0)}
    store.begin(7, 1)
    store.commit(replace(manifest, iteration=7, files=files))
    assert train(tmp_path, 9) == 4


def test_checkpoint_of_another_version_is_left_alone(tmp_path: Path) -> None:
    train(tmp_path, 5)
    path = tmp_path / "checkpoint" / "5" / MANIFEST
    values = json.loads(path.read_text())
    from ef_slurm.training.checkpoint import _digest

    values["version"] = 1
    del values["checksum"]
    path.write_text(json.dumps({**values, "checksum": _digest(values)}))
    with pytest.raises(training.Unusable, match="of version 1, this ef-slurm knows version 2"):
        train(tmp_path, 9)
    assert path.exists()
