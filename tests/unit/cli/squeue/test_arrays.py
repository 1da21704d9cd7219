"""Arrays in ef-squeue: a line for those in one state, and its names as ids."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.job_names import means, parse_job_names
from ef_slurm.cli.squeue.arrays import collapsed
from ef_slurm.model import ArrayMember, JobState, JobView, PromiseState

Make = Callable[..., JobView]


def member(job: Make, task: int, **fields: object) -> JobView:
    array = ArrayMember(100, task, 6, 0, 5, most=2)
    return job(job_id=100 + task, array=array, **fields)


def waits(job: Make, task: int) -> JobView:
    return member(job, task, state=JobState.ADMITTED, share=0, nodes=())


def names(jobs: tuple[JobView, ...]) -> list[str]:
    return [str(one.job_id) if one.array is None else one.array.name for one in jobs]


def test_one_line_for_those_in_one_state(job: Make) -> None:
    running = [
        member(job, task, share=4, nodes=(f"n{task}",), finish=9.0 + task) for task in (0, 1)
    ]
    jobs = [*running, *(waits(job, task) for task in (2, 3, 5)), job(job_id=7)]
    lines = collapsed(jobs)
    assert names(lines) == ["100_[0-1]", "100_[2-3,5%2]", "7"]
    assert (lines[0].share, lines[0].nodes, lines[0].finish) == (8, ("n0", "n1"), 10.0)
    assert lines[0].iterations == 2 * (running[0].iterations or 0)
    assert lines[1].share == 0


def test_a_single_one_is_itself(job: Make) -> None:
    assert collapsed([member(job, 3)]) == (member(job, 3),)
    assert names(collapsed([member(job, 3)])) == ["100_3"]


def test_one_at_risk_has_its_own_line(job: Make) -> None:
    late = member(job, 1, promise=PromiseState.AT_RISK)
    assert names(collapsed([member(job, 0), late, member(job, 2)])) == ["100_[0,2]", "100_1"]


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        ("100", [0, 1, 2]),
        ("100_1", [1]),
        ("100_[0,2-9]", [0, 2]),
        ("102", [2]),
        ("101,100_0", [0, 1]),
    ],
)
def test_ids(job: Make, text: str, tasks: list[int]) -> None:
    meant = parse_job_names((text,))
    found = [task for task in range(3) if any(means(n, member(job, task)) for n in meant)]
    assert found == tasks


def test_a_wrong_id() -> None:
    with pytest.raises(UsageError, match="'100_' is no job id"):
        parse_job_names(("12,100_",))
