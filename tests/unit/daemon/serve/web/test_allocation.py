"""Where past shares are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ef_slurm.charts.chart import Clock
from ef_slurm.charts.gantt import Bar
from ef_slurm.daemon.serve.web import allocation
from ef_slurm.daemon.serve.web.allocation import Rows
from ef_slurm.model import Cluster, Node, NodeGroup
from ef_slurm.queue.past import HeldShare

ROWS = Rows(Cluster((NodeGroup("gpu", 4, (Node("n1"),)),)))
AXIS = Clock(0.0, 2000.0)


def drawn(shares: Sequence[HeldShare], fixed: Sequence[Bar] = ()) -> list[Bar]:
    numbers = {share.job_id: share.job_id for share in shares}
    return allocation._past(shares, numbers, ROWS, fixed, AXIS, 1000.0)


def share(job_id: int, start: float, end: float | None, gpus: int = 1) -> HeldShare:
    return HeldShare(job_id, start, end, gpus, ("n1",), gpus)


def test_the_first_free_rows_are_taken() -> None:
    shares = [share(1, 0.0, 10.0), share(2, 5.0, 20.0), share(3, 10.0, 12.0), share(4, 5.0, None)]
    rows = {bar.item: bar.row for bar in drawn(shares, [Bar(9, 500.0, 1000.0, 2, 1)])}
    assert rows == {1: 0, 2: 1, 3: 0, 4: 3}


def test_what_has_ended_is_not_looked_at_for_every_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many shares there were, a page is made in no more time than they take to be read."""
    seen: list[int] = []
    plain = allocation._free

    def counting(*arguments: Any) -> int:
        busy: Mapping[int, Sequence[tuple[float, float]]] = arguments[-1]
        seen.append(sum(map(len, busy.values())))
        return plain(*arguments)

    monkeypatch.setattr(allocation, "_free", counting)
    bars = drawn([share(number, float(number), number + 2.0) for number in range(500)])
    assert {bar.row for bar in bars} == {0, 1}
    assert max(seen) <= 2
