"""Where a value does not fit its type, what was expected there, and what was found."""

from __future__ import annotations

import difflib
import enum
import re
import types
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, time
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin

import msgspec

from ef_slurm.formats.record_types import read_type, type_hints

_MAX_SHOWN = 60
"""Characters of a wrong value that an error repeats."""


class DecodeError(ValueError):
    """A value does not fit its type.

    Args:
        place: dotted ("judged.verdict.reason"); "" where the value as a whole is wrong.
        problem: what is wrong, as a sentence.
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.place = place
        self.problem = problem


UNKNOWN: Final = object()
"""Where the wrong value is not at hand."""

_MISSING = re.compile(r"Object missing required field `(\w+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_PLACE = re.compile(r"(.*) - at `(?:key` in `)?\$([^`]*)`", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")


def explain(kind: Any, where: str, message: str, value: Any) -> DecodeError:
    """msgspec's message in our words, with the valid values that it leaves out.

    Args:
        kind: what was expected of the whole.
        where: what to call the whole.
        message: of msgspec's error: what it missed and, at the end, at which place.
        value: the whole as parsed, or `UNKNOWN`.
    """
    try:
        return _explained(kind, where, message, value)
    except (LookupError, TypeError):
        # A key that reads as the end of msgspec's message leads to a place that there is not.
        return DecodeError(where, message)


def _explained(kind: Any, where: str, message: str, value: Any) -> DecodeError:
    found = _PLACE.fullmatch(message)
    missed = found[1] if found else message
    hint: Any = kind
    place = where
    for name, index in _STEP.findall(found[2] if found else ""):
        hint = _inner(hint, name, index)
        key = name or index
        if index == "...":  # some key of a mapping: msgspec does not say which
            key = _wrong_key(value, hint)
        value = _value_at(value, key)
        place = f"{place}[{index}]" if index.isdecimal() else join(place, key)
    if missing := _MISSING.fullmatch(missed):
        return DecodeError(place, f"{missing[1]} is missing")
    if unknown := _UNKNOWN.fullmatch(missed):
        return DecodeError(join(place, unknown[1]), _unknown_key(unknown[1], hint))
    got = "" if value is UNKNOWN else f", got {_shown(value)}"
    return DecodeError(place, f"expected {_words(hint)}{got}")


def refused(where: str, message: str) -> DecodeError:
    """msgspec's message about a value that the model refuses: the model's own words, and where."""
    found = _PLACE.fullmatch(message)
    if found is None:
        return DecodeError(where, message)
    return DecodeError(f"{where}{found[2]}" if where else found[2].removeprefix("."), found[1])


def join(place: str, key: str) -> str:
    """The place of a key in the value at `place`, fit for a terminal: whoever wrote it chose it."""
    shown = key if key.isprintable() else repr(key)[1:-1]
    shown = shown if len(shown) <= _MAX_SHOWN else shown[:_MAX_SHOWN] + "…"
    return f"{place}.{shown}" if place else shown


def _unknown_key(key: str, hint: Any) -> str:
    valid = sorted(field.name for field in fields(_required(hint)))
    close = difflib.get_close_matches(key, valid, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown key: {meant}valid ones are {', '.join(valid)}"


def _required(hint: Any) -> Any:
    """X of X | None; other hints as they are."""
    if get_origin(hint) in (Union, types.UnionType):
        choices = [choice for choice in get_args(hint) if choice is not type(None)]
        return choices[0] if len(choices) == 1 else hint
    return hint


def _inner(hint: Any, name: str, index: str) -> Any:
    """The hint of a field or item of what `hint` says."""
    hint = _required(hint)
    if name:
        return type_hints(hint)[name]
    if hasattr(hint, "_fields"):
        return type_hints(hint)[hint._fields[int(index)]]
    items = get_args(hint)
    if get_origin(hint) is not tuple:
        return items[1]
    return items[0] if items[-1] is Ellipsis else items[int(index)]


def _wrong_key(table: Any, hint: Any) -> str:
    """The first key of a mapping whose value is not what `hint` says."""
    for key, value in table.items() if isinstance(table, dict) else ():
        try:
            msgspec.convert(value, read_type(hint, refuse_unknown=True))
        except (ValueError, RecursionError, SystemError, msgspec.ValidationError):
            return str(key)
    return "…"


def _value_at(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return value.get(key, UNKNOWN)
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        return value[int(key)]
    return UNKNOWN


def _words(hint: Any) -> str:
    """What a hint expects, in words."""
    hint = _required(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "one of " + ", ".join(repr(member.value) for member in hint)
    known = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        Path: "a path",
    }
    if hint in known:
        return known[hint]
    origin = get_origin(hint)
    if origin is tuple:
        items = get_args(hint)
        return "a list" if items[-1] is Ellipsis else f"a list of {len(items)}"
    if hasattr(hint, "_fields"):
        return f"a list: {', '.join(hint._fields)}"
    return "keys and values"


def _shown(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case dict() | Mapping():
            return "keys and values"
        case list():
            return f"a list of {len(value)}"
        case str():
            return repr(value if len(value) <= _MAX_SHOWN else value[:_MAX_SHOWN] + "…")
        case int() if value.bit_length() > 64:
            return f"a number of {value.bit_length()} bits"
        case int() | float():
            return repr(value)
        case date() | time():
            return str(value)
    return "something else"
