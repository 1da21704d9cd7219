"""The state of a training as plain values: a tree of JSON, and tensors beside it.

In goes whatever a `state_dict()` holds; out comes a copy that shares nothing with it, and back from
that comes what was put in, without any code being named or run (no pickle). What is not known how
to copy is refused, with the key where it lies. `builtin`, `classes`, `arrays` and `tensors` have
the kinds of values; `codec` walks through them.
"""

from collections.abc import Callable
from typing import Any

from ef_slurm.training.values.arrays import ARRAYS
from ef_slurm.training.values.builtin import BUILTIN
from ef_slurm.training.values.classes import CLASSES
from ef_slurm.training.values.codec import (
    Codec,
    Copy,
    Decoder,
    Encoder,
    Frozen,
    Place,
    StateError,
)
from ef_slurm.training.values.tensors import TENSORS

__all__ = ["Copy", "Frozen", "StateError", "check", "freeze", "thaw", "thaw_objects"]

_CODEC = Codec((*BUILTIN, *ARRAYS, *TENSORS, *CLASSES))


def freeze(value: object, copy: Copy, name: str = "") -> Frozen:
    """A copy of a value, as plain data.

    Args:
        copy: copies a tensor into host memory.
        name: of the value, for messages.

    Raises:
        StateError: something in it is of a kind that cannot be kept; the text names the key.
    """
    encoder = Encoder(_CODEC)
    tree = encoder.encode(value, Place(name, name))
    return Frozen(tree, encoder.copy_tensors(copy))


def check(value: object, name: str = "") -> None:
    """Whether `freeze` would take it; copies no tensors.

    Raises:
        StateError: as `freeze`.
    """
    Encoder(_CODEC).encode(value, Place(name, name))


def thaw_objects(frozen: Frozen, to_devices: Callable[[str], bool]) -> dict[str, Any]:
    """The values of a dictionary that was frozen.

    Args:
        to_devices: key → whether tensors of a GPU go onto this rank's GPU.

    Raises:
        StateError: as `thaw`.
    """
    tree = frozen.tree
    if not isinstance(tree, dict) or tree.get("is") != "dict":
        raise StateError("not a dictionary of states")
    decoder = Decoder(_CODEC, frozen.data, False)
    found: dict[str, Any] = {}
    for name, node in tree["items"]:
        decoder.to_devices = to_devices(name)
        found[name] = decoder.decode(node)
    return found


def thaw(frozen: Frozen, *, to_devices: bool = False) -> object:
    """The value again.

    Args:
        to_devices: put tensors of a GPU onto this rank's GPU; otherwise all stay in host memory.

    Raises:
        StateError: it is not what `freeze` made, or a class is not there any more.
    """
    return Decoder(_CODEC, frozen.data, to_devices).decode(frozen.tree)
