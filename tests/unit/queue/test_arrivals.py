"""Who has arrived is remembered across restarts, as many as the planner asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ef_slurm.model import Arrival
from ef_slurm.queue.store import Queue

FIRST = Arrival("1", 1000.0, 3600.0, 7200.5)
SECOND = Arrival("2", 1000.0, 60.0, 1.0, 4.0)


def test_what_is_remembered_survives(queue: Queue, path: Path) -> None:
    queue.arrivals.replace((), (FIRST, SECOND))
    queue.close()
    with Queue.open(path) as again:
        assert again.arrivals.all() == (FIRST, SECOND)


def test_what_is_forgotten_goes_and_what_asks_anew_is_replaced(queue: Queue) -> None:
    queue.arrivals.replace((), (FIRST, SECOND))
    later = Arrival("2", 1000.0, 900.0, 1.0, 4.0)
    queue.arrivals.replace((FIRST, SECOND), (later,))
    assert queue.arrivals.all() == (later,)


def test_nothing_is_written_where_nothing_has_changed(queue: Queue, path: Path) -> None:
    queue.arrivals.replace((), (FIRST,))
    with Queue.open(path) as other:
        before = other.data_version()
        queue.arrivals.replace((FIRST,), (FIRST,))
        assert other.data_version() == before


def test_all_or_nothing(queue: Queue) -> None:
    queue.arrivals.replace((), (FIRST,))

    def fail_half_way() -> None:
        with queue.transaction():
            queue.arrivals.replace((FIRST,), (SECOND,))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert queue.arrivals.all() == (FIRST,)
