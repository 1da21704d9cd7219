"""What the profile library takes, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ef_slurm.model import MeasuredRate, ModelError, ProfileKey

KEY = ProfileKey("bert", 256, "bf16", "a100")
RATE = MeasuredRate(KEY, 8, 4, 12.5, 30.0, "user1", "acct1", 1000.0, "mini", 7)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[31m", "x" * 129])
@pytest.mark.parametrize("field", ["model_name", "precision", "gpu_type"])
def test_names_are_short_and_print(field: str, name: str) -> None:
    with pytest.raises(ModelError, match="1 to 128 printable characters"):
        replace(KEY, **{field: name})  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [0, -1, 1 << 63])
def test_a_batch_size_is_a_number_of_samples(batch: int) -> None:
    with pytest.raises(ModelError, match="global batch size"):
        replace(KEY, global_batch_size=batch)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf, 1e12])
def test_a_rate_is_one_that_a_training_may_have(rate: float) -> None:
    with pytest.raises(ModelError, match="throughput at 8 GPUs"):
        replace(RATE, rate=rate)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gpus", 3),
        ("gpus", 0),
        ("gpus", 1 << 21),
        ("gpus_per_node", 16),
        ("seconds", -1.0),
        ("at", math.nan),
        ("source", "a\nb"),
        ("software", "x" * 513),
    ],
)
def test_everything_else_is_within_bounds(field: str, value: float | str) -> None:
    with pytest.raises(ModelError):
        replace(RATE, **{field: value})  # type: ignore[arg-type]
