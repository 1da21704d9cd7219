"""What a checkpoint holds, and how it is taken out of and put back into live objects.

Two formats. `whole`: rank 0 writes one file; any world size reads it. `sharded`: every rank
writes its own part through `torch.distributed.checkpoint`, which reshards on reading; used where
a model's parameters are distributed (FSDP).
"""

import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist

WHOLE = "whole"
SHARDED = "sharded"
STATE_FILE = "state.pt"
RNG_FILE = "rng.pt"


class Stateful(Protocol):
    """Anything that a checkpoint can hold: modules, optimizers, schedulers, scalers, samplers."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state_dict: Any) -> Any: ...


class Snapshot(Protocol):
    """Takes the training state and puts it back.

    `capture` runs on the thread that trains, `write` on another; a capture is written before the
    next is taken.
    """

    format: str

    def model(self) -> dict[str, str]:
        """Name of every parameter and buffer → type and shape."""

    def capture(self, rank: int) -> Any:
        """A copy of the state in host memory, of what this rank will write."""

    def write(self, captured: Any, directory: Path, rank: int) -> list[str]:
        """Write it; the names of the files this rank wrote."""

    def read(self, directory: Path) -> Any:
        """Read a checkpoint without changing the training state."""

    def apply(self, loaded: Any) -> None:
        """Put back what was read."""


class HostCopy:
    """Copies nested tensors into host memory that is allocated once and used again.

    Pinned where the tensors are on a GPU: the copy then runs at the speed of the bus.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[Any, ...], torch.Tensor] = {}

    def __call__(self, value: Any) -> Any:
        copied = self._copy(value, ())
        if _on_gpu():
            torch.cuda.synchronize()
        return copied

    def _copy(self, value: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(value, torch.Tensor):
            return self._copy_tensor(value.detach(), path)
        if isinstance(value, Mapping):
            return {key: self._copy(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._copy(item, (*path, i)) for i, item in enumerate(value)]
        if type(value) is tuple:
            return tuple(self._copy(item, (*path, i)) for i, item in enumerate(value))
        return value

    def _copy_tensor(self, tensor: torch.Tensor, path: tuple[Any, ...]) -> torch.Tensor:
        if type(tensor) is not torch.Tensor:
            # Distributed tensors keep their layout, which only they can copy.
            return tensor.clone() if tensor.device.type == "cpu" else tensor.cpu()
        buffer = self._buffers.get(path)
        if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
            buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self._buffers[path] = buffer
        return buffer.copy_(tensor, non_blocking=True)


class WholeSnapshot:
    """State that is the same on every rank."""

    format = WHOLE

    def __init__(self, model: torch.nn.Module, others: Mapping[str, Stateful]):
        self._model = unwrap(model)
        self._objects = {"model": self._model, **others}
        self._copy = HostCopy()

    def model(self) -> dict[str, str]:
        return _describe(self._model.state_dict())

    def capture(self, rank: int) -> Any:
        if rank != 0:
            return None
        return self._copy({name: thing.state_dict() for name, thing in self._objects.items()})

    def write(self, captured: Any, directory: Path, rank: int) -> list[str]:
        if rank != 0:
            return []
        torch.save(captured, directory / STATE_FILE)
        return [STATE_FILE]

    def read(self, directory: Path) -> Any:
        return load_file(directory / STATE_FILE)

    def apply(self, loaded: Any) -> None:
        apply_states(self._objects, loaded)


class ShardedSnapshot:
    """State whose tensors are spread over the ranks."""

    format = SHARDED

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None,
        others: Mapping[str, Stateful],
    ):
        # Imported here: it costs about a second that whole checkpoints need not pay.
        from torch.distributed import checkpoint
        from torch.distributed.checkpoint import state_dict

        self._dcp: Any = checkpoint
        self._api = state_dict
        self._model = model
        self._optimizers = [] if optimizer is None else [optimizer]
        self._others = dict(others)
        self._copy = HostCopy()
        # Its own group: saving runs beside the training's collectives.
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None

    def model(self) -> dict[str, str]:
        return _describe(self._api.get_model_state_dict(self._model))

    def capture(self, rank: int) -> Any:
        others = {name: thing.state_dict() for name, thing in self._others.items()}
        return self._copy(self._tensors()), self._copy(others) if rank == 0 else None

    def write(self, captured: Any, directory: Path, rank: int) -> list[str]:
        tensors, others = captured
        self._dcp.save(
            tensors,
            checkpoint_id=str(directory),
            process_group=self._group,
            **self._local(),
        )
        names = [path.name for path in directory.glob(f"__{rank}_*.distcp")]
        if rank == 0:
            torch.save(others, directory / STATE_FILE)
            names += [STATE_FILE, ".metadata"]
        return names

    def read(self, directory: Path) -> Any:
        tensors = self._tensors()
        self._dcp.load(
            tensors,
            checkpoint_id=str(directory),
            process_group=self._group,
            **self._local(),
        )
        return tensors, load_file(directory / STATE_FILE)

    def apply(self, loaded: Any) -> None:
        tensors, others = loaded
        self._api.set_state_dict(
            self._model,
            self._optimizers,
            model_state_dict=tensors["model"],
            optim_state_dict=tensors["optimizer"],
        )
        apply_states(self._others, others)

    def _tensors(self) -> dict[str, Any]:
        model, optimizer = self._api.get_state_dict(self._model, self._optimizers)
        return {"model": model, "optimizer": optimizer}

    def _local(self) -> dict[str, bool]:
        return {} if self._group is not None else {"no_dist": True}


def apply_states(objects: Mapping[str, Stateful], states: Mapping[str, Any]) -> None:
    """Load each object's state. Objects that the checkpoint does not know stay as they are."""
    for name, thing in objects.items():
        if name in states:
            thing.load_state_dict(states[name])


def unwrap(model: torch.nn.Module) -> torch.nn.Module:
    """The model itself, without `torch.compile` and data-parallel wrappers."""
    wrappers = (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)
    inner: Any = model
    while True:
        if isinstance(inner, wrappers):
            inner = inner.module
        elif hasattr(inner, "_orig_mod"):
            inner = inner._orig_mod
        else:
            return inner  # type: ignore[no-any-return]


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether parameters of the model are spread over the ranks."""
    if not dist.is_available():
        return False
    if any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules()):
        return True
    return any(type(parameter.data).__name__ == "DTensor" for parameter in model.parameters())


def capture_rng() -> dict[str, Any]:
    """The states of this process's random number generators."""
    states: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    numpy = _numpy_random()
    if numpy is not None:
        states["numpy"] = numpy.get_state()
    if _on_gpu():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_rng(states: dict[str, Any]) -> None:
    """Put the generators back."""
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    numpy = _numpy_random()
    if numpy is not None and "numpy" in states:
        numpy.set_state(states["numpy"])
    if torch.cuda.is_available() and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])


def seed_rng(seed: int, iteration: int, rank: int) -> None:
    """Start the generators anew, differently for each iteration and rank.

    For a launch at another world size than the checkpoint's: there is then no right state per rank,
    but two such launches are the same and no two ranks are.
    """
    mixed = (seed * 1_000_003 + iteration) * 1_000_003 + rank
    random.seed(mixed)
    torch.manual_seed(mixed % 2**63)
    numpy = _numpy_random()
    if numpy is not None:
        numpy.seed(mixed % 2**32)


def load_file(path: Path) -> Any:
    """Read a file written by `torch.save` into host memory.

    The user's own state may be any Python object, so this unpickles: a state directory must be
    writable by its owner alone, like the training script itself.
    """
    return torch.load(path, map_location="cpu", weights_only=False)


def _describe(state: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def _on_gpu() -> bool:
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _numpy_random() -> Any:
    # A script that has not imported it draws nothing from it.
    return getattr(sys.modules.get("numpy"), "random", None)
