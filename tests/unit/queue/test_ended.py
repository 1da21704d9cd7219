"""The record of ended jobs: in order, in pieces, and only what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ef_slurm.model import (
    EndedJob,
    Fault,
    HistoryMark,
    JobState,
    Outcome,
    PromiseOutcome,
    QueueJob,
    Reason,
    ReasonCode,
    Settlement,
    Verdict,
    planner_id,
)
from ef_slurm.queue import history, queries
from ef_slurm.queue.store import Queue

Add = Callable[..., QueueJob]
NOW = 50_000.0


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PAGE_ROWS", 3)


def read(queue: Queue, **wanted: Any) -> Iterator[EndedJob]:
    """All pages."""
    after: HistoryMark | None = None
    wanted = {"since": 0.0, "until": None, **wanted}
    while True:
        page = queries.history(queue, NOW, after=after, **wanted)
        assert len(page.jobs) <= 3
        yield from page.jobs
        if page.next is None:
            return
        assert after is None or (page.next.ended, page.next.row) > (after.ended, after.row)
        after = page.next


def ids(jobs: Iterator[EndedJob]) -> list[int]:
    return [job.job_id for job in jobs]


def end(queue: Queue, job: QueueJob, at: float, state: JobState = JobState.CANCELLED) -> None:
    queue.jobs.move(job.id, state, at=at, actor="test", why="test")


@pytest.fixture
def filled(queue: Queue, add: Add) -> Queue:
    """Ten jobs that ended in other orders than they came, some at the same moment; one goes on."""
    for number in range(10):
        job = add(
            number + 1,
            owner=f"user{number % 2}",
            uid=3000 + number % 2,
            account=f"acct{number % 3}",
        )
        end(queue, job, 20_000.0 - 1000.0 * (number // 4))
    add(99)
    return queue


def test_jobs_come_in_the_order_in_which_they_ended(filled: Queue) -> None:
    assert ids(read(filled)) == [9, 10, 5, 6, 7, 8, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"since": 19_000.0}, [5, 6, 7, 8, 1, 2, 3, 4]),
        ({"until": 20_000.0}, [9, 10, 5, 6, 7, 8]),
        ({"since": 19_000.0, "until": 19_000.5}, [5, 6, 7, 8]),
        ({"since": 30_000.0}, []),
        ({"users": ("user1",)}, [10, 6, 8, 2, 4]),
        ({"accounts": ("acct0", "acct2")}, [9, 10, 6, 7, 1, 3, 4]),
        ({"users": ("user1",), "accounts": ("acct0",)}, [10, 4]),
        ({"visible": lambda uid, _: uid == 3001}, [10, 6, 8, 2, 4]),
        ({"visible": lambda uid, account: uid == 3001 and account == "acct0"}, [10, 4]),
        ({"users": ("nobody",)}, []),
    ],
)
def test_of_them_those_that_were_asked_for(
    filled: Queue, wanted: dict[str, Any], expected: list[int]
) -> None:
    assert ids(read(filled, **wanted)) == expected


def test_a_page_looks_at_so_many_jobs_whoever_asks(filled: Queue) -> None:
    """There may be nothing in it, and it says how to go on all the same."""
    page = queries.history(filled, NOW, since=0.0, until=None, visible=lambda *_: False)
    assert page.jobs == ()
    assert page.next is not None
    for sql, index in ((history._EVERYBODYS, "by_ended_at"), (history._ONE_USERS, "by_uid")):
        plan = filled._database.query(
            f"EXPLAIN QUERY PLAN {sql}",
            {"uid": 0, "since": 0, "until": 9e9, "ended": 0, "row": 0, "limit": 3},
        )
        told = [row["detail"] for row in plan]
        assert not [line for line in told if line.startswith("SCAN jobs")]
        assert [line for line in told if f"jobs_{index}" in line]


def test_one_users_record_says_nothing_of_others(filled: Queue) -> None:
    page = queries.history(filled, NOW, since=0.0, until=None, uid=3001)
    assert [job.job_id for job in page.jobs] == [10, 6, 8]
    assert page.next == HistoryMark(page.jobs[-1].ended, page.next.row if page.next else 0)
    assert ids(read(filled, uid=3001)) == [10, 6, 8, 2, 4]
    assert ids(read(filled, uid=3009)) == []


def test_what_is_told_of_a_job(queue: Queue, add: Add) -> None:
    job = add(7, name="bert", iterations=100)
    promised = Verdict(
        planner_id(job.id), Outcome.PROMISED, Reason(ReasonCode.STARTED), share=1, finish=5000.0
    )
    queue.promises.record(promised, at=1100.0, explanation="promised")
    queue.promises.settle(
        job.id, Settlement(PromiseOutcome.BROKEN, Fault.CLUSTER, "a node died"), at=2000.0
    )
    for state in (JobState.ADMITTED, JobState.STARTING, JobState.RUNNING):
        queue.jobs.move(job.id, state, at=1200.0, actor="test", why="test")
    row = queue.jobs.get(job.id)
    queue.jobs.save(
        replace(row, first_started_at=1200.0, exit_code=3, iteration=40.0, note="died of it")
    )
    end(queue, job, 2000.0, JobState.FAILED)
    (told,) = read(queue)
    assert (told.job_id, told.name, told.state) == (7, "bert", JobState.FAILED)
    assert (told.started, told.ended, told.deadline) == (1200.0, 2000.0, 9000.0)
    assert (told.promise, told.fault) == (PromiseOutcome.BROKEN, Fault.CLUSTER)
    assert (told.iterations, told.iteration) == (100, 40.0)
    assert (told.exit_code, told.note) == (3, "died of it")


def test_a_row_that_nobody_can_have_meant_spoils_no_other(filled: Queue) -> None:
    filled._database.execute("PRAGMA ignore_check_constraints = on")
    filled._database.execute("UPDATE jobs SET kind = 'none' WHERE slurm_job_id = 6")
    assert ids(read(filled)) == [9, 10, 5, 7, 8, 1, 2, 3, 4]
