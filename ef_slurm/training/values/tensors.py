"""Kinds of torch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ef_slurm.training.values.builtin import As
from ef_slurm.training.values.classes import reference, resolve
from ef_slurm.training.values.codec import Decoder, Encoder, Kind, Node, Place, StateError
from ef_slurm.training.values.storage import view

_CONSTANTS = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)
_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
_BY_ROW = (torch.sparse_csr, torch.sparse_bsr)
# Parameters first: torch.nn.Buffer, where there is one, takes every tensor for one of its own.
_PLAIN = {"Tensor": torch.Tensor, "Parameter": torch.nn.Parameter}


class Tensor:
    """Tensors with one number after another in memory."""

    name = "tensor"

    def fits(self, value: Any) -> bool:
        if type(value) not in _PLAIN.values() or value.is_quantized or value.is_nested:
            return False
        return value.layout is torch.strided

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        if value.is_meta:
            raise place.refuse(value, "a tensor on the meta device has no data")
        if any(name is not None for name in getattr(value, "names", ())):
            raise place.refuse(value, "dimensions with names are not known")
        node: dict[str, Node] = {
            "dtype": _name(value.dtype),
            "shape": list(value.shape),
            "device": str(value.device),
        }
        if value.requires_grad:
            node["grad"] = True
        if type(value) is torch.nn.Parameter:
            node["of"] = "Parameter"
        plain = value.detach()
        if plain.is_conj():
            plain = plain.resolve_conj()
        if plain.is_neg():
            plain = plain.resolve_neg()
        encoder.tensor(node, plain, place)
        return node

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        tensor = view(node, decoder.data(node["data"]))
        if decoder.to_devices:
            tensor = tensor.to(_device(node["device"]))
        if node.get("of") == "Parameter":
            return torch.nn.Parameter(tensor, requires_grad=bool(node.get("grad")))
        return tensor.requires_grad_() if node.get("grad") else tensor


class Sparse:
    """Sparse tensors: coordinates, or compressed rows, columns or blocks."""

    name = "sparse tensor"

    def fits(self, value: Any) -> bool:
        if type(value) not in _PLAIN.values():
            return False
        return value.layout is torch.sparse_coo or value.layout in _COMPRESSED

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        value = value.detach()
        node: dict[str, Node] = {"layout": _name(value.layout), "shape": list(value.shape)}
        if value.layout is torch.sparse_coo:
            parts = {"indices": value._indices(), "values": value._values()}
            node["coalesced"] = value.is_coalesced()
        else:
            rows = value.layout in _BY_ROW
            parts = {
                "outer": value.crow_indices() if rows else value.ccol_indices(),
                "inner": value.col_indices() if rows else value.row_indices(),
                "values": value.values(),
            }
        node["parts"] = {
            name: encoder.encode(part, place.attribute(name)) for name, part in parts.items()
        }
        return node

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        parts = {name: decoder.decode(part) for name, part in node["parts"].items()}
        if node["layout"] == "sparse_coo":
            # Checked: wrong indices would be read outside of memory.
            made = torch.sparse_coo_tensor(
                parts["indices"], parts["values"], node["shape"], **_checked()
            )
            return made._coalesced_(node["coalesced"])
        layout = getattr(torch, node["layout"])
        if layout not in _COMPRESSED:
            raise StateError(f"unknown layout {node['layout']!r}")
        return torch.sparse_compressed_tensor(
            parts["outer"],
            parts["inner"],
            parts["values"],
            node["shape"],
            layout=layout,
            **_checked(),
        )


class Quantized:
    name = "quantized tensor"

    def fits(self, value: Any) -> bool:
        return type(value) in _PLAIN.values() and bool(value.is_quantized)

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        scheme = value.qscheme()
        if scheme is torch.per_tensor_affine:
            how: Any = value.q_scale(), value.q_zero_point()
        elif scheme is torch.per_channel_affine:
            how = (
                value.q_per_channel_scales(),
                value.q_per_channel_zero_points(),
                value.q_per_channel_axis(),
            )
        else:
            raise place.refuse(value, f"the quantization {_name(scheme)} is not known")
        if value.dtype not in (torch.qint8, torch.quint8, torch.qint32):
            raise place.refuse(value, f"quantized numbers {_name(value.dtype)} are not known")
        return {
            "dtype": _name(value.dtype),
            "numbers": encoder.encode(value.int_repr(), place.attribute("int_repr")),
            "how": encoder.encode(how, place.attribute("qscheme")),
        }

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        numbers, how = decoder.decode(node["numbers"]), decoder.decode(node["how"])
        # These two take the quantized type from that of the numbers.
        if len(how) == 2:
            return torch._make_per_tensor_quantized_tensor(numbers, *how)
        return torch._make_per_channel_quantized_tensor(numbers, *how)


class Wrapped:
    """Tensors that are made of others, by torch's own protocol for them (torchao's, say)."""

    name = "wrapped tensor"

    def fits(self, value: Any) -> bool:
        if not isinstance(value, torch.Tensor) or type(value) in _PLAIN.values():
            return False
        flattens = hasattr(value, "__tensor_flatten__")
        # Tensors spread over the ranks are not this rank's to keep.
        return flattens and not hasattr(value, "device_mesh")

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        names, context = value.__tensor_flatten__()
        return {
            "of": reference(value, place),
            "parts": {
                name: encoder.encode(getattr(value, name), place.attribute(name)) for name in names
            },
            "context": encoder.encode(context, place),
            "shape": list(value.shape),
            "stride": list(value.stride()),
            "grad": bool(value.requires_grad),
        }

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        kind: Any = resolve(node["of"])
        if not issubclass(kind, torch.Tensor) or not hasattr(kind, "__tensor_unflatten__"):
            raise StateError(f"{node['of']} is no tensor that is made of others")
        parts = {name: decoder.decode(part) for name, part in node["parts"].items()}
        made = kind.__tensor_unflatten__(
            parts, decoder.decode(node["context"]), torch.Size(node["shape"]), tuple(node["stride"])
        )
        return made.requires_grad_(node["grad"])


class Generator:
    name = "generator"

    def fits(self, value: Any) -> bool:
        return type(value) is torch.Generator

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        state = encoder.encode(value.get_state(), place)
        return {"device": str(value.device), "state": state}

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        generator = torch.Generator(_device(node["device"]))
        # Its state is a tensor in host memory wherever it draws.
        generator.set_state(decoder.decode(node["state"]).cpu())
        return generator


def _name(constant: Any) -> str:
    return str(constant).removeprefix("torch.")


def _constant(kind: type) -> Callable[[str], Any]:
    def find(name: str) -> Any:
        value = getattr(torch, name)
        if type(value) is not kind:
            raise StateError(f"torch.{name} is no {kind.__name__}")
        return value

    return find


def _device(saved: str) -> torch.device:
    """This rank's device of the kind that was saved; host memory where there is none."""
    kind = torch.device(saved).type
    if kind == "cuda" and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if kind == "mps" and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _checked() -> dict[str, Any]:
    # torch 1.13 always checks.
    return {"check_invariants": True} if torch.__version__ >= "2" else {}


TENSORS: tuple[Kind, ...] = (
    Tensor(),
    Sparse(),
    Quantized(),
    Wrapped(),
    *(As(kind.__name__, kind, _name, _constant(kind)) for kind in _CONSTANTS),
    As("device", torch.device, str, torch.device),
    As("size", torch.Size, list, torch.Size),
    Generator(),
)
