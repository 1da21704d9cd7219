"""Nothing that somebody else could have written is unpickled, by us or by torch for us."""

import re
from pathlib import Path

import pytest

from ef_slurm import training

# What unpickles: the module itself, torch's files, and its collectives of objects.
UNPICKLES = re.compile(
    r"\b(?:import pickle|from pickle|marshal|shelve|dill|cloudpickle|joblib)\b"
    r"|torch\.(?:load|save)\b|_object(?:_list)?\(|distributed import checkpoint"
    r"|\b(?:numpy|np)\.(?:load|save)\b|allow_pickle|\beval\(|\bexec\("
)
FILES = sorted(Path(training.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_nothing_is_unpickled(path: Path) -> None:
    found = UNPICKLES.findall(path.read_text(encoding="utf-8"))
    assert not found
