"""Reservations as Slurm prints them."""

import time
from collections.abc import Mapping
from typing import Protocol

import pytest

from ef_slurm.slurm.interface import Slurm

pytestmark = pytest.mark.cluster


class Guest(Protocol):
    """A user's session (conftest.py)."""

    def run(
        self, command: tuple[str, ...], variables: Mapping[str, str], text: str
    ) -> tuple[int, str, str]: ...


class Site(Protocol):
    """The mini-Slurm (conftest.py)."""

    def of(self, user: str) -> Slurm: ...


def test_a_reservation_is_observed(guests: Mapping[str, Guest], command_site: Site) -> None:
    operator = guests["ef-slurm"]
    code, _, said = operator.run(
        ("scontrol", "create", "reservation", "ReservationName=contract", "Users=user1,user2",
         "Nodes=n[2-3]", "StartTime=now+1hour", "Duration=30", "Flags=MAINT"),
        {},
        "",
    )  # fmt: skip
    assert code == 0, said
    try:
        (seen,) = command_site.of("user1").observe().reservations
    finally:
        operator.run(("scontrol", "delete", "ReservationName=contract"), {}, "")
    assert (seen.name, seen.nodes, seen.users) == ("contract", ("n2", "n3"), ("user1", "user2"))
    assert "MAINT" in seen.flags
    assert seen.end - seen.start == 1800.0
    assert abs(seen.start - time.time() - 3600.0) < 300.0
    assert command_site.of("user1").observe().reservations == ()
