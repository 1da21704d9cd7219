"""Hosts of one protocol version understand one another, whatever their releases."""

import enum
import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ef_slurm.api.messages import FailureCode
from ef_slurm.api.problems import Problem
from ef_slurm.api.routes import ROUTES, VERSION

AGREED = Path(__file__).with_name("agreed.json")
"""What each side counts on: required fields by record, values by enum, and the version."""


def kinds_in(hint: Any, seen: set[Any]) -> Iterator[Any]:
    """The records and enums that a hint speaks of."""
    if get_args(hint):
        for part in get_args(hint):
            yield from kinds_in(part, seen)
    elif isinstance(hint, type) and hint not in seen:
        seen.add(hint)
        if issubclass(hint, enum.Enum):
            yield hint
        elif is_dataclass(hint) or hasattr(hint, "_fields"):
            yield hint
            for inner in get_type_hints(hint).values():
                yield from kinds_in(inner, seen)


def counted_on(kind: Any) -> list[str]:
    if issubclass(kind, enum.Enum):
        return sorted(member.value for member in kind)
    if is_dataclass(kind):
        return sorted(
            field.name
            for field in fields(kind)
            if field.default is MISSING and field.default_factory is MISSING
        )
    return list(kind._fields)  # a row: as many in the same order


def test_what_is_added_has_a_default_or_the_version_rises() -> None:
    """After a change on purpose: raise VERSION, then write what this test found to the file."""
    seen: set[Any] = set()
    messages = [kind for route in ROUTES for kind in (route.request, route.response)]
    messages += [Problem, FailureCode]
    kinds = [kind for message in messages for kind in kinds_in(message, seen)]
    found = {kind.__name__: counted_on(kind) for kind in kinds}
    assert len(found) == len(kinds)
    assert {"JobView", "PromiseOutcome", "Register", "Reservation"} <= found.keys()
    agreed = json.loads(AGREED.read_text(encoding="utf-8"))
    assert {"version": VERSION, "counted_on": found} == agreed
