"""From a record's type hints: what msgspec reads it into, and what is written for it.

The hints are the model's own, so nothing is said twice. What is made of them is kept per type.
"""

from __future__ import annotations

import collections
import enum
import functools
import math
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import msgspec

_Step = Callable[[Any], Any]
"""Makes what JSON has words for of a value."""

_LARGEST = sys.float_info.max
# The bounds keep out NaN and infinity themselves, for which TOML has words.
_FLOAT = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)] | Literal["inf", "-inf"]
_INT = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


# --- reading ---------------------------------------------------------------------------------


def read_type(hint: Any, refuse_unknown: bool) -> Any:
    """The type that msgspec reads for a hint."""
    if hint is float:
        return _FLOAT
    if hint is int:
        return _INT
    if hint is Path:
        return str
    if hint in (str, bool, Any, type(None)):
        return hint
    origin, items = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return Union[tuple(read_type(choice, refuse_unknown) for choice in items)]  # noqa: UP007
    if origin is tuple:
        parts = tuple(part if part is ... else read_type(part, refuse_unknown) for part in items)
        return tuple.__class_getitem__(parts)
    if _is_mapping(origin):
        return dict[str, read_type(items[1], refuse_unknown)]  # type: ignore[misc]
    if _is_record(hint):
        return _struct(hint, refuse_unknown)
    if hasattr(hint, "_fields"):
        return _row(hint, refuse_unknown)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint
    raise TypeError(f"the codec does not know {hint}")


@functools.cache
def type_hints(kind: Any) -> Mapping[str, Any]:
    """The evaluated hints of a record's fields, those that it had formerly among them."""
    hints = get_type_hints(kind)
    return hints | {name: hints[fields[0]] for name, fields in former_fields(kind).items()}


def former_fields(kind: Any) -> Mapping[str, tuple[str, ...]]:
    """Keys that a record's earlier versions had → the fields that each of them states today."""
    found: Mapping[str, tuple[str, ...]] = getattr(kind, "FORMER_FIELDS", {})
    return found


def _is_record(hint: Any) -> bool:
    return is_dataclass(hint)


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


@functools.cache
def _struct(kind: Any, refuse_unknown: bool) -> type[msgspec.Struct]:
    hints, former = type_hints(kind), former_fields(kind)
    stated = {name for names in former.values() for name in names}
    members: list[Any] = []
    defaults: dict[str, Any] = {}
    for field in fields(kind):
        read = read_type(hints[field.name], refuse_unknown)
        if field.name in stated:
            members.append(_unset_member(field.name, read))
            defaults[field.name] = field.default
        elif field.default is not MISSING:
            members.append((field.name, read, field.default))
        elif field.default_factory is not MISSING:
            default = msgspec.field(default_factory=field.default_factory)
            members.append((field.name, read, default))
        else:
            members.append((field.name, read))
    members += [_unset_member(name, read_type(hints[name], refuse_unknown)) for name in former]
    return msgspec.defstruct(
        kind.__name__,
        members,
        namespace={"__post_init__": _with_former(former, defaults)} if former else None,
        kw_only=True,
        forbid_unknown_fields=refuse_unknown,
    )


def _unset_member(name: str, read: Any) -> tuple[str, Any, Any]:
    """A field of which one sees whether the text had it."""
    return name, Union[read, msgspec.UnsetType], msgspec.UNSET  # noqa: UP007


def _with_former(
    former: Mapping[str, tuple[str, ...]], defaults: Mapping[str, Any]
) -> Callable[[Any], None]:
    """What fills the fields that a text leaves out from what it calls them by former names."""

    def fill(read: Any) -> None:
        for old, names in former.items():
            for name in names:
                if getattr(read, name) is msgspec.UNSET:
                    setattr(read, name, getattr(read, old))
        for name, default in defaults.items():
            if getattr(read, name) is msgspec.UNSET:
                setattr(read, name, default)

    return fill


@functools.cache
def _row(kind: Any, refuse_unknown: bool) -> Any:
    defaults = list(kind._field_defaults.values())
    row: Any = collections.namedtuple(kind.__name__, kind._fields, defaults=defaults)  # type: ignore[misc]
    row.__annotations__ = {
        name: read_type(hint, refuse_unknown) for name, hint in type_hints(kind).items()
    }
    return row


def to_known(kind: Any, value: Any) -> Any:
    """What msgspec asks about a type that it does not know, when a value is made of what was read.

    Raises:
        NotImplementedError: the codec does not know it either (what msgspec expects then).
    """
    if kind is Path:
        return Path(value)
    raise NotImplementedError(f"the codec does not know {kind}")


# --- writing ---------------------------------------------------------------------------------


def lower(value: Any) -> Any:
    """A value as what JSON has words for: dicts, lists, tuples, enums, texts, finite numbers.

    Raises:
        TypeError: it is NaN, or something else that JSON has no word for.
    """
    step = _lowering_of(value.__class__)
    return value if step is None else step(value)


@functools.cache
def _lowering_of(kind: Any) -> _Step | None:
    """How values of a class are lowered; None where JSON has a word for them as they are."""
    if issubclass(kind, str | int | enum.Enum | types.NoneType):
        return None
    if issubclass(kind, float):
        return _from_float
    if _is_record(kind):
        return _record_lowering(kind)
    if issubclass(kind, tuple | list):
        return lambda values: [lower(value) for value in values]
    if issubclass(kind, Mapping):
        return lambda table: {str(key): lower(value) for key, value in table.items()}
    return str if issubclass(kind, Path) else refuse


def refuse(value: object) -> NoReturn:
    """What to do about a value that JSON has no word for.

    Raises:
        TypeError: always.
    """
    raise TypeError(f"cannot encode a {type(value).__name__}")


def _from_float(value: Any) -> Any:
    # inf - inf and NaN - NaN are NaN, which is not equal to anything.
    if value.__class__ is float and value - value == 0.0:
        return value
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        raise TypeError("cannot encode NaN")
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return float(value)  # numpy's


@functools.cache
def _lowering(hint: Any) -> _Step | None:
    """How a value of this hint is lowered; None where JSON has a word for it as it is."""
    if hint is float:
        return _from_float
    if hint is Path:
        return str
    if hint is Any:
        return lower
    origin, items = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _optional(_only(_lowering(choice) for choice in items))
    if origin is tuple:
        return _items_lowering([_lowering(item) for item in items if item is not ...])
    if _is_record(hint):
        return _record_lowering(hint)
    return lower if _is_mapping(origin) or hasattr(hint, "_fields") else None


@functools.cache
def _record_lowering(kind: Any) -> _Step:
    hints = type_hints(kind)
    names = [field.name for field in fields(kind)]
    read = _attributes(names)
    numbers = [name for name in names if _is_number(hints[name])]
    steps = [
        (name, step)
        for name in names
        if name not in numbers and (step := _lowering(hints[name])) is not None
    ]

    def lowered(record: Any) -> dict[str, Any]:
        table = dict(zip(names, read(record), strict=True))
        for name in numbers:
            value = table[name]
            if value.__class__ is not float or value - value != 0.0:
                table[name] = _from_float(value)
        for name, step in steps:
            table[name] = step(table[name])
        return table

    return lowered


def _attributes(names: list[str]) -> Callable[[Any], Iterable[Any]]:
    """All attributes of a record at once."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda record: [getattr(record, name) for name in names]


def _is_number(hint: Any) -> bool:
    return hint is float or float in get_args(hint)


def _only(steps: Iterable[_Step | None]) -> _Step | None:
    needed = [step for step in steps if step is not None]
    if len(needed) > 1:
        raise TypeError("the codec knows X | None, and no other unions")
    return needed[0] if needed else None


def _optional(step: _Step | None) -> _Step | None:
    if step is None:
        return None
    return lambda value: None if value is None else step(value)


def _items_lowering(steps: list[_Step | None]) -> _Step | None:
    """One step for all items, or as many steps as items."""
    if not any(steps):
        return None
    if len(steps) == 1 and (each := steps[0]) is not None:
        return lambda values: [each(value) for value in values]
    return lambda values: [
        value if step is None else step(value) for value, step in zip(values, steps, strict=True)
    ]
