"""Data that can only be read from its beginning to its end: iterable data sets.

The contract: every rank reads the same samples in the same order, and takes its own out of each
global batch. Sample k of the stream belongs to iteration k // B, at any world size. At the end of
the stream the next epoch begins: `set_epoch` is called if there is one, and the batch goes on with
the first sample. A launch goes on where the one before stopped: with the stream's own `state_dict`
and `load_state_dict` where it has both (torchdata's StatefulDataLoader, Hugging Face's streams),
otherwise by reading and dropping what was used.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from ef_slurm.training import container
from ef_slurm.training.batches import Share
from ef_slurm.training.leaving import Unusable
from ef_slurm.training.loader import keep_from_term
from ef_slurm.training.state import capture_rng, restore_rng
from ef_slurm.training.values import StateError, freeze


class DataError(ValueError):
    """The data cannot be used; the text says what would do."""


def samples_of(data: Any, loader: Mapping[str, Any], epochs: float | None) -> int | None:
    """The number of samples; None of a stream.

    Args:
        data: a map-style data set, a number of samples, or an iterable.
        loader: options for the data loader.
        epochs: asked for, instead of iterations.

    Raises:
        DataError: it is neither, or a stream that cannot be continued.
    """
    if isinstance(data, int):
        return data
    if is_stream(data):
        _check_stream(data, loader, epochs)
        return None
    try:
        return len(data)
    except TypeError:
        raise DataError(
            f"data={type(data).__name__} has neither a length nor an iterator: give a data set "
            "with __len__ and __getitem__, an iterable one, or the number of samples"
        ) from None


def size_for(framework: str, data: Any) -> int:
    """The size of a data set that a framework's adapter can read.

    Raises:
        Unusable: it is a stream, or nothing of the kind.
    """
    if not is_stream(data) and hasattr(data, "__len__"):
        return len(data)
    raise Unusable.before_the_run(
        f"data={type(data).__name__}: with {framework} only data sets with __len__ and __getitem__ "
        "can be continued; iterable ones work with ef_slurm.training.session"
    )


def is_stream(data: Any) -> bool:
    """Whether samples can be had only one after the other."""
    if isinstance(data, (IterableDataset, DataLoader)):
        return True
    return hasattr(data, "__iter__") and not hasattr(data, "__getitem__")


def _check_stream(data: Any, loader: Mapping[str, Any], epochs: float | None) -> None:
    name = type(data).__name__
    if getattr(data, "__next__", None) is not None:
        raise DataError(
            f"data={name} is an iterator, used up after one pass: give the iterable that makes it"
        )
    if isinstance(data, DataLoader) and data.batch_size is not None:
        raise DataError(
            f"data={name} yields batches of {data.batch_size}: give it batch_size=None, so that it "
            "yields samples and the batch stays the same at every number of GPUs"
        )
    if isinstance(data, DataLoader) and data.num_workers and not _keeps_state(data):
        raise DataError(
            f"data={name} with num_workers={data.num_workers} reads ahead and cannot say how far "
            "it is: give torchdata's StatefulDataLoader, or num_workers=0"
        )
    unused = sorted(set(loader) - {"collate_fn"})
    if unused:
        raise DataError(
            f"loader={{{unused[0]!r}: ...}} has no meaning with {name}, which is read in the "
            "rank's own process: give a StatefulDataLoader(..., batch_size=None) with such options"
        )
    if epochs is not None:
        raise DataError(f"epochs={epochs:g}: the size of {name} is not known; give iterations=")


def _keeps_state(data: Any) -> bool:
    return hasattr(data, "state_dict") and hasattr(data, "load_state_dict")


class Stream:
    """A stream, and how far it was read.

    Args:
        agree: called with a checksum of the first batch of a launch; the ranks compare theirs.
    """

    def __init__(
        self, data: Any, share: Share, loader: Mapping[str, Any], agree: Callable[[int], None]
    ):
        if isinstance(data, DataLoader):
            keep_from_term(data)
        self._data = data
        self._share = share
        self._collate = loader.get("collate_fn") or torch.utils.data.default_collate
        self._compare = agree
        self._agree: Callable[[int], None] | None = agree
        self.epoch = 0
        self._drawn = 0
        self._saved: Any = None
        self._iterator: Iterator[Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """How far it was read: between two iterations, the same on all ranks."""
        saved = self._saved
        if self._iterator is not None and _keeps_state(self._data):
            saved = self._data.state_dict()
        return {"epoch": self.epoch, "drawn": self._drawn, "stream": saved}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.epoch = int(state["epoch"])
        self._drawn = int(state["drawn"])
        self._saved = state["stream"]
        self._iterator = None

    def shared(self, share: Share) -> None:
        """Take this share of each global batch from the next one on.

        Who has joined meanwhile reads what the others read; that is compared again.
        """
        if share is not self._share:
            self._share = share
            self._agree = self._compare

    def parts(self) -> Iterator[Any]:
        """This rank's parts, of one global batch after the other.

        Raises:
            DataError: there is nothing in the stream.
        """
        share = self._share
        while True:
            batch = self._draw()
            for first, end in share.slices():
                # A part without samples has weight 0, and is there so that all ranks do the same.
                part = [batch[place] for place in range(first, end)] or [batch[share.start]]
                yield self._collate(part)

    def _draw(self) -> dict[int, Any]:
        """One global batch, of which only this rank's samples are kept."""
        mine = range(self._share.start, self._share.start + max(self._share.size, 1))
        kept: dict[int, Any] = {}
        checksum = 0
        for place in range(self._share.global_batch_size):
            sample = self._next()
            if self._agree is not None:
                checksum = _checksum(sample, checksum)
            if place in mine:
                kept[place] = sample
        if self._agree is not None:
            agree, self._agree = self._agree, None
            agree(checksum)
        return kept

    def _next(self) -> Any:
        if self._iterator is None:
            self._iterator = self._resumed()
        for _ in range(3):
            for sample in self._iterator:
                self._drawn += 1
                return sample
            self.epoch += 1
            self._drawn = 0
            self._iterator = self._begun()
        raise DataError(f"there is nothing in {type(self._data).__name__}")

    def _begun(self) -> Iterator[Any]:
        if hasattr(self._data, "set_epoch"):
            self._data.set_epoch(self.epoch)
        return iter(self._data)

    def _resumed(self) -> Iterator[Any]:
        if not self._drawn and self._saved is None:
            return self._begun()
        # What is read again must not draw random numbers that the training then lacks.
        states = capture_rng()
        try:
            if self._saved is not None and _keeps_state(self._data):
                if hasattr(self._data, "set_epoch"):
                    self._data.set_epoch(self.epoch)
                self._data.load_state_dict(self._saved)
                return iter(self._data)
            iterator = self._begun()
            for _ in range(self._drawn):
                next(iterator, None)
            return iterator
        finally:
            self._saved = None
            restore_rng(states)


def _checksum(sample: Any, before: int) -> int:
    """Over a sample, as far as it is of a kind that is known."""
    try:
        return zlib.crc32(container.dump(freeze(sample, lambda _, one: one.contiguous())), before)
    except StateError:
        return before
