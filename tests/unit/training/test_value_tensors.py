"""Tensors and arrays come back as they were, and share memory only with one another."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ef_slurm.training.values import freeze
from tests.unit.training.test_values import again, quiet

ARRAYS: dict[str, Callable[[], Any]] = {
    "numbers": lambda: np.arange(6.0).reshape(2, 3),
    "Fortran order": lambda: np.asfortranarray(np.arange(6).reshape(2, 3)),
    "no dimensions": lambda: np.array(3.5),
    "nothing in it": lambda: np.zeros((0, 3), dtype=np.float32),
    "view": lambda: np.arange(20)[::-3],
    "read only": lambda: np.broadcast_to(np.arange(3), (2, 3)),
    "big end first": lambda: np.arange(3, dtype=">i4"),
    "half": lambda: np.ones(3, dtype=np.float16),
    "unsigned": lambda: np.array([2**64 - 1], dtype=np.uint64),
    "long double": lambda: np.array([1.1], dtype=np.longdouble),
    "complex": lambda: np.array([1 + 2j]),
    "truth": lambda: np.array([True, False]),
    "texts": lambda: np.array(["a", "bcd"]),
    "bytes": lambda: np.array([b"a", b"bcd"]),
    "times": lambda: np.array(["2026-01-01", "NaT"], dtype="datetime64[ns]"),
    "records": lambda: np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", ">f8")]),
    "aligned records": lambda: np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "objects": lambda: np.array([None, {"a": 1}, "x", [1]], dtype=object),
    "masked": lambda: np.ma.masked_array([1.0, 2.0], mask=[True, False], fill_value=7.0),
    "unmasked": lambda: np.ma.masked_array([1, 2]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str) -> None:
    value = ARRAYS[name]()
    found = again(value)
    assert type(found) is type(value)
    assert (found.dtype, found.shape) == (value.dtype, value.shape)
    assert repr(found.tolist()) == repr(value.tolist())
    if name == "Fortran order":
        assert found.flags.f_contiguous
    assert found.flags.writeable
    assert not np.shares_memory(found, value)


TENSORS: dict[str, Callable[[], torch.Tensor]] = {
    **{
        str(dtype): lambda dtype=dtype: torch.tensor([0, 1, 2]).to(dtype)  # type: ignore[misc]
        for dtype in (
            *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
            *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
            *(torch.complex64, torch.complex128, torch.uint16, torch.uint32, torch.uint64),
            *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz),
        )
    },
    "no dimensions": lambda: torch.tensor(3.5),
    "nothing in it": lambda: torch.zeros(0, 3),
    "transposed": lambda: torch.arange(6.0).reshape(2, 3).t(),
    "channels last": lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "every second": lambda: torch.arange(10.0)[::2],
    "expanded": lambda: torch.arange(3.0).expand(4, 3),
    "conjugate": lambda: torch.tensor([1 + 2j]).conj(),
    "negative bit": lambda: torch.tensor([1 + 2j]).conj().imag,
    "special numbers": lambda: torch.tensor([float("nan"), float("inf"), -0.0]),
    "with a gradient": lambda: torch.ones(2, requires_grad=True),
    "parameter": lambda: nn.Parameter(torch.ones(2)),
    "frozen parameter": lambda: nn.Parameter(torch.ones(2), requires_grad=False),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name: str) -> None:
    value = TENSORS[name]()
    found = again(value)
    assert type(found) is type(value)
    assert (found.dtype, found.shape) == (value.dtype, value.shape)
    assert found.requires_grad == value.requires_grad
    plain = value.detach().resolve_conj().resolve_neg().contiguous()
    assert bytes_of(found.contiguous()) == bytes_of(plain)
    if name in ("transposed", "channels last"):
        assert found.stride() == value.stride()
    if value.numel():
        assert found.data_ptr() != value.data_ptr()


def bytes_of(tensor: torch.Tensor) -> bytes:
    flat = torch.empty(tensor.numel(), dtype=tensor.dtype)
    return bytes(flat.copy_(tensor.detach().reshape(-1)).view(torch.uint8).tolist())


ODD: dict[str, Callable[[], torch.Tensor]] = {
    "coordinates": lambda: torch.tensor([[0, 1.0], [2, 0]]).to_sparse(),
    "not coalesced": lambda: torch.sparse_coo_tensor(
        torch.tensor([[0, 0], [1, 1]]), torch.tensor([1.0, 2.0]), (2, 2), check_invariants=True
    ),
    "empty": lambda: torch.zeros(3, 3).to_sparse(),
    "rows": lambda: torch.eye(3).to_sparse_csr(),
    "columns": lambda: torch.eye(3).to_sparse_csc(),
    "blocks by rows": lambda: torch.eye(4).to_sparse_bsr((2, 2)),
    "blocks by columns": lambda: torch.eye(4).to_sparse_bsc((2, 2)),
    "one scale": lambda: torch.quantize_per_tensor(torch.randn(3, 4), 0.1, 3, torch.quint8),
    "scales by channel": lambda: torch.quantize_per_channel(
        torch.randn(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8
    ),
    "32 bits": lambda: torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint32),
}


@pytest.mark.parametrize("name", ODD)
def test_sparse_and_quantized_tensors(name: str) -> None:
    value = quiet(ODD[name])
    found = quiet(lambda: again(value))
    assert (found.layout, found.dtype, found.shape) == (value.layout, value.dtype, value.shape)
    assert repr(found) == repr(value)
    if value.layout is torch.sparse_coo:
        assert found.is_coalesced() == value.is_coalesced()


def test_tied_tensors_and_views_share_memory_again() -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    as_bytes = whole.view(torch.uint8)
    state = {
        "whole": whole,
        "tied": whole.detach(),
        "same": whole,
        "row": whole[2],
        "column": whole[:, 1],
        "bytes": as_bytes[1, 3:],
        "apart": torch.arange(3.0),
    }
    found = again(state)
    for name, value in state.items():
        assert torch.equal(found[name], value)
    assert found["same"] is found["whole"]
    found["whole"].fill_(7.0)
    for name in ("tied", "row", "column"):
        assert set(found[name].flatten().tolist()) == {7.0}
    assert torch.equal(found["bytes"], torch.full((4, 6), 7.0).view(torch.uint8)[1, 3:])
    assert found["apart"].tolist() == [0.0, 1.0, 2.0]


def test_a_small_view_does_not_keep_its_large_base() -> None:
    frozen = freeze({"part": torch.zeros(10**6)[5:7]}, lambda _, tensor: tensor.clone())
    assert [tensor.numel() for tensor in frozen.data.values()] == [2]
    tied = torch.zeros(10**6)
    frozen = freeze({"a": tied[5:9], "b": tied[7:11]}, lambda _, tensor: tensor.clone())
    assert [tensor.numel() < 100 for tensor in frozen.data.values()] == [True]


def test_wrapped_tensors() -> None:
    """torch's own protocol for tensors made of others, which torchao's quantized ones follow."""
    value = Doubled(torch.tensor([1.0, 2.0]))
    found = again({"w": value})["w"]
    assert type(found) is Doubled
    assert torch.equal(found.half, value.half)


class Doubled(torch.Tensor):
    half: Any

    @staticmethod
    def __new__(cls, half: torch.Tensor) -> "Doubled":
        make: Any = torch.Tensor._make_wrapper_subclass
        made: Doubled = make(cls, half.shape, dtype=half.dtype)
        made.half = half
        return made

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        return ["half"], {"times": 2}

    @staticmethod
    def __tensor_unflatten__(parts: Any, context: Any, _size: Any, _stride: Any) -> "Doubled":
        assert context == {"times": 2}
        return Doubled(parts["half"])

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        plain = [a.half * 2 if isinstance(a, Doubled) else a for a in args]
        return func(*plain, **(kwargs or {}))
