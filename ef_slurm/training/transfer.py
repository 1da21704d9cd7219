"""The state of a training from rank 0 to ranks that come to it, without a file.

What the state is like (names, types, shapes, all that is no tensor) goes as a message, the bytes of
the tensors by broadcast, in pieces of bounded size. Nothing is unpickled (`values`). Ranks that
have the state already take part, since a broadcast is everybody's, and drop what they get.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from ef_slurm.training.ranks import Ranks
from ef_slurm.training.state import Stateful, apply_states, is_placed_by_itself, states_of
from ef_slurm.training.values import Frozen, freeze, thaw_objects

PIECE_BYTES = 1 << 25
"""Bytes of one broadcast, and of the buffer for it."""

_KEY = "state"


@dataclass(frozen=True, slots=True)
class _Run:
    """Bytes of one tensor in one piece.

    Args:
        tensor: its number.
        first, end: bytes of the tensor.
        at: where they lie in the piece.
    """

    tensor: int
    first: int
    end: int
    at: int


def send(ranks: Ranks, objects: Mapping[str, Stateful], device: torch.device) -> None:
    """From rank 0: the state of the objects, to all ranks. All the others `receive`.

    Args:
        device: of the buffers that are broadcast.

    Raises:
        StateError: something in it is of a kind that cannot be sent.
    """
    frozen = freeze(states_of(objects), lambda _, tensor: tensor.detach().contiguous())
    tensors = list(frozen.data.values())
    head = [
        [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape), tensor.is_cuda]
        for name, tensor in frozen.data.items()
    ]
    ranks.publish(_KEY, {"tree": frozen.tree, "tensors": head})
    flat = [_bytes(tensor) for tensor in tensors]
    buffer = torch.empty(PIECE_BYTES, dtype=torch.uint8, device=device)
    for size, runs in _pieces([len(one) for one in flat]):
        for run in runs:
            length = run.end - run.first
            buffer[run.at : run.at + length].copy_(flat[run.tensor][run.first : run.end])
        dist.broadcast(buffer[:size], src=0)


def receive(ranks: Ranks, objects: Mapping[str, Stateful] | None, device: torch.device) -> None:
    """On all ranks but the first: the state that it sends.

    Args:
        objects: to load it into; None where it is there already.
        device: as for `send`.

    Raises:
        StateError: it is not what `send` sent.
    """
    told = ranks.fetch(_KEY)
    tensors: list[torch.Tensor] = []
    names: list[str] = []
    for name, dtype, shape, on_gpu in told["tensors"]:
        # Modules and optimizers put tensors where they belong; others get them in host memory.
        place = "cuda" if on_gpu and torch.cuda.is_available() and _placed(name, objects) else "cpu"
        if objects is None:
            place = "meta"
        tensors.append(torch.empty(shape, dtype=getattr(torch, dtype), device=place))
        names.append(name)
    sizes = [one.numel() * one.element_size() for one in tensors]
    flat = [] if objects is None else [_bytes(tensor) for tensor in tensors]
    buffer = torch.empty(PIECE_BYTES, dtype=torch.uint8, device=device)
    for size, runs in _pieces(sizes):
        dist.broadcast(buffer[:size], src=0)
        for run in runs if objects is not None else ():
            length = run.end - run.first
            flat[run.tensor][run.first : run.end].copy_(buffer[run.at : run.at + length])
    if objects is not None:
        frozen = Frozen(told["tree"], dict(zip(names, tensors, strict=True)))
        themselves = {name for name, one in objects.items() if is_placed_by_itself(one)}
        apply_states(objects, thaw_objects(frozen, lambda name: name not in themselves))


def _placed(name: str, objects: Mapping[str, Stateful] | None) -> bool:
    thing = (objects or {}).get(name.partition(".")[0])
    return thing is not None and is_placed_by_itself(thing)


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes of a contiguous tensor, as a tensor over the same memory."""
    flat = tensor.reshape(-1)
    return flat.view(torch.uint8) if flat.numel() else flat.new_empty(0, dtype=torch.uint8)


def _pieces(sizes: Sequence[int]) -> Iterator[tuple[int, list[_Run]]]:
    """How the bytes of all tensors, one after the other, are divided: (bytes, what lies where)."""
    runs: list[_Run] = []
    filled = 0
    for tensor, size in enumerate(sizes):
        first = 0
        while first < size:
            end = min(size, first + PIECE_BYTES - filled)
            runs.append(_Run(tensor, first, end, filled))
            filled += end - first
            first = end
            if filled == PIECE_BYTES:
                yield filled, runs
                runs, filled = [], 0
    if filled:
        yield filled, runs


def buffer_device(model_device: torch.device) -> Any:
    """Where the process group broadcasts from: the GPU with NCCL, host memory otherwise."""
    on_gpu = model_device.type == "cuda" and "nccl" in dist.get_backend()
    return model_device if on_gpu else torch.device("cpu")
