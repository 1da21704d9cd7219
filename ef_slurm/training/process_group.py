"""Joining the other ranks of a launch, and sharing a model with them."""

import os
from typing import Any

import torch
import torch.distributed as dist

from ef_slurm.contract import ENV_CHANGE
from ef_slurm.training.parallel import shared


def wrap(model: torch.nn.Module, **options: Any) -> torch.nn.Module:
    """The model in `DistributedDataParallel` if there are ranks to share it with, else as it is.

    Args:
        model: on this rank's device (`init`).
        options: of `DistributedDataParallel`.
    """
    if not dist.is_initialized():
        return model
    return shared(model, options)


def init(backend: str | None = None) -> torch.device:
    """Join the process group of a torchrun launch, if there is one.

    NCCL on the rank's own GPU where there are GPUs, gloo otherwise. A script that makes its process
    group itself does not need it. A process that is to join a launch that trains already has none
    before its `session`.

    Args:
        backend: another one, as torch names it.

    Returns:
        This rank's device.
    """
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    comes_later = bool(os.environ.get(ENV_CHANGE))
    if "RANK" in os.environ and not dist.is_initialized() and not comes_later:
        usual = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend or usual)
    return device
