"""Exact global batches at any world size, and an order that no restart can be seen in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.training.batches import BatchError, Order, PartSampler, Share

sizes = st.tuples(st.integers(1, 64), st.integers(1, 64), st.none() | st.integers(1, 20)).filter(
    lambda t: t[0] >= t[1]
)


@given(sizes)
def test_ranks_divide_the_batch_exactly(size: tuple[int, int, int | None]) -> None:
    batch, world, limit = size
    shares = [Share(batch, rank, world, limit) for rank in range(world)]
    covered = [k for share in shares for first, end in share.slices() for k in range(first, end)]
    assert covered == list(range(batch))
    assert max(s.size for s in shares) - min(s.size for s in shares) <= 1
    assert len({share.parts for share in shares}) == 1
    if limit is not None:
        assert all(end - first <= limit for s in shares for first, end in s.slices())


@given(sizes)
def test_weights_make_the_mean_over_the_batch(size: tuple[int, int, int | None]) -> None:
    """Average over ranks of the weighted means is the mean over all samples."""
    batch, world, limit = size
    values = [float(k * k % 17) for k in range(batch)]
    total = 0.0
    for rank in range(world):
        share = Share(batch, rank, world, limit)
        for first, end in share.slices():
            if end > first:
                total += share.weight(end - first) * sum(values[first:end]) / (end - first)
    assert total / world == pytest.approx(sum(values) / batch)


def test_more_ranks_than_samples_is_refused() -> None:
    with pytest.raises(BatchError, match="9 ranks cannot share a global batch of 8 samples"):
        Share(8, 0, 9)


@given(st.integers(1, 50), st.integers(1, 70), st.integers(0, 5), st.booleans())
def test_every_epoch_holds_every_sample_once(
    samples: int, batch: int, seed: int, shuffle: bool
) -> None:
    order = Order(samples, batch, seed, shuffle)
    iterations = -(-3 * samples // batch)
    stream = [i for n in range(iterations) for i in order.indices(n, 0, batch)]
    for epoch in range(3):
        assert sorted(stream[epoch * samples : (epoch + 1) * samples]) == list(range(samples))


@given(st.integers(1, 40), sizes, st.integers(0, 30))
def test_order_does_not_depend_on_the_world_or_the_start(
    samples: int, size: tuple[int, int, int | None], start: int
) -> None:
    batch, world, limit = size
    whole = Order(samples, batch).indices(start, 0, batch)
    parts: list[int] = []
    for rank in range(world):
        share = Share(batch, rank, world, limit)
        sampler = PartSampler(Order(samples, batch), share, start, start + 1)
        lists = list(sampler)
        assert len(lists) == len(sampler) == share.parts
        for (first, end), indices in zip(share.slices(), lists, strict=True):
            # An empty part repeats a sample, with weight 0.
            parts += indices if end > first else []
            assert share.weight(end - first) == 0 or len(indices) == end - first
    assert parts == whole


def test_epochs_are_shuffled_differently_and_repeatably() -> None:
    one, two = Order(100, 100), Order(100, 100)
    assert one.indices(0, 0, 100) != one.indices(1, 0, 100)
    assert two.indices(1, 0, 100) == one.indices(1, 0, 100)
    assert Order(100, 100, seed=1).indices(0, 0, 100) != one.indices(0, 0, 100)


def test_epoch_of_an_iteration() -> None:
    order = Order(samples=10, global_batch_size=4)
    assert [order.epoch(n) for n in range(6)] == [0, 0, 0, 1, 1, 2]


def test_empty_data_is_refused() -> None:
    with pytest.raises(BatchError, match="empty"):
        Order(0, 4)
