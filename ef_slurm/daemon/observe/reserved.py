"""Slurm reservations as capacity of those who may use them.

To everybody else the nodes of a reservation are an outage while it lasts. To the jobs that ask for
it (`--reservation`) they are all there is, and only while it lasts: GPUs of a type of their own in
the plan. Whether a user may ask for it is Slurm's business, at the submission.

>>> plain_type(type_in("a100", "course")), plain_type("a100")
('a100', 'a100')
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from ef_slurm.model import Outage
from ef_slurm.slurm.site_types import SlurmReservation

SINCE_EVER = 0.0
_INSIDE = " in reservation "
"""No type of Slurm's has spaces."""


def type_in(gpu_type: str, reservation: str) -> str:
    """What the plan calls GPUs of a type inside a reservation."""
    return f"{gpu_type}{_INSIDE}{reservation}"


def plain_type(gpu_type: str) -> str:
    """The type of these GPUs, wherever they are."""
    return gpu_type.partition(_INSIDE)[0]


def is_inside(gpu_type: str) -> bool:
    """Whether the plan means GPUs of a reservation."""
    return _INSIDE in gpu_type


def wanted_of(
    reservations: Iterable[SlurmReservation], names: Collection[str], own: str
) -> Iterator[SlurmReservation]:
    """Those that jobs ask for; `own` is the one in which all of ef-slurm is."""
    for one in reservations:
        if one.name in names and one.name != own and one.start < one.end:
            yield one


def outages_outside(
    reservations: Iterable[SlurmReservation], inside: Collection[str]
) -> dict[str, list[Outage]]:
    """By node, the outages that reservations are to those who are in none but `inside`."""
    outages: dict[str, list[Outage]] = defaultdict(list)
    for one in sorted(reservations, key=lambda one: (one.start, one.name)):
        if one.name in inside or not one.start < one.end:
            continue
        for node in one.nodes:
            outages[node].append(Outage(one.start, one.end))
    return outages


def outages_around(reservation: SlurmReservation) -> list[Outage]:
    """When the nodes of a reservation are not there for those who ask for it."""
    before = [Outage(SINCE_EVER, reservation.start)] if reservation.start > SINCE_EVER else []
    after = [Outage(reservation.end)] if math.isfinite(reservation.end) else []
    return [*before, *after]
