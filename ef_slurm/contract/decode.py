"""Bytes → records: any bytes whatever give a record within bounds, or a `ContractError`.

A job writes what it likes into its files. Nothing gets beyond this module that could not be counted
with, stored or printed: numbers are finite and within `BOUNDS`, texts are one line of printable
characters.
"""

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from ef_slurm.contract.points import read_points, read_sizes
from ef_slurm.contract.records import (
    VERSION,
    Companion,
    ContractError,
    Launch,
    Order,
    Progress,
)

Record = TypeVar("Record", Order, Progress, Launch, Companion)

MAX_BYTES = 65536
"""A file is some hundred bytes, or some thousand for many nodes; whatever is larger is none."""

MAX_COUNT = 10**9
"""Launches, requeues, failures: more than one a second for 30 years."""
MAX_ITERATIONS = 10**15
"""Exact as a float, with its neighbours."""
MAX_TIME = 2.0**33
"""UTC epoch seconds: the year 2242."""
MAX_SECONDS = 1e8
"""Seconds that anything may take: three years."""
MAX_RATE = 1e9
"""Iterations/s."""
MAX_TEXT = 1000
"""Characters of a text for a person."""

BOUNDS: Mapping[str, tuple[float, float]] = {
    "generation": (0, MAX_COUNT),
    "world_size": (1, 2**20),
    "iteration": (0, MAX_ITERATIONS),
    "checkpoint_iteration": (0, MAX_ITERATIONS),
    "stop_iteration": (0, MAX_ITERATIONS),
    "change": (0, MAX_COUNT),
    "refused_change": (0, MAX_COUNT),
    "change_iteration": (0, MAX_ITERATIONS),
    "change_seconds": (0, MAX_SECONDS),
    "failed_at": (-1, MAX_ITERATIONS),
    "iterations_per_second": (0, MAX_RATE),
    "slurm_job_id": (1, 2**32),
    "restart_count": (0, MAX_COUNT),
    "gpus_per_node": (0, 2**20),
    "port": (0, 65535),
    "failures": (0, MAX_COUNT),
    "corrupt_checkpoints": (0, MAX_COUNT),
    "exit_code": (-255, 255),
    "issued_at": (0, MAX_TIME),
    "started_at": (0, MAX_TIME),
    "updated_at": (0, MAX_TIME),
    "first_iteration_at": (0, MAX_TIME),
    "process_started_at": (0, MAX_TIME),
    "last_iteration_at": (0, MAX_TIME),
    "trained_until": (0, MAX_TIME),
    "restore_seconds": (0, MAX_SECONDS),
    "save_seconds": (0, MAX_SECONDS),
    "stall_seconds": (0, MAX_SECONDS),
}
"""The least and the most of each number. One that is not named lies in [0, 10^15]."""

LENGTHS: Mapping[str, int] = {"nodes": MAX_BYTES, "ready": MAX_BYTES}
"""The most characters of a text; `MAX_TEXT` of one that is not named."""

FORMS: Mapping[str, Callable[[str], object]] = {"sizes": read_sizes, "points": read_points}
"""What reads a text that is not just for a person; `ContractError` if it is not as agreed."""


def decode(kind: type[Record], data: bytes, where: str) -> Record:
    """The record that the bytes of a file stand for.

    Numbers that are outside their bounds, and whatever else is not as agreed, are refused. A text
    is cut, and made one line of printable characters.

    Args:
        where: the file, for the error.

    Raises:
        ContractError: it is none; the text names the file and what is wrong, in one line.
    """
    values = _object(data, where)
    version = values.get("version")
    if isinstance(version, bool) or version != VERSION:
        raise ContractError(
            f"{where}: version {_shown(version)}, this ef-slurm knows version {VERSION}"
        )
    hints = _HINTS[kind]
    found = {
        field.name: _convert(where, field.name, values[field.name], hints[field.name])
        for field in fields(kind)
        if field.name in values
    }
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in found]
    if missing:
        raise ContractError(f"{where}: without {', '.join(missing)}")
    return kind(**found)


def decode_count(data: bytes, where: str) -> int:
    """The number in the file `generation`; 0 for an empty one.

    Raises:
        ContractError: the file holds no number.
    """
    text = data.decode("ascii", "replace").strip()
    if not text:
        return 0
    if not (text.isdecimal() and len(text) <= len(str(MAX_COUNT))):
        raise ContractError(f"{where}: {_shown(text)} is not an integer")
    return int(text)


def _object(data: bytes, where: str) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise ContractError(f"{where}: more than {MAX_BYTES} bytes")
    try:
        values = json.loads(
            data.decode(), parse_constant=_no_constant, object_pairs_hook=_without_doubles
        )
    except RecursionError:
        raise ContractError(f"{where}: not JSON that anybody writes: nested too deep") from None
    except ValueError as error:  # no UTF-8, no JSON, or a number of thousands of digits
        raise ContractError(f"{where}: not JSON: {one_line(str(error), 200)}") from None
    if not isinstance(values, dict):
        raise ContractError(f"{where}: expected an object")
    return values


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is there twice")
    return values


_HINTS: Mapping[Any, Mapping[str, Any]] = {
    kind: get_type_hints(kind) for kind in (Order, Progress, Launch, Companion)
}


def _convert(where: str, key: str, value: Any, hint: Any) -> Any:
    """`value` as the type `hint` (int, float, bool, str or an enum, possibly `| None`)."""
    optional = get_args(hint)
    if optional:
        if value is None:
            return None
        hint = optional[0]
    if issubclass(hint, enum.Enum):
        for member in hint:
            if isinstance(value, str) and value == member.value:
                return member
        known = ", ".join(str(member.value) for member in hint)
        raise ContractError(f"{where}: {key}: {_shown(value)} is none of {known}")
    accepted = (int, float) if hint is float else (hint,)
    if isinstance(value, bool) is not (hint is bool) or not isinstance(value, accepted):
        raise ContractError(f"{where}: {key}: {_shown(value)} is not of type {hint.__name__}")
    if isinstance(value, str):
        line = one_line(value, most_of(key))
        try:
            FORMS.get(key, one_line)(line)
        except ContractError as error:
            raise ContractError(f"{where}: {key}: {error}") from None
        return line
    if hint is not bool:
        low, high = BOUNDS.get(key, (0, MAX_ITERATIONS))
        if not low <= value <= high:
            raise ContractError(
                f"{where}: {key}: {_shown(value)} is not from {low:.17g} to {high:.17g}"
            )
    return hint(value)


def most_of(key: str) -> int:
    """The most characters of a text."""
    return LENGTHS.get(key, MAX_TEXT)


def one_line(text: str, most: int = MAX_TEXT) -> str:
    r"""The text on one line that any terminal, log and database takes.

    Args:
        most: characters.

    >>> one_line("no space\nleft\x1b[2J")
    'no space left�[2J'
    """
    cut = text[:most]
    if cut.isprintable():
        return cut
    return "".join(
        letter if letter.isprintable() else " " if letter.isspace() else "�" for letter in cut
    )


def _shown(value: object) -> str:
    """A value for an error: short, and in plain characters."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_ITERATIONS**2:
        return "a number of too many digits"
    text = repr(value)
    return ascii(value)[:100] if not text.isprintable() or len(text) > 100 else text
