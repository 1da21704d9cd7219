"""A growth by several doublings that its deadline leaves no time for is done by a requeue."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ef_slurm.daemon.act.growth import is_too_slow
from ef_slurm.model import JobKind, Overhead
from tests.unit.daemon.make import NOW, row

COSTS = Overhead(start=8.0, grow=10.0, restart=12.0)
"""Two doublings take 20 s, a requeue 12 s."""


@pytest.mark.parametrize(
    ("spare", "gpus", "late"),
    [(7.0, 8, True), (9.0, 8, False), (7.0, 4, False), (-1.0, 8, False), (15.0, 16, True)],
)
def test_only_where_a_requeue_is_in_time_and_doublings_are_not(
    spare: float, gpus: int, late: bool
) -> None:
    """Who is late in any case trains on meanwhile."""
    job = row(finish=NOW + 5000.0 - spare)
    assert is_too_slow(job, COSTS, 2, gpus) is late


def test_what_takes_no_longer_than_a_requeue_is_never_too_slow() -> None:
    job = row(finish=NOW + 5000.0)
    assert not is_too_slow(job, replace(COSTS, restart=20.0), 2, 8)


@pytest.mark.parametrize("finish", [None, NOW + 4999.0])
def test_who_has_no_deadline_to_miss_has_the_time(finish: float | None) -> None:
    job = row(finish=finish)
    free = replace(job, request=replace(job.request, kind=JobKind.BEST_EFFORT, deadline=None))
    assert not is_too_slow(free, COSTS, 2, 8)
    assert is_too_slow(job, COSTS, 2, 8) is (finish is not None)


def test_a_soft_deadline_has_its_grace() -> None:
    job = row(finish=NOW + 5000.0)
    soft = replace(job.request, kind=JobKind.SOFT_DEADLINE, grace=math.ceil(20.0))
    assert not is_too_slow(replace(job, request=soft), COSTS, 2, 8)
