"""Which samples an iteration uses, and which of them are this rank's.

The order of all samples over all iterations is a function of (seed, number of samples, global batch
size) alone: iteration i uses positions i*B to (i+1)*B of the concatenated epochs, each epoch being
one permutation of the data set. Neither the world size nor where a launch began appears in it, so
a run that is stopped anywhere continues exactly, at any world size, without a stored position. A
batch may reach over the end of an epoch: B is never cut short.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch


class BatchError(ValueError):
    """The batch cannot be divided as asked."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank does of every global batch.

    Ranks differ by at most one sample. Every rank does the same number of parts (wrappers such as
    FSDP communicate in each forward pass).

    Args:
        limit: most samples in one part; None: all in one.

    Raises:
        BatchError: more ranks than samples.
    """

    global_batch_size: int
    rank: int
    world_size: int
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.world_size > self.global_batch_size:
            raise BatchError(
                f"{self.world_size} ranks cannot share a global batch of {self.global_batch_size} "
                f"samples: ask for at most {self.global_batch_size} GPUs or a larger batch"
            )

    @property
    def start(self) -> int:
        """First of this rank's samples within the global batch."""
        return self.rank * self.global_batch_size // self.world_size

    @property
    def size(self) -> int:
        """How many samples this rank does."""
        return (self.rank + 1) * self.global_batch_size // self.world_size - self.start

    @property
    def parts(self) -> int:
        """How many forward and backward passes make one iteration, on every rank alike."""
        largest = -(-self.global_batch_size // self.world_size)
        return 1 if self.limit is None else -(-largest // self.limit)

    def slices(self) -> list[tuple[int, int]]:
        """(first, end) within the global batch, for each part.

        Where ranks are uneven a rank may have fewer samples than parts; a part is then empty.
        """
        edges = [self.start + self.size * part // self.parts for part in range(self.parts + 1)]
        return list(pairwise(edges))

    def weight(self, samples: int) -> float:
        """What the mean loss over a part of `samples` counts in the loss of the global batch.

        Wrappers average gradients over the ranks; so the sum over ranks and parts of
        weight * mean, divided by the world size, is the mean over the global batch.
        """
        return samples * self.world_size / self.global_batch_size


class Order:
    """The order of the samples of all iterations.

    Args:
        samples: size of the data set.
        shuffle: a permutation of its own for each epoch; otherwise the data set's order.

    Raises:
        BatchError: there are no samples.
    """

    def __init__(self, samples: int, global_batch_size: int, seed: int = 0, shuffle: bool = True):
        if samples < 1:
            raise BatchError("the data set is empty")
        self.samples = samples
        self.global_batch_size = global_batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._permutations: dict[int, torch.Tensor] = {}

    def epoch(self, iteration: int) -> int:
        """The epoch of the first sample of an iteration, from 0."""
        return iteration * self.global_batch_size // self.samples

    def indices(self, iteration: int, first: int, end: int) -> list[int]:
        """Data-set indices at places first ≤ k < end of the global batch of an iteration."""
        found: list[int] = []
        position = iteration * self.global_batch_size + first
        left = end - first
        while left > 0:
            epoch, offset = divmod(position, self.samples)
            taken = min(left, self.samples - offset)
            if self._shuffle:
                found += self._permutation(epoch)[offset : offset + taken].tolist()
            else:
                found += range(offset, offset + taken)
            position += taken
            left -= taken
        return found

    def _permutation(self, epoch: int) -> torch.Tensor:
        if epoch not in self._permutations:
            # One generator per epoch: no need to draw the epochs before it. Mixed into 32 bits,
            # since torch's generator ignores the others.
            mixed = zlib.crc32(f"{self._seed}/{epoch}".encode())
            generator = torch.Generator().manual_seed(mixed)
            for old in [e for e in self._permutations if e < epoch - 1]:
                del self._permutations[old]
            self._permutations[epoch] = torch.randperm(self.samples, generator=generator)
        return self._permutations[epoch]


class PartSampler:
    """A batch sampler for `torch.utils.data.DataLoader`: a list of indices per part.

    In order of iterations, from `start` up to (not including) `end`, each in its parts.

    A part that would be empty repeats one sample: a data loader cannot deliver nothing, and the
    part's weight is 0.
    """

    def __init__(self, order: Order, share: Share, start: int, end: int):
        self._order = order
        self._share = share
        self.start = start
        self.end = end

    def __len__(self) -> int:
        return max(0, self.end - self.start) * self._share.parts

    def __iter__(self) -> Iterator[list[int]]:
        for iteration in range(self.start, self.end):
            for first, end in self._share.slices():
                if first == end:
                    first, end = self._share.start, self._share.start + 1
                yield self._order.indices(iteration, first, end)
