"""Walking through a value, kind by kind."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

Node = Any
"""JSON: null, a boolean, number, text, or an object whose "is" names its kind."""
Copy = Callable[[str, torch.Tensor], torch.Tensor]
"""(name, tensor) → a contiguous copy in host memory."""

_PLAIN = (type(None), bool, str)
_SMALL = 2**63
_DEEPEST = 100


class StateError(Exception):
    """A value cannot be kept in a checkpoint, or what is in one is not a value."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value lies.

    Args:
        text: for a person, as one would write it: `seen["counts"][3].mean`.
        name: of tensors there: `seen.counts.3.mean`.
    """

    text: str
    name: str

    def key(self, key: object) -> "Place":
        name = _join(self.name, str(key)[:200])
        if isinstance(key, str):
            return Place(f"{self.text}[{json.dumps(key)}]" if self.text else key, name)
        return Place(f"{self.text}[{repr(key)[:60]}]", name)

    def index(self, number: int) -> "Place":
        return Place(f"{self.text}[{number}]", _join(self.name, str(number)))

    def attribute(self, name: str) -> "Place":
        return Place(f"{self.text}.{name}", _join(self.name, name))

    def refuse(self, value: object, why: str = "") -> StateError:
        """The error for a value that cannot be kept here."""
        kind = type(value)
        shown = kind.__qualname__
        if kind.__module__ != "builtins":
            shown = f"{kind.__module__}.{shown}"
        reason = why or (
            "a checkpoint holds numbers, texts, tensors, arrays, and containers, dataclasses and "
            "enums of them"
        )
        return StateError(f"{self.text or 'the state'} is of type {shown}: {reason}")


def _join(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


class Kind(Protocol):
    """How values of one kind are taken apart and put together again."""

    @property
    def name(self) -> str:
        """Of the kind, in a node's "is"."""

    def fits(self, value: Any) -> bool:
        """Whether a value is of this kind."""

    def take(self, value: Any, place: Place, encoder: "Encoder") -> dict[str, Node]:
        """Its parts.

        Raises:
            StateError: it cannot be kept.
        """

    def make(self, node: Mapping[str, Node], decoder: "Decoder") -> Any:
        """The value from its parts.

        Raises:
            Exception: whatever wrong parts lead to; the decoder says what it was.
        """


@dataclass(frozen=True, slots=True)
class Frozen:
    """A value as plain data.

    Args:
        tree: JSON.
        data: name → contiguous tensor in host memory, which the tree refers to.
    """

    tree: Node
    data: Mapping[str, torch.Tensor]


class Codec:
    """The kinds there are; the first that fits a value is taken."""

    def __init__(self, kinds: Iterable[Kind]):
        self._kinds = tuple(kinds)
        self._by_name = {kind.name: kind for kind in self._kinds}

    def of_value(self, value: Any) -> Kind | None:
        for kind in self._kinds:
            if kind.fits(value):
                return kind
        return None

    def of_name(self, name: Any) -> Kind:
        if name not in self._by_name:
            raise StateError(f"unknown kind of value {name!r}")
        return self._by_name[name]


@dataclass(frozen=True, slots=True)
class _Seen:
    # The value is kept: another one could get its id otherwise.
    value: Any
    node: dict[str, Node]


class Encoder:
    """Takes one value apart. What occurs twice is kept once."""

    def __init__(self, codec: Codec):
        self._codec = codec
        self._seen: dict[int, _Seen] = {}
        self._within: set[int] = set()
        self._references = 0
        self._tensors: list[tuple[dict[str, Node], torch.Tensor, Place]] = []
        self._names: set[str] = set()
        self._data: dict[str, torch.Tensor] = {}

    def encode(self, value: Any, place: Place) -> Node:
        """The node of a value.

        Raises:
            StateError: it cannot be kept.
        """
        kind = type(value)
        if kind in _PLAIN or (kind is int and -_SMALL <= value < _SMALL):
            return value
        if kind is float and value - value == 0.0:  # finite
            return value
        seen = self._seen.get(id(value))
        if seen is not None:
            if "id" not in seen.node:
                self._references += 1
                seen.node["id"] = self._references
            return {"is": "same", "as": seen.node["id"]}
        if id(value) in self._within:
            raise place.refuse(value, "it contains itself")
        if len(self._within) > _DEEPEST:
            raise place.refuse(value, f"nested more than {_DEEPEST} deep")
        found = self._codec.of_value(value)
        if found is None:
            raise place.refuse(value)
        self._within.add(id(value))
        try:
            node = found.take(value, place, self)
        except StateError:
            raise
        except Exception as error:
            raise place.refuse(value, f"{type(error).__name__}: {error}") from None
        node["is"] = found.name
        self._within.discard(id(value))
        self._seen[id(value)] = _Seen(value, node)
        return node

    def tensor(self, node: dict[str, Node], tensor: torch.Tensor, place: Place) -> None:
        """Let `copy_tensors` complete the node of a tensor."""
        self._tensors.append((node, tensor, place))

    def own(self, tensor: torch.Tensor, place: Place) -> str:
        """Keep a tensor that nobody else has; its name among the data."""
        name = self._name(place)
        self._data[name] = tensor
        return name

    def copy_tensors(self, copy: Copy) -> dict[str, torch.Tensor]:
        """Copy all tensors that were met; the data, by name."""
        from ef_slurm.training.values.storage import pack

        for nodes, name, tensor in pack(self._tensors):
            unique = self._name(name)
            self._data[unique] = copy(unique, tensor)
            for node in nodes:
                node["data"] = unique
        return self._data

    def _name(self, place: Place) -> str:
        name, number = place.name or "value", 1
        while name in self._names:
            number += 1
            name = f"{place.name}@{number}"
        self._names.add(name)
        return name


class Decoder:
    """Puts values together again. Runs no code but that of the kinds."""

    def __init__(self, codec: Codec, data: Mapping[str, torch.Tensor], to_devices: bool):
        self._codec = codec
        self._data = data
        self.to_devices = to_devices
        self._made: dict[Any, Any] = {}

    def decode(self, node: Node) -> Any:
        """The value of a node.

        Raises:
            StateError: it is none.
        """
        if not isinstance(node, dict):
            if node is None or isinstance(node, (bool, int, float, str)):
                return node
            raise StateError(f"a value cannot be {type(node).__name__}")
        name = node.get("is")
        if name == "same":
            if node.get("as") not in self._made:
                raise StateError("a reference to nothing")
            return self._made[node["as"]]
        try:
            value = self._codec.of_name(name).make(node, self)
        except StateError:
            raise
        except Exception as error:
            raise StateError(f"not a {name}: {type(error).__name__}: {error}") from None
        if "id" in node:
            self._made[node["id"]] = value
        return value

    def data(self, name: Any) -> torch.Tensor:
        """A tensor of the data."""
        if name not in self._data:
            raise StateError(f"no data for {name!r}")
        return self._data[name]
