"""The data loader of one rank."""

import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ef_slurm.training.batches import PartSampler


def part_loader(
    data: Dataset[Any], sampler: PartSampler, options: Mapping[str, Any]
) -> DataLoader[Any]:
    """A loader that yields the parts of the sampler, in order.

    Its workers outlive TERM, and end with their rank.

    The loader seeds its workers from a generator of its own: from the default one it would draw a
    number at each launch, and the training after it would see other random numbers.
    """
    options = dict(options)
    options.setdefault("generator", torch.Generator().manual_seed(sampler.start))
    loader: DataLoader[Any] = DataLoader(data, batch_sampler=sampler, **options)
    keep_from_term(loader)
    return loader


def keep_from_term(loader: DataLoader[Any]) -> None:
    """Have the workers of a loader ignore TERM, if they have not begun.

    Slurm sends that to every process of a job, torch's workers die of it, and a loader whose
    workers die fails the training that is about to save its checkpoint.
    """
    begins = loader.worker_init_fn
    if getattr(begins, "func", None) is not _ignore_term:
        loader.worker_init_fn = partial(_ignore_term, begins)


def _ignore_term(then: Callable[[int], None] | None, worker: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if then is not None:
        then(worker)
