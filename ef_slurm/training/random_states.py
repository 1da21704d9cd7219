"""The random states of all ranks, in one file of a checkpoint.

Each rank packs its own; nobody but it unpacks that again.
"""

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ef_slurm.training import container
from ef_slurm.training.state import capture_rng
from ef_slurm.training.values import StateError, freeze, thaw

RNG_FILE = "rng.safetensors"


def pack() -> str:
    """This rank's random state, now, as text for a message."""
    frozen = freeze(capture_rng(), lambda _, tensor: tensor.clone())
    return base64.b64encode(container.dump(frozen)).decode("ascii")


def write(directory: Path, packed: Iterable[str]) -> str:
    """Write the states of all ranks, in rank order; the name of the file.

    Raises:
        OSError: it cannot be written.
        ValueError: a rank sent something else.
    """
    states = [
        torch.frombuffer(bytearray(base64.b64decode(text, validate=True)), dtype=torch.uint8)
        for text in packed
    ]
    container.save(directory / RNG_FILE, freeze(states, lambda _, tensor: tensor))
    return RNG_FILE


def read(directory: Path, rank: int) -> dict[str, Any]:
    """This rank's state, for `restore_rng`.

    Raises:
        OSError: the file cannot be read.
        StateError: it has no state of this rank.
    """
    states: Any = thaw(container.load(directory / RNG_FILE))
    if not isinstance(states, list) or not rank < len(states):
        raise StateError(f"{RNG_FILE} has no state of rank {rank}")
    packed = io.BytesIO(bytes(states[rank].tolist()))
    own: Any = thaw(container.read(packed, RNG_FILE))
    if not isinstance(own, dict) or not {"python", "torch"} <= own.keys():
        raise StateError(f"{RNG_FILE} has no random state of rank {rank}")
    return own
