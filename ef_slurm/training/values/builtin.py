"""Kinds of the standard library."""

import argparse
import array
import base64
import datetime
import decimal
import fractions
import pathlib
import random
import types
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ef_slurm.training.values.codec import Decoder, Encoder, Kind, Node, Place

_FACTORIES: dict[str, Callable[[], Any]] = {
    kind.__name__: kind
    for kind in (
        *(bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset),
        *(deque, Counter, OrderedDict),
    )
}


@dataclass(frozen=True, slots=True)
class As:
    """A kind whose parts are one plain value."""

    name: str
    type: type
    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]

    def fits(self, value: Any) -> bool:
        return type(value) is self.type

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        return {"value": encoder.encode(self.to_plain(value), place)}

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        return self.from_plain(decoder.decode(node["value"]))


@dataclass(frozen=True, slots=True)
class Sequence:
    """Lists, tuples, sets, and what is made of an iterable."""

    name: str
    type: type
    build: Callable[[list[Any]], Any]

    def fits(self, value: Any) -> bool:
        return type(value) is self.type

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        return {"items": [encoder.encode(item, place.index(i)) for i, item in enumerate(value)]}

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        return self.build([decoder.decode(item) for item in node["items"]])


class Deque:
    name = "deque"

    def fits(self, value: Any) -> bool:
        return type(value) is deque

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        items = [encoder.encode(item, place.index(i)) for i, item in enumerate(value)]
        return {"items": items, "maxlen": value.maxlen}

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        return deque([decoder.decode(item) for item in node["items"]], node["maxlen"])


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Dictionaries; attributes as modules put them onto their `state_dict` are kept too."""

    name: str
    type: type
    build: Callable[[list[tuple[Any, Any]]], Any]

    def fits(self, value: Any) -> bool:
        return type(value) is self.type

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        items = [
            [encoder.encode(key, place), encoder.encode(item, place.key(key))]
            for key, item in value.items()
        ]
        node: dict[str, Node] = {"items": items}
        attributes = getattr(value, "__dict__", None)
        if attributes:
            node["attributes"] = {
                name: encoder.encode(item, place.attribute(name))
                for name, item in attributes.items()
            }
        return node

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        pairs = [(decoder.decode(key), decoder.decode(item)) for key, item in node["items"]]
        value = self.build(pairs)
        for name, item in node.get("attributes", {}).items():
            vars(value)[name] = decoder.decode(item)
        return value


class DefaultDictionary:
    name = "defaultdict"

    def fits(self, value: Any) -> bool:
        return type(value) is defaultdict

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        factory = value.default_factory
        name = None if factory is None else getattr(factory, "__name__", "")
        if name is not None and _FACTORIES.get(name) is not factory:
            raise place.refuse(
                value, f"its default comes of {factory!r}; known are {', '.join(_FACTORIES)}"
            )
        node = _DICT.take(value, place, encoder)
        node["factory"] = name
        return node

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        factory = None if node["factory"] is None else _FACTORIES[node["factory"]]
        return defaultdict(factory, _DICT.make(node, decoder))


class Moment:
    """`datetime.datetime` and `datetime.time`, with their zone and fold."""

    name = "moment"

    def fits(self, value: Any) -> bool:
        return type(value) in (datetime.datetime, datetime.time)

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        return {
            "of": type(value).__name__,
            "text": value.replace(tzinfo=None).isoformat(),
            "fold": value.fold,
            "zone": encoder.encode(value.tzinfo, place.attribute("tzinfo")),
        }

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        kind: Any = {"datetime": datetime.datetime, "time": datetime.time}[node["of"]]
        zone = decoder.decode(node["zone"])
        return kind.fromisoformat(node["text"]).replace(tzinfo=zone, fold=node["fold"])


class Namespace:
    name = "namespace"
    _types = types.MappingProxyType(
        {"types": types.SimpleNamespace, "argparse": argparse.Namespace}
    )

    def fits(self, value: Any) -> bool:
        return type(value) in self._types.values()

    def take(self, value: Any, place: Place, encoder: Encoder) -> dict[str, Node]:
        items = {
            name: encoder.encode(item, place.attribute(name)) for name, item in vars(value).items()
        }
        return {"of": type(value).__module__, "items": items}

    def make(self, node: Mapping[str, Node], decoder: Decoder) -> Any:
        items = {name: decoder.decode(item) for name, item in node["items"].items()}
        return self._types[node["of"]](**items)


def _from_random_state(state: Any) -> random.Random:
    generator = random.Random()  # noqa: S311 - the script's own, as it was
    generator.setstate(state)
    return generator


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _timezone(parts: Any) -> datetime.timezone:
    offset, name = parts
    return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)


def _timezone_parts(zone: datetime.timezone) -> tuple[datetime.timedelta, str | None]:
    offset, name = zone.utcoffset(None), zone.tzname(None)
    return offset, None if datetime.timezone(offset).tzname(None) == name else name


def _array(parts: Any) -> "array.array[Any]":
    typecode, data = parts
    return array.array(typecode, data)


_DICT = Dictionary("dict", dict, dict)
BUILTIN: tuple[Kind, ...] = (
    _DICT,
    Sequence("list", list, list),
    Sequence("tuple", tuple, tuple),
    Dictionary("OrderedDict", OrderedDict, OrderedDict),
    Sequence("set", set, set),
    Sequence("frozenset", frozenset, frozenset),
    Deque(),
    DefaultDictionary(),
    Dictionary("Counter", Counter, lambda pairs: Counter(dict(pairs))),
    As("int", int, hex, lambda text: int(text, 16)),
    As("float", float, repr, float),
    As("complex", complex, lambda z: (z.real, z.imag), lambda parts: complex(*parts)),
    As("bytes", bytes, _to_text, base64.b64decode),
    As("bytearray", bytearray, _to_text, lambda text: bytearray(base64.b64decode(text))),
    As("range", range, lambda r: (r.start, r.stop, r.step), lambda parts: range(*parts)),
    As("slice", slice, lambda s: (s.start, s.stop, s.step), lambda parts: slice(*parts)),
    As("array.array", array.array, lambda a: (a.typecode, a.tobytes()), _array),
    Moment(),
    As("date", datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    As(
        "timedelta",
        datetime.timedelta,
        lambda t: (t.days, t.seconds, t.microseconds),
        lambda parts: datetime.timedelta(*parts),
    ),
    As("timezone", datetime.timezone, _timezone_parts, _timezone),
    As("ZoneInfo", zoneinfo.ZoneInfo, str, zoneinfo.ZoneInfo),
    *(
        As(kind.__name__, kind, str, kind)
        for kind in (
            *(pathlib.PosixPath, pathlib.PurePosixPath),
            *(pathlib.WindowsPath, pathlib.PureWindowsPath),
        )
    ),
    As("Decimal", decimal.Decimal, str, decimal.Decimal),
    As("Fraction", fractions.Fraction, str, fractions.Fraction),
    As("UUID", uuid.UUID, str, uuid.UUID),
    Namespace(),
    As("Random", random.Random, random.Random.getstate, _from_random_state),
)
