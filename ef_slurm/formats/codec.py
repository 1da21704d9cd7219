"""Typed records as JSON and back: one codec for queue, API, reports and site configuration.

Known: str, int (64 bits, as SQLite's), float (also infinite), bool, enums, paths, dataclasses,
NamedTuples (lists in JSON), tuples, optional values, mappings by text, and plain JSON. An unknown
key is ignored, so that an older reader understands a newer writer, or refused, where a person wrote
the text; a missing one takes its default.

msgspec parses and checks types in C. What it reads into is not the model's dataclass but a struct
made from its type hints (`record_types`), because JSON has no word for infinity: there a number may
also be the text "inf" or "-inf". The dataclass is made from that, and checks its values itself.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import msgspec

from ef_slurm.formats.decode_errors import UNKNOWN, DecodeError, explain, refused
from ef_slurm.formats.record_types import lower, read_type, refuse, to_known

__all__ = ["DecodeError", "decode", "encode", "from_plain", "pretty", "to_plain"]

T = TypeVar("T")


def encode(value: object) -> bytes:
    """A value as compact JSON.

    >>> encode((1, float("inf")))
    b'[1,"inf"]'

    Raises:
        TypeError: a type that this codec does not know, or a NaN.
    """
    lowered = lower(value)
    try:
        return msgspec.json.encode(lowered, enc_hook=refuse)
    except UnicodeEncodeError:
        # An argument or a file name that is no UTF-8, as Python shows it (surrogateescape).
        return json.dumps(_builtins(lowered), separators=(",", ":")).encode()


def to_plain(value: object) -> Any:
    """A value as dicts, lists, texts, numbers, booleans and None.

    Raises:
        TypeError: as `encode`.
    """
    return _builtins(lower(value))


def pretty(value: object) -> str:
    """A value as indented ASCII JSON, for people and for programs that read a command's output.

    Raises:
        TypeError: as `encode`.
    """
    return json.dumps(to_plain(value), indent=1)


def decode(kind: type[T], data: bytes | str, where: str = "") -> T:
    """The inverse of `encode`, total: any bytes give a value or a DecodeError.

    Args:
        kind: what is expected: a dataclass, a NamedTuple, an enum, a plain type, or a tuple or dict
            of them.
        data: JSON in UTF-8.
        where: what to call it in an error.

    Raises:
        DecodeError: it is not JSON, or not that.
    """
    reader: _Reader[T] = _reader(cast(Any, kind), False)
    try:
        read = reader.decoder.decode(data)
    except msgspec.ValidationError as error:
        raise explain(kind, where, str(error), _parse(data)) from None
    except RecursionError:
        raise DecodeError(where, "nested too deeply") from None
    except (msgspec.DecodeError, ValueError) as error:
        # msgspec takes no half of a surrogate pair, which `encode` writes for what is no UTF-8.
        value = _parse(data)
        if value is UNKNOWN:
            raise DecodeError(where, f"not JSON: {error}") from None
        return from_plain(kind, value, where)
    return reader.build(read, where)


def from_plain(kind: type[T], value: object, where: str = "", *, refuse_unknown: bool = False) -> T:
    """The inverse of `to_plain`, for what was parsed before (TOML).

    Args:
        kind: as in `decode`.
        value: what was parsed.
        where: what to call it in an error.
        refuse_unknown: whether a key that the type does not have is an error.

    Raises:
        DecodeError: it is not that.
    """
    reader: _Reader[T] = _reader(cast(Any, kind), refuse_unknown)
    try:
        read = msgspec.convert(value, reader.read_type)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise explain(kind, where, str(error), value) from None
    except SystemError:  # msgspec 0.19 (Debian 13), for a whole number beyond every float
        raise DecodeError(where, "a number is out of range") from None
    return reader.build(read, where)


@dataclass(frozen=True, slots=True)
class _Reader(Generic[T]):
    """How one type is read.

    Args:
        kind: the type.
        read_type: what msgspec reads it into.
        decoder: of `read_type`.
    """

    kind: type[T]
    read_type: Any
    decoder: msgspec.json.Decoder[Any]

    def build(self, read: Any, where: str) -> T:
        """The value of what was read, which has the right types everywhere.

        Raises:
            DecodeError: the model refuses it.
        """
        try:
            # Not strict: all that is left to convert are the texts of infinite numbers.
            return msgspec.convert(
                read, self.kind, strict=False, from_attributes=True, dec_hook=to_known
            )
        except msgspec.ValidationError as error:
            raise refused(where, str(error)) from None


@functools.cache
def _reader(kind: Any, refuse_unknown: bool) -> _Reader[Any]:
    read = read_type(kind, refuse_unknown)
    return _Reader(kind, read, msgspec.json.Decoder(read))


def _parse(data: bytes | str) -> Any:
    """What a JSON text holds, also halves of surrogate pairs; `UNKNOWN` where it is no JSON."""
    try:
        text = data if isinstance(data, str) else data.decode()
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return UNKNOWN


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _builtins(lowered: Any) -> Any:
    return msgspec.to_builtins(lowered, enc_hook=refuse)
