"""What one user and one account may have in the queue, whoever asks at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.model import (
    Block,
    CompanionState,
    Event,
    EventKind,
    IntentAction,
    IntentState,
    JobState,
    QueueJob,
    QueueLimits,
)
from ef_slurm.queue.errors import LimitError, NoSuchRowError
from ef_slurm.queue.events import LONGEST_MESSAGE, MOST_EVENTS
from ef_slurm.queue.job_rows import LONGEST_NOTE
from ef_slurm.queue.store import Queue
from tests.unit.queue.conftest import REQUEST, SCRIPT

Add = Callable[..., QueueJob]


def add(queue: Queue, number: int, limits: QueueLimits, **changes: object) -> QueueJob:
    own = {"state_dir": f"/shared/jobs/{number}", **changes}
    request = replace(REQUEST, slurm_job_id=number, **own)  # type: ignore[arg-type]
    return queue.jobs.add(request, SCRIPT, actor="user1", limits=limits)


def test_of_many_at_once_as_many_are_taken_as_may_be(path: Path, queue: Queue) -> None:
    limits = QueueLimits(jobs_per_user=5)
    refused: list[str] = []
    barrier = threading.Barrier(20)

    def register(number: int) -> None:
        with Queue.open(path, timeout=30.0) as own:
            barrier.wait()
            try:
                add(own, number, limits)
            except LimitError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=register, args=(number,)) for number in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(queue.jobs.all()) == 5
    expected = "you have 5 jobs in the queue, and the limit is 5: try later"
    assert refused == [expected] * 15


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (QueueLimits(jobs=2), "the queue has 2 jobs, and the limit is 2"),
        (QueueLimits(jobs_per_account=2), "account acct1 has 2 jobs in the queue"),
        (QueueLimits(submissions_per_hour=2), "you have submitted 2 jobs within an hour"),
    ],
)
def test_each_limit_is_told_with_its_number(queue: Queue, limits: QueueLimits, words: str) -> None:
    add(queue, 1, limits)
    add(queue, 2, limits, uid=REQUEST.uid if limits.submissions_per_hour == 2 else 4002)
    with pytest.raises(LimitError, match=words):
        add(queue, 3, limits)
    assert len(queue.jobs.all()) == 2


def test_other_users_and_accounts_are_not_touched(queue: Queue) -> None:
    limits = QueueLimits(jobs_per_user=1, jobs_per_account=1)
    add(queue, 1, limits)
    add(queue, 2, limits, uid=4002, owner="user2", account="acct2")
    with pytest.raises(LimitError, match="account acct2"):
        add(queue, 3, limits, uid=4003, owner="user3", account="acct2")


def test_withdrawing_makes_room_in_the_queue_and_not_in_the_hour(queue: Queue) -> None:
    limits = QueueLimits(jobs_per_user=1, submissions_per_hour=3)
    for number in range(1, 4):
        job = add(queue, number, limits, submitted=1000.0 + number)
        queue.jobs.move(job.id, JobState.CANCELLED, at=1000.0, actor="user1", why="withdrawn")
    with pytest.raises(LimitError, match="within an hour"):
        add(queue, 4, limits, submitted=1010.0)
    add(queue, 4, limits, submitted=1000.0 + 3700.0)


def test_zero_means_no_limit(queue: Queue) -> None:
    none = QueueLimits(jobs=0, jobs_per_user=0, jobs_per_account=0, submissions_per_hour=0)
    for number in range(1, 30):
        add(queue, number, none)


@pytest.mark.parametrize("end", [JobState.REJECTED, JobState.CANCELLED])
def test_a_job_that_never_ran_leaves_its_script_behind_at_once(queue: Queue, end: JobState) -> None:
    job = add(queue, 1, QueueLimits())
    queue.jobs.move(job.id, end, at=1.0, actor="user1", why="over")
    with pytest.raises(NoSuchRowError):
        queue.jobs.script(job.id)


def test_jobs_that_never_ran_are_forgotten_sooner(queue: Queue) -> None:
    never = add(queue, 1, QueueLimits())
    ran = add(queue, 2, QueueLimits())
    queue.jobs.save(replace(ran, first_started_at=1500.0))
    for job in (never, ran):
        queue.jobs.move(job.id, JobState.CANCELLED, at=2000.0, actor="user1", why="over")
    assert queue.retention.prune(1000.0, limit=100, never_run_before=2500.0) > 0
    assert queue.jobs.get(ran.id)
    assert queue.events.all(job_id=ran.id)
    assert queue.events.all(job_id=never.id) == ()
    with pytest.raises(NoSuchRowError):
        queue.jobs.get(never.id)
    assert queue.retention.prune(1000.0, limit=100, never_run_before=2500.0) == 0


def test_a_job_has_so_many_events_and_no_more(queue: Queue) -> None:
    job = add(queue, 1, QueueLimits())
    with queue.transaction():
        for number in range(MOST_EVENTS + 50):
            queue.events.log(Event(number, EventKind.USER, "user1", "held again", job.id))
    present = queue.events.all(job_id=job.id)
    assert len(present) == MOST_EVENTS + 1
    assert present[-1].message.startswith("too much has happened to this job")
    queue.events.log(Event(1.0, EventKind.PROMISE, "ef-schedd", "promise kept", job.id))
    assert queue.events.all(job_id=job.id)[-1].message == "promise kept"


def test_of_a_job_so_many_intents_are_kept(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ef_slurm.queue.intents.MOST_INTENTS", 50)
    job, other = add(queue, 1, QueueLimits()), add(queue, 2, QueueLimits())
    kept = queue.intents.open(other.id, 1, IntentAction.HOLD, {}, at=0.0, why="hold")
    opened = []
    with queue.transaction():
        for number in range(100):
            intent = queue.intents.open(job.id, 1, IntentAction.HOLD, {}, at=number, why="hold")
            queue.intents.advance(intent.id, IntentState.ABANDONED, at=number)
            opened.append(intent.id)
    with pytest.raises(NoSuchRowError):
        queue.intents.get(opened[49])
    assert queue.intents.get(opened[50]).opened_at == 50.0
    last = queue.intents.last_of(job.id)
    assert last is not None
    assert last.id == opened[-1]
    assert queue.intents.unfinished() == (kept,)


def test_of_a_job_so_many_ended_companions_are_kept(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ef_slurm.queue.companions.MOST_ENDED", 50)
    job, block = add(queue, 1, QueueLimits()), Block("a100", ("n2",), 4)
    with queue.transaction():
        for number in range(100):
            one = queue.companions.want(job.id, 1, number + 1, block, at=number)
            if number:
                queue.companions.move(one, CompanionState.ENDED, at=number)
                continue
            for state in (CompanionState.SUBMITTED, CompanionState.RELEASED):
                one = queue.companions.move(one, state, at=number, slurm_job_id=7)
            for state in (CompanionState.RUNNING, CompanionState.JOINED):
                one = queue.companions.move(one, state, at=number)
    joined, *ended = queue.companions.of(job.id)
    assert (joined.change, joined.state) == (1, CompanionState.JOINED)
    assert [one.change for one in ended] == list(range(50, 101))


def test_texts_are_stored_up_to_a_length(queue: Queue) -> None:
    job = add(queue, 1, QueueLimits())
    queue.events.log(Event(1.0, EventKind.ERROR, "ef-schedd", "x" * 10**6, job.id))
    assert len(queue.events.all(job_id=job.id)[-1].message) < LONGEST_MESSAGE + 50
    queue.jobs.save(replace(queue.jobs.get(job.id), note="x" * 10**6))
    with Queue.open(queue.path) as other:
        assert len(other.jobs.get(job.id).note) < LONGEST_NOTE + 50


def test_another_account_is_charged(queue: Queue) -> None:
    job = add(queue, 1, QueueLimits())
    moved = queue.jobs.complete(job.id, replace(job.request, account="acct2"))
    assert moved.request.account == "acct2"
    one = QueueLimits(jobs_per_account=1)
    add(queue, 2, one)
    with pytest.raises(LimitError, match="account acct1 has 1 jobs"):
        add(queue, 3, one)
