"""Files of tensors: what is damaged is refused, what is whole others can read."""

import io
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ef_slurm.training import container
from ef_slurm.training.values import StateError, freeze


def damaged(cut: Callable[[bytes], bytes]) -> bytes:
    file = io.BytesIO()
    container.write(file, freeze({"a": torch.ones(3)}, lambda _, tensor: tensor.clone()))
    return cut(file.getvalue())


def header(**changes: Any) -> Callable[[bytes], bytes]:
    def cut(whole: bytes) -> bytes:
        length = int.from_bytes(whole[:8], "little")
        values = json.loads(whole[8 : 8 + length])
        values["a"] |= changes
        text = json.dumps(values).encode()
        return len(text).to_bytes(8, "little") + text + whole[8 + length :]

    return cut


@pytest.mark.parametrize(
    "cut",
    [
        lambda _: b"",
        lambda whole: whole[:5],
        lambda whole: whole[:40],
        lambda whole: whole[:-1],
        lambda whole: b"\xff" * 8 + whole[8:],
        lambda whole: whole[:8] + b"[" * 100_000,
        header(dtype="PICKLE"),
        header(shape=[2**62]),
        header(shape=[-3]),
        header(data_offsets=[0, 2**40]),
        header(data_offsets=[-12, 0]),
        header(data_offsets=["0", "12"]),
        header(shape=[3.0]),
    ],
)
def test_damaged_files_are_refused(cut: Callable[[bytes], bytes]) -> None:
    with pytest.raises(StateError, match="file"):
        container.read(io.BytesIO(damaged(cut)), "state")


def test_other_tools_read_the_file(tmp_path: pathlib.Path) -> None:
    """safetensors' own library, where it is installed."""
    safetensors = pytest.importorskip("safetensors.torch")
    state: dict[str, Any] = {
        "model": nn.Linear(2, 3).state_dict(),
        "step": torch.tensor(5),
        "n": np.arange(3),
    }
    path = tmp_path / "state.safetensors"
    container.save(path, freeze(state, lambda _, tensor: tensor.clone()))
    found = safetensors.load_file(path)
    assert torch.equal(found["model.weight"], state["model"]["weight"])
    assert found["step"].item() == 5
    assert found["n"].tolist() == [0, 1, 2]
