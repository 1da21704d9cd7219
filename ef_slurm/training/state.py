"""What a checkpoint holds, and how it is taken out of and put back into live objects.

Two formats. `whole`: rank 0 writes one file; any world size reads it. `sharded` (`shards`): every
rank writes its own part of the tensors that are distributed over the ranks (FSDP).
"""

import random
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist

from ef_slurm.training import container
from ef_slurm.training.parallel import Parallel
from ef_slurm.training.values import check, freeze, thaw_objects

WHOLE = "whole"
SHARDED = "sharded"
STATE_FILE = "state.safetensors"


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

    def check(self, rank: int) -> None:
        """Whether what this rank would write can be kept.

        Raises:
            StateError: no; the text names the key.
        """

    def capture(self, rank: int) -> Any:
        """A copy of the state in host memory, of what this rank will write.

        Raises:
            StateError: as `check`.
        """

    def write(self, captured: Any, directory: Path, rank: int) -> list[str]:
        """Write it; the names of the files this rank wrote."""

    def read(self, directory: Path) -> Any:
        """Read a checkpoint without changing the training state."""

    def apply(self, loaded: Any) -> None:
        """Put back what was read."""


class HostCopy:
    """Copies tensors into host memory that is allocated once and used again.

    Pinned where the tensors are on a GPU: the copy then runs at the speed of the bus. Call `finish`
    after the last of a capture.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, torch.Tensor] = {}

    def __call__(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
            buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self._buffers[name] = buffer
        return buffer.copy_(tensor, non_blocking=True)

    def finish(self) -> None:
        """Wait until all copies are made."""
        if on_gpu():
            torch.cuda.synchronize()


class WholeSnapshot:
    """State that is the same on every rank."""

    format = WHOLE

    def __init__(self, model: torch.nn.Module, others: Mapping[str, Stateful]):
        self._model = unwrap(model)
        self.objects: Mapping[str, Stateful] = {"model": self._model, **others}
        self._copy = HostCopy()

    def model(self) -> dict[str, str]:
        return describe(self._model.state_dict())

    def check(self, rank: int) -> None:
        if rank == 0:
            check(states_of(self.objects))

    def capture(self, rank: int) -> Any:
        if rank != 0:
            return None
        captured = freeze(states_of(self.objects), self._copy)
        self._copy.finish()
        return captured

    def write(self, captured: Any, directory: Path, rank: int) -> list[str]:
        if rank != 0:
            return []
        container.save(directory / STATE_FILE, captured)
        return [STATE_FILE]

    def read(self, directory: Path) -> Any:
        return read_states(directory / STATE_FILE, self.objects)

    def apply(self, loaded: Any) -> None:
        apply_states(self.objects, loaded)


def states_of(objects: Mapping[str, Stateful]) -> dict[str, Any]:
    """The state of each object.

    Code is no state: what torch's schedulers keep of their own functions stays with them.
    """
    return {
        name: _without_code(thing.state_dict())
        if type(thing).__module__.startswith("torch.optim")
        else thing.state_dict()
        for name, thing in objects.items()
    }


def _without_code(state: Any) -> Any:
    if type(state) is list:
        return [_without_code(item) for item in state]
    if type(state) is not dict:
        return state
    code = types.FunctionType, types.MethodType, types.BuiltinFunctionType
    return {key: _without_code(item) for key, item in state.items() if not isinstance(item, code)}


def read_states(path: Path, objects: Mapping[str, Stateful]) -> dict[str, Any]:
    """The states in a file.

    Raises:
        OSError: it cannot be read.
        StateError: it is no such file.
    """
    themselves = {name for name, thing in objects.items() if is_placed_by_itself(thing)}
    return thaw_objects(container.load(path), lambda name: name not in themselves)


def is_placed_by_itself(thing: Stateful) -> bool:
    """Whether an object puts tensors where they belong; others are given them where they were."""
    return isinstance(thing, (torch.nn.Module, torch.optim.Optimizer))


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
        if isinstance(inner, (*wrappers, Parallel)):
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
    if on_gpu():
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


def describe(state: Mapping[str, Any]) -> dict[str, str]:
    """Name of every tensor in a module's state → type and shape."""
    return {
        name: f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def on_gpu() -> bool:
    """Whether this process uses a GPU."""
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _numpy_random() -> Any:
    # A script that has not imported it draws nothing from it.
    return getattr(sys.modules.get("numpy"), "random", None)
