"""What a launch says that it has measured of itself, and what of it is believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.contract import Action, ContractError, Order, Point, points_text, read_points
from ef_slurm.contract.decode import decode
from ef_slurm.contract.files import dump
from ef_slurm.contract.records import Progress
from ef_slurm.daemon.observe.calibration import Calibration, Learned
from ef_slurm.daemon.observe.estimates import Estimates
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.rounds import believed
from ef_slurm.model import QueueJob, Running
from ef_slurm.queue.store import Queue
from tests.fakes.new_queue import open_queue
from tests.unit.daemon.make import NOW, SCRIPT, TWO_NODES, progress, row, running

TRUE = (Point(8, 30, 1.5), Point(4, 16, 1.6), Point(1, 4, 1.9))
ORDER = Order(1, Action.RESIZE, NOW - 10.0, change=3, nodes="n1,n2", gpus=8, sizes="8,4,1")


def measured(points: str, order: Order = ORDER, **more: Any) -> JobStatus:
    values: dict[str, Any] = {"live": True, "change": 3, "change_iteration": 450, **more}
    return running(TWO_NODES, progress=progress(points=points, **values), order=order)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with open_queue(tmp_path / "queue.sqlite") as queue:
        queue.jobs.add(row().request, SCRIPT, actor="user1")
        yield queue


@pytest.fixture
def job() -> QueueJob:
    return row(running=Running(TWO_NODES, NOW - 40.0, NOW - 30.0))


def test_text_and_back() -> None:
    assert read_points(points_text(TRUE)) == TRUE
    assert points_text((Point(2, 10, 10.0),)) == "2:10/10"


@pytest.mark.parametrize(
    "text",
    [
        *("4", "4:1", "4:1/", "4:1/0", "4:0/1", "0:1/1", "-4:1/1", "4:1/1,", ",4:1/1"),
        *("4:1/1,4:2/1", "4:1/1e9", "4:1/inf", "4:1/nan", "\uff14:1/1"),
        *("4:1/1 2:1/1", "4: 1/1", "99999999:1/1"),
        ",".join(f"{size}:1/1" for size in range(1, 40)),
    ],
)
def test_what_is_no_such_text_refuses_the_report(text: str) -> None:
    data = dump(progress(points=text)).encode()
    with pytest.raises(ContractError, match=r"p: points: .* is not GPUs:iterations/seconds"):
        decode(Progress, data, "p")


@pytest.mark.parametrize("text", ["4,", "a", "4,4", "0", "4;2", "1" * 9, " 4"])
def test_what_are_no_sizes_refuses_the_order(text: str) -> None:
    data = dump(replace(ORDER, sizes=text)).encode()
    with pytest.raises(ContractError, match="o: sizes: .* is not GPUs separated by commas"):
        decode(Order, data, "o")


def test_a_round_that_is_over_is_believed() -> None:
    assert believed(measured(points_text(TRUE)), NOW) == TRUE
    # The way back may have been refused: what was measured was measured.
    refused = measured(points_text(TRUE), change=2, refused_change=3)
    assert believed(refused, NOW) == TRUE


@pytest.mark.parametrize(
    "status",
    [
        measured(points_text(TRUE), change=2),  # it goes on still
        measured(points_text(TRUE), change=4),  # of another change
        measured(points_text(TRUE), replace(ORDER, sizes="")),  # nobody asked
        measured(points_text(TRUE), replace(ORDER, generation=2)),
        measured(points_text(TRUE), replace(ORDER, action=Action.STOP)),
        measured("8:30/1.5,16:30/1.5"),  # a size that nobody asked for
        measured("8:501/1.5"),  # more iterations than it has done
        measured("8:30/6,4:16/6"),  # for longer than it was under way
        measured("8:400/0.000001"),
        measured("8:1000000000000/1", iteration=10**15),
        measured(""),
    ],
)
def test_what_cannot_be_is_not(status: JobStatus) -> None:
    assert believed(status, NOW) == ()


def test_it_counts_until_that_size_was_watched_for_longer(queue: Queue, job: QueueJob) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    status = measured("4:16/1.6,1:4/1.6")
    assert calibration.observe(job, status, NOW) == Learned(replan=True)
    assert calibration.observe(job, status, NOW) == Learned()
    assert estimates.rates.of(job.id, "gpu") == {4: 10.0, 1: 2.5}
    assert estimates.rates.usual(job.id, "gpu") == {}
    assert estimates.rates.learn(job.id, "gpu", 4, 8.0)
    assert estimates.rates.usual(job.id, "gpu") == {4: 8.0}
    again = Estimates()
    Calibration(again, queue).recall()
    assert again.rates.of(job.id, "gpu") == {4: 10.0, 1: 2.5}
    assert again.rates.usual(job.id, "gpu") == {}
    assert not estimates.rates.learn(job.id, "gpu", 4, 20.0, brief=True)


def test_while_sizes_are_tried_nothing_is_learned_of_the_one_that_it_is_to_have(
    queue: Queue, job: QueueJob
) -> None:
    estimates = Estimates()
    calibration = Calibration(estimates, queue)
    for second in range(60):
        status = measured(
            "", change=0, world_size=1, iteration=500 + second, updated_at=NOW + second
        )
        assert calibration.observe(job, status, NOW + second) == Learned()
    assert estimates.rates.of(job.id, "gpu") == {}
