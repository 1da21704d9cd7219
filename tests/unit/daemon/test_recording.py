"""What is asked for and promised lies beside the queue before anybody hears of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from ef_slurm.daemon.observe.record_files import FoundRecords
from ef_slurm.daemon.plan.changes import NotPossibleError
from ef_slurm.model import (
    ChangeOutcome,
    HeldBy,
    JobAction,
    JobChange,
    JobRecord,
    JobState,
    PromiseOutcome,
    QueueJob,
    lasting,
)
from ef_slurm.queue.store import Queue
from tests.unit.daemon.world import World, replace


class Shelf:
    """Records in memory, which may be full."""

    path = Path("/shared/orders/records")

    def __init__(self) -> None:
        self.records: dict[int, JobRecord] = {}
        self.full = False
        self.writes: list[int] = []
        self.queue: Path | None = None
        self.promised_before: list[bool] = []

    def write(self, records: Sequence[JobRecord]) -> Mapping[int, str]:
        if self.full:
            return {one.job.id: "No space left on device" for one in records}
        for one in records:
            self.writes.append(one.job.id)
            if self.queue is not None and one.promise is not None:
                with Queue.open(self.queue, read_only=True) as queue:
                    known = queue.promises.of(one.job.id)
                    self.promised_before.append(
                        known is not None and known.given_at == one.promise.given_at
                    )
            self.records[one.job.id] = one
        return {}

    def forget(self, job_ids: Iterable[int]) -> None:
        for job_id in job_ids:
            self.records.pop(job_id, None)

    def read(self, *, ended: bool = True) -> FoundRecords:
        del ended
        return FoundRecords(dict(self.records), {})


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def world(tmp_path: Path, shelf: Shelf) -> World:
    return World(tmp_path / "queue.sqlite", records=shelf, idle_report_interval=1.0)


def agree(world: World, shelf: Shelf, job: QueueJob) -> JobRecord:
    record, row = shelf.records[job.id], world.row(job)
    assert lasting(record.job) == lasting(row)
    promise = world.queue.promises.of(job.id)
    if promise is None:
        assert record.promise is None
    else:
        assert record.promise is not None
        assert replace(record.promise, id=0) == replace(promise, id=0)
    return record


def test_a_promise_is_recorded_before_anybody_can_hear_of_it(world: World, shelf: Shelf) -> None:
    shelf.queue = world.path
    job = world.submit(20_000, deadline=4000.0)
    world.run(2.0)
    assert shelf.promised_before[0] is False
    record = agree(world, shelf, job)
    assert record.verdict is not None
    assert record.script is not None
    assert record.script.text == "#!/bin/bash\n"


def test_a_record_follows_its_job_to_the_end_and_is_not_written_for_nothing(
    world: World, shelf: Shelf
) -> None:
    job = world.submit(20_000, deadline=4000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.run(20.0)
    agree(world, shelf, job)
    before = len(shelf.writes)
    world.run(60.0)
    assert world.row(job).iteration > 0
    assert len(shelf.writes) == before
    world.run_until(world.finished)
    record = agree(world, shelf, job)
    assert record.job.state is JobState.COMPLETED
    assert record.promise is not None
    assert record.promise.outcome is PromiseOutcome.KEPT
    assert record.script is None
    world.run(100.0)
    assert len(shelf.writes) <= before + 2


def test_without_room_for_its_record_no_promise_is_given(world: World, shelf: Shelf) -> None:
    calm = world.submit(1_000, deadline=None)
    shelf.full = True
    job = world.submit(20_000, deadline=4000.0)
    world.run(30.0)
    assert world.queue.promises.of(job.id) is None
    assert world.queue.promises.verdict(job.id) is None
    assert world.state(job) is JobState.NEW
    assert "not recorded: No space left" in world.row(job).note
    assert world.state(calm) is JobState.RUNNING  # and nobody else waits for it
    shelf.full = False
    world.run(30.0)
    assert world.queue.promises.of(job.id) is not None
    agree(world, shelf, job)
    agree(world, shelf, calm)
    told = [event.message for event in world.queue.events.all(job_id=None)]
    assert sum("cannot be kept beside the queue" in one for one in told) == 1
    assert sum("are kept beside the queue again" in one for one in told) == 1


def test_what_an_owner_changes_is_recorded_before_they_are_answered(
    world: World, shelf: Shelf
) -> None:
    job = world.submit(20_000, deadline=4000.0)
    world.run(2.0)
    looser = JobChange(deadline=world.clock.now + 9000.0)
    assert world.scheduler.change(job.id, looser, "user1").outcome is ChangeOutcome.DONE
    assert agree(world, shelf, job).job.request.deadline == looser.deadline
    world.scheduler.act(job.id, JobAction.HOLD, "root", by_owner=False)
    held = agree(world, shelf, job).job
    assert held.state is JobState.HELD
    assert held.held_here
    assert held.held_by is HeldBy.OPERATOR
    assert "held by root" in held.note


def test_a_tighter_promise_that_cannot_be_recorded_is_not_given(world: World, shelf: Shelf) -> None:
    job = world.submit(20_000, deadline=4000.0)
    world.run(2.0)
    before = world.queue.promises.of(job.id)
    shelf.full = True
    with pytest.raises(NotPossibleError, match="cannot be recorded"):
        world.scheduler.change(job.id, JobChange(deadline=world.clock.now + 3000.0), "user1")
    assert world.queue.promises.of(job.id) == before
    shelf.full = False
    world.run(2.0)
    agree(world, shelf, job)


def test_a_daemon_that_starts_writes_only_what_has_changed(world: World, shelf: Shelf) -> None:
    jobs = [world.submit(20_000, deadline=9000.0) for _ in range(3)]
    world.run(60.0)
    before = len(shelf.writes)
    world.restart()
    world.run(5.0)
    assert len(shelf.writes) == before
    # One was killed between the queue's word and the record's.
    shelf.records[jobs[1].id] = replace(
        shelf.records[jobs[1].id], job=replace(world.row(jobs[1]), state=JobState.NEW)
    )
    world.restart()
    world.run(5.0)
    agree(world, shelf, jobs[1])
    assert len(shelf.writes) == before + 1


def test_what_the_queue_forgets_is_removed(world: World, shelf: Shelf) -> None:
    world.settings = replace(world.settings, keep_ended=500.0, keep_never_run=500.0)
    world.restart()
    job = world.submit(1_000, deadline=4000.0)
    world.run_until(world.finished)
    world.run(10.0)
    assert job.id in shelf.records
    world.run(700.0)
    assert not world.queue.jobs.all(JobState)
    assert not shelf.records
