"""Kinds of numpy, which need not be installed: a script that has not imported it has none."""

import sys
from collections.abc import Mapping
from typing import Any

import torch

from ef_slurm.training.values.codec import Decoder, Encoder, Kind, Node, Place, StateError

_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


def _numpy() -> Any:
    return sys.modules.get("numpy")


def _import_numpy() -> Any:
    import numpy as np

    return np


class Array:
    """Arrays of any type of elements but those that only their library knows."""

    name = "array"

    def fits(self, value: Any) -> bool:
        np = _numpy()
        return np is not None and type(value) in (np.ndarray, np.memmap)

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        np = _numpy()
        node: dict[str, Node] = {"shape": list(value.shape)}
        if value.dtype == object:
            flat = value.reshape(-1)
            items = [encoder.encode(flat[i], place.index(i)) for i in range(flat.size)]
            return {**node, "items": items}
        if value.dtype.hasobject:
            raise place.refuse(value, f"arrays of {value.dtype} hold objects")
        descr = np.lib.format.dtype_to_descr(value.dtype)
        if np.lib.format.descr_to_dtype(descr) != value.dtype:
            raise place.refuse(value, f"arrays of {value.dtype} are not known")
        node["dtype"] = encoder.encode(descr, place)
        fortran = value.flags.f_contiguous and not value.flags.c_contiguous
        if fortran:
            node["order"] = "F"
        if value.size and value.dtype.itemsize:
            raw = bytearray(value.tobytes("F" if fortran else "C"))
            node["data"] = encoder.own(_typed(raw, value.dtype), place)
        return node

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        np = _import_numpy()
        shape = tuple(node["shape"])
        if "items" in node:
            array = np.empty(len(node["items"]), dtype=object)
            for i, item in enumerate(node["items"]):
                array[i] = decoder.decode(item)
            return array.reshape(shape)
        dtype = np.lib.format.descr_to_dtype(decoder.decode(node["dtype"]))
        order = node.get("order", "C")
        if "data" not in node:
            return np.zeros(shape, dtype=dtype, order=order)
        raw = decoder.data(node["data"]).view(torch.uint8).view(-1).numpy().copy()
        return raw.view(dtype).reshape(shape, order=order)


class Scalar:
    name = "scalar"

    def fits(self, value: Any) -> bool:
        np = _numpy()
        return np is not None and isinstance(value, np.generic)

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        # Not as an array of its own, since there may be many of them.
        np = _numpy()
        if value.dtype.hasobject:
            raise place.refuse(value)
        descr = np.lib.format.dtype_to_descr(value.dtype)
        return {
            "dtype": encoder.encode(descr, place),
            "bytes": encoder.encode(np.asarray(value).tobytes(), place),
        }

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        np = _import_numpy()
        dtype = np.lib.format.descr_to_dtype(decoder.decode(node["dtype"]))
        if not dtype.itemsize:
            return np.zeros((), dtype=dtype)[()]
        return np.frombuffer(decoder.decode(node["bytes"]), dtype=dtype)[0]


class Masked:
    name = "masked array"

    def fits(self, value: Any) -> bool:
        np = _numpy()
        return np is not None and type(value) is np.ma.MaskedArray

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        np = _numpy()
        mask = value.mask
        return {
            "data": encoder.encode(np.asarray(value.data), place.attribute("data")),
            "mask": None if mask is np.ma.nomask else encoder.encode(mask, place.attribute("mask")),
            "fill": encoder.encode(value.fill_value, place.attribute("fill_value")),
        }

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        np = _import_numpy()
        mask = np.ma.nomask if node["mask"] is None else decoder.decode(node["mask"])
        data, fill = decoder.decode(node["data"]), decoder.decode(node["fill"])
        return np.ma.MaskedArray(data, mask=mask, fill_value=fill)


class DType:
    name = "numpy dtype"

    def fits(self, value: Any) -> bool:
        np = _numpy()
        return np is not None and isinstance(value, np.dtype) and not value.hasobject

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        return {"descr": encoder.encode(_numpy().lib.format.dtype_to_descr(value), place)}

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        return _import_numpy().lib.format.descr_to_dtype(decoder.decode(node["descr"]))


class Generator:
    """numpy's random generators, old and new."""

    name = "numpy generator"

    def fits(self, value: Any) -> bool:
        np = _numpy()
        if np is None:
            return False
        kinds = np.random.RandomState, np.random.Generator
        return type(value) in kinds or isinstance(value, np.random.BitGenerator)

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        np = _numpy()
        bits = value
        if isinstance(value, np.random.Generator):
            bits = value.bit_generator
        elif isinstance(value, np.random.RandomState):
            bits = value._bit_generator
        name = type(bits).__name__
        if name not in _GENERATORS or type(bits) is not getattr(np.random, name):
            raise place.refuse(value, f"the generator {name} is not known")
        state = (
            value.get_state(legacy=False)
            if bits is not value and hasattr(value, "get_state")
            else bits.state
        )
        of = "bits" if bits is value else type(value).__name__
        return {"of": of, "bits": name, "state": encoder.encode(state, place)}

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        np = _import_numpy()
        if node["bits"] not in _GENERATORS:
            raise StateError(f"unknown generator {node['bits']!r}")
        bits = getattr(np.random, node["bits"])()
        state = decoder.decode(node["state"])
        if node["of"] == "RandomState":
            generator = np.random.RandomState(bits)
            generator.set_state(state)
            return generator
        bits.state = state
        return np.random.Generator(bits) if node["of"] == "Generator" else bits


def _typed(raw: bytearray, dtype: Any) -> torch.Tensor:
    """The bytes as the type of numbers that other tools will show, where torch has it."""
    kind = getattr(torch, dtype.name, None) if dtype.isnative and dtype.names is None else None
    if not isinstance(kind, torch.dtype) or kind is torch.bool:
        kind = torch.uint8
    return torch.frombuffer(raw, dtype=kind)


ARRAYS: tuple[Kind, ...] = (Array(), Scalar(), Masked(), DType(), Generator())
