"""Which bytes of which tensors are kept, and the tensors that are views of them.

A tensor that has its storage for itself is kept by its elements alone. Tensors of one storage (tied
weights, views) are kept together once, and share memory again afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from ef_slurm.training.values.codec import Place, StateError

_ALIGNMENT = 16
Met = tuple[dict[str, Any], torch.Tensor, Place]


def pack(tensors: Sequence[Met]) -> Iterator[tuple[list[dict[str, Any]], Place, torch.Tensor]]:
    """(nodes, place, contiguous or permuted tensor to copy); completes the nodes but for "data"."""
    groups: dict[Any, list[Met]] = {}
    for number, met in enumerate(tensors):
        groups.setdefault(_storage(met[1]) or number, []).append(met)
    for group in groups.values():
        nodes = [node for node, _, _ in group]
        first = group[0][1]
        place = group[0][2]
        if len({_geometry(tensor) for _, tensor, _ in group}) == 1:
            kept = _dense(first, nodes)
        else:
            kept = _range(group)
            place = Place(place.text, f"{place.name}@storage")
        yield nodes, place, kept


def view(node: Mapping[str, Any], data: torch.Tensor) -> torch.Tensor:
    """The tensor of a node in the memory of its data."""
    dtype = getattr(torch, node["dtype"], None)
    if not isinstance(dtype, torch.dtype):
        raise StateError(f"unknown type of numbers {node['dtype']!r}")
    if "stride" in node:
        return torch.as_strided(
            data.view(torch.uint8).view(dtype), node["shape"], node["stride"], node["offset"]
        )
    if data.dtype != dtype:
        data = data.view(dtype)
    order = node.get("order")
    if order is None:
        return data.view(node["shape"])
    stored = data.view([node["shape"][axis] for axis in order])
    return stored.permute([order.index(axis) for axis in range(len(order))])


def _storage(tensor: torch.Tensor) -> tuple[str, int] | None:
    if not tensor.numel():
        return None
    own: Any = tensor
    # Before torch 2.0 there was only the other one.
    storage = own.untyped_storage() if hasattr(own, "untyped_storage") else own.storage()
    return str(tensor.device), int(storage.data_ptr())


def _geometry(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset()


def _dense(tensor: torch.Tensor, nodes: Sequence[dict[str, Any]]) -> torch.Tensor:
    """Its elements, in the order in which they lie in memory if there are no gaps."""
    strides = tensor.stride()
    order = sorted(range(tensor.dim()), key=lambda axis: (-strides[axis], axis))
    permuted = tensor.permute(order)
    if tensor.is_contiguous() or not permuted.is_contiguous():
        return tensor.contiguous()
    for node in nodes:
        node["order"] = order
    return permuted


def _range(group: Sequence[Met]) -> torch.Tensor:
    """The bytes from the first to the last that any of them uses."""
    spans = [_span(tensor) for _, tensor, _ in group]
    # In the type with the largest elements, so that every other one divides them.
    widest = max((tensor for _, tensor, _ in group), key=lambda tensor: tensor.element_size())
    size = widest.element_size()
    low = min(first for first, _ in spans) // _ALIGNMENT * _ALIGNMENT
    high = -(-max(end for _, end in spans) // size) * size
    for node, tensor, _ in group:
        node["stride"] = list(tensor.stride())
        node["offset"] = tensor.storage_offset() - low // tensor.element_size()
    return torch.as_strided(widest, [(high - low) // size], [1], low // size)


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    size, first = tensor.element_size(), int(tensor.storage_offset())
    last = first + sum(
        (extent - 1) * stride for extent, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    return first * size, (last + 1) * size
