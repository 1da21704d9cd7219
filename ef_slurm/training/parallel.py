"""A model shared with the other ranks, whichever these are at the moment."""

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def shared(model: torch.nn.Module, options: Mapping[str, Any]) -> DistributedDataParallel:
    """The model in `DistributedDataParallel`, on the GPU that it is on."""
    device = next(model.parameters()).device
    given = {"device_ids": [device]} if device.type == "cuda" else {}
    return DistributedDataParallel(model, **{**given, **options})


class Parallel(torch.nn.Module):
    """`DistributedDataParallel` that can be made anew for another process group.

    Forward, `no_sync` and `module` are as there; names in the state have the same `module.` before
    them.

    Attributes:
        module: the model itself.
    """

    def __init__(self, module: torch.nn.Module, options: Mapping[str, Any]):
        super().__init__()
        self.module = module
        self._options = dict(options)
        # Beside torch's list of modules: parameters and state would be there twice.
        self.__dict__["_inner"] = None
        self.renew(synchronize=True)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        inner = self.__dict__["_inner"]
        return self.module(*inputs, **named) if inner is None else inner(*inputs, **named)

    def train(self, mode: bool = True) -> Self:
        inner = self.__dict__["_inner"]
        if inner is not None:
            inner.training = mode
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """A copy, as of a moving average, is shared with nobody."""
        return {**self.__dict__, "_inner": None}

    def no_sync(self) -> AbstractContextManager[Any]:
        """Gradients are not averaged within."""
        inner: DistributedDataParallel | None = self.__dict__["_inner"]
        return nullcontext() if inner is None else inner.no_sync()

    def release(self) -> None:
        """Let go of the process group, which is about to end."""
        inner, self.__dict__["_inner"] = self.__dict__["_inner"], None
        if inner is not None:
            # Its hooks leave the parameters with the reducer, whoever else still has the module.
            for name in ("reducer", "logger"):
                vars(inner).pop(name, None)

    def renew(self, *, synchronize: bool) -> None:
        """Share the model with the ranks of the default process group, if there are others.

        Args:
            synchronize: take parameters and buffers from rank 0; otherwise they are the same.
        """
        self.release()
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return
        known = inspect.signature(DistributedDataParallel).parameters
        same = {} if synchronize or "init_sync" not in known else {"init_sync": False}
        inner = shared(self.module, {**same, **self._options})
        inner.training = self.training
        self.__dict__["_inner"] = inner


def parallel(model: torch.nn.Module, **options: Any) -> Parallel:
    """Share a model with the other ranks, so that they may become more or fewer while it trains.

    With `init` before it and a `session` after it, a job can change its size without being started
    anew. On a single rank the model is used as it is, until there are more.

    Args:
        model: on this rank's device (`init`).
        options: of `DistributedDataParallel`.
    """
    return Parallel(model, options)
