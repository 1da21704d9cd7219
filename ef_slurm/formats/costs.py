"""What changes of share cost, as options spell it: `start=30,grow=2,shrink=1.5,move=30`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict

from ef_slurm.formats.durations import DurationError, parse_seconds
from ef_slurm.model import LONGEST_OVERHEAD, OVERHEAD_FIELDS, OVERHEAD_KINDS, Overhead

COSTS = f"KIND=SECONDS,… of {', '.join(OVERHEAD_FIELDS)}"
"""What is valid, in words."""


class CostsError(ValueError):
    """Not costs. The message says what would be."""


def parse_costs(text: str) -> Mapping[str, float]:
    """Seconds by field of `Overhead`: those that the text states.

    What earlier versions called a reshape states what it meant then, where that is not named.

    Raises:
        CostsError: no such list, a kind that there is not or that is there twice, or no seconds.

    >>> parse_costs("start=30,grow=2")
    {'start': 30.0, 'grow': 2.0}
    >>> parse_costs("reshape=1min,move=20")
    {'move': 20.0, 'grow': 60.0, 'restart': 60.0}
    """
    former = Overhead.FORMER_FIELDS
    given: dict[str, float] = {}
    for part in text.split(","):
        name, equals, seconds = (piece.strip() for piece in part.partition("="))
        if not equals or name not in (*OVERHEAD_FIELDS, *former):
            raise CostsError(f"{part.strip()!r} is no cost: give {COSTS}")
        if name in given:
            raise CostsError(f"{name} is there twice: give it once")
        try:
            given[name] = parse_seconds(seconds, most=LONGEST_OVERHEAD)
        except DurationError as error:
            raise CostsError(f"{name}: {error}") from None
    named = {name: cost for name, cost in given.items() if name in OVERHEAD_FIELDS}
    meant = {name: given[old] for old, names in former.items() if old in given for name in names}
    return named | {name: cost for name, cost in meant.items() if name not in named}


def parse_cost_or_costs(text: str) -> Mapping[str, float]:
    """The same, or seconds that every change costs.

    Raises:
        CostsError: neither.

    >>> parse_cost_or_costs("12.5")["move"], parse_cost_or_costs("move=3")
    (12.5, {'move': 3.0})
    """
    if "=" in text:
        return parse_costs(text)
    try:
        return asdict(Overhead.constant(parse_seconds(text, most=LONGEST_OVERHEAD)))
    except DurationError as error:
        raise CostsError(f"{error}, or {COSTS}") from None


def in_full(costs: Mapping[str, float]) -> Overhead:
    """The overhead of costs that stand alone: a kind that they do not name is as dear as any.

    So no plan rests on a cost that nobody stated.

    Raises:
        CostsError: they state no kind at all.

    >>> in_full({"start": 30.0, "grow": 2.0})
    Overhead(start=30.0, grow=2.0, shrink=30.0, move=30.0, restart=30.0, per_doubling=0.0)
    """
    dearest = max((costs[kind] for kind in OVERHEAD_KINDS if kind in costs), default=math.nan)
    if math.isnan(dearest):
        raise CostsError(f"no kind of change has a cost: give {COSTS}")
    return Overhead(**{**dict.fromkeys(OVERHEAD_KINDS, dearest), **costs})
