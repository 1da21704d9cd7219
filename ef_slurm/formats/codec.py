"""Frozen dataclasses to JSON values and back, checked against their type hints.

Known: str, int, float (also infinite), bool, enums, dataclasses, tuples, optional values, and
mappings of plain JSON. An unknown key is ignored, so that an older reader understands a newer
writer; a missing one takes its default.
"""

from __future__ import annotations

import enum
import functools
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class DecodeError(ValueError):
    """A value does not fit its type; the text says where and what was expected."""


def encode(value: object) -> Any:
    """A value as what `json.dumps` takes.

    >>> encode((1, float("inf")))
    [1, 'inf']

    Raises:
        TypeError: a type that this codec does not know, or a NaN.
    """
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return _encode_float(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    raise TypeError(f"cannot encode a {type(value).__name__}")


def _encode_float(value: float) -> float | str:
    if math.isnan(value):
        raise TypeError("cannot encode NaN")
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def decode(kind: type[T], value: object, where: str = "") -> T:
    """The inverse of `encode` for a dataclass, an enum or a plain type.

    Args:
        kind: what is expected.
        value: what `json.loads` gave.
        where: what to call it in an error.

    Raises:
        DecodeError: it is not that.
    """
    decoded: T = _decode(kind, value, where or kind.__name__)
    return decoded


def _decode(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _decode_optional(hint, value, where)
    if origin is tuple:
        return _decode_tuple(get_args(hint), value, where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise DecodeError(f"{where}: expected an object, got {value!r}")
        return value
    if is_dataclass(hint):
        return _decode_record(hint, value, where)
    if issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            known = ", ".join(str(member.value) for member in hint)
            raise DecodeError(f"{where}: {value!r} is none of {known}") from None
    if hint is float:
        return _decode_float(value, where)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise DecodeError(f"{where}: expected {hint.__name__}, got {value!r}")
    return value


def _decode_float(value: Any, where: str) -> float:
    if value in ("inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DecodeError(f"{where}: expected a number, got {value!r}")
    return float(value)


def _decode_optional(hint: Any, value: Any, where: str) -> Any:
    choices = [choice for choice in get_args(hint) if choice is not type(None)]
    if value is None and len(choices) < len(get_args(hint)):
        return None
    if len(choices) != 1:
        raise TypeError(f"{where}: only X | None is known, not {hint}")
    return _decode(choices[0], value, where)


def _decode_tuple(items: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise DecodeError(f"{where}: expected a list, got {value!r}")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_decode(items[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(items) != len(value):
        raise DecodeError(f"{where}: expected {len(items)} items, got {len(value)}")
    pairs = zip(items, value, strict=True)
    return tuple(_decode(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(pairs))


def _decode_record(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise DecodeError(f"{where}: expected an object, got {value!r}")
    hints = _hints(kind)
    found: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in value:
            found[field.name] = _decode(
                hints[field.name], value[field.name], f"{where}.{field.name}"
            )
        elif field.default is MISSING and field.default_factory is MISSING:
            raise DecodeError(f"{where}: without {field.name}")
    try:
        return kind(**found)
    except ValueError as error:  # the model refuses wrong values when an object is made
        raise DecodeError(f"{where}: {error}") from None


@functools.cache
def _hints(kind: type) -> Mapping[str, Any]:
    return types.MappingProxyType(get_type_hints(kind))
