"""Kinds of the script's own classes: enums, named tuples, dataclasses.

Of a class only the name is kept. It is looked up among the modules that are imported already, and
its values are made of their fields without calling anything of theirs.
"""

import dataclasses
import enum
import sys
from collections.abc import Mapping
from typing import Any

from ef_slurm.training.values.codec import Decoder, Encoder, Kind, Node, Place, StateError


def reference(value: Any, place: Place) -> str:
    """`module:qualified name` of a value's class.

    Raises:
        StateError: the class cannot be found by it.
    """
    kind = type(value)
    name = f"{kind.__module__}:{kind.__qualname__}"
    if _look_up(name) is not kind:
        raise place.refuse(value, "its class is not found by its name: define it in a module")
    return name


def resolve(name: Any) -> type:
    """The class of a reference.

    Raises:
        StateError: there is no such class in what is imported.
    """
    found = _look_up(name) if isinstance(name, str) else None
    if not isinstance(found, type):
        raise StateError(f"the class {name} is not there: import it before training begins")
    return found


def _look_up(name: str) -> Any:
    module, _, qualified = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        # Not getattr: a module may run code to find what it has not.
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found


class EnumKind:
    name = "enum"

    def fits(self, value: Any) -> bool:
        return isinstance(value, enum.Enum)

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        of = reference(value, place)
        if isinstance(value, enum.Flag):
            return {"of": of, "flags": encoder.encode(value.value, place.attribute("value"))}
        return {"of": of, "member": value.name}

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        kind = resolve(node["of"])
        if not issubclass(kind, enum.Enum):
            raise StateError(f"{node['of']} is no enum")
        if "flags" in node:
            return kind(decoder.decode(node["flags"]))
        if node["member"] not in kind.__members__:
            raise StateError(f"{node['of']} has no member {node['member']!r}")
        return kind.__members__[node["member"]]


class NamedTuple:
    name = "namedtuple"

    def fits(self, value: Any) -> bool:
        kind = type(value)
        return isinstance(value, tuple) and kind.__bases__ == (tuple,) and _names(kind) is not None

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        items = [
            encoder.encode(item, place.attribute(name))
            for name, item in zip(value._fields, value, strict=True)
        ]
        return {"of": reference(value, place), "items": items}

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        kind: Any = resolve(node["of"])
        names = _names(kind) if issubclass(kind, tuple) else None
        if names is None or len(names) != len(node["items"]):
            raise StateError(f"{node['of']} is no named tuple of {len(node['items'])} fields")
        return tuple.__new__(kind, [decoder.decode(item) for item in node["items"]])


class DataClass:
    name = "dataclass"

    def fits(self, value: Any) -> bool:
        return _is_plain_dataclass(type(value))

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        of = reference(value, place)
        names = [field.name for field in dataclasses.fields(value)]
        names += [name for name in getattr(value, "__dict__", ()) if name not in names]
        return {
            "of": of,
            "fields": {
                name: encoder.encode(getattr(value, name), place.attribute(name))
                for name in names
                if hasattr(value, name)
            },
        }

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        kind: Any = resolve(node["of"])
        if not _is_plain_dataclass(kind):
            raise StateError(f"{node['of']} is no dataclass")
        value = object.__new__(kind)
        for name, item in node["fields"].items():
            object.__setattr__(value, name, decoder.decode(item))
        return value


def _is_plain_dataclass(kind: Any) -> bool:
    # One that is a container or tensor as well has more than its fields.
    return dataclasses.is_dataclass(kind) and kind.__new__ is object.__new__


def _names(kind: Any) -> tuple[str, ...] | None:
    names = vars(kind).get("_fields")
    if isinstance(names, tuple) and all(isinstance(name, str) for name in names):
        return names
    return None


CLASSES: tuple[Kind, ...] = (EnumKind(), NamedTuple(), DataClass())
